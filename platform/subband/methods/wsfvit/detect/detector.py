"""ObjectDetector: the deployable model, and how its network is made, restored, or adopted from a published checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from subband.data.detection.examples import image_tensor, resized_for_test
from subband.data.detection.instances import Detections, encode_mask
from subband.errors import ModelError, ParamsError
from subband.methods.deployable import Deployable, as_pictures
from subband.methods.wsfvit.checkpoint import compare, load_checkpoint
from subband.methods.wsfvit.detect.backbone import make_body
from subband.methods.wsfvit.detect.checkpoint import load_published, read_detector
from subband.methods.wsfvit.detect.network import DetectionNetwork
from subband.methods.wsfvit.detect.params import WSFViTDetectionParams
from subband.methods.wsfvit.detect.pooling import pasted_mask
from subband.methods.wsfvit.detect.roi_heads import LOWEST_SCORE
from subband.validating import validated

logger = logging.getLogger(__name__)

NAME = "wsfvit-detection"


class ObjectDetector(Deployable):
    """Boxes, classes and masks of the objects in images.

    Args:
        params: of the method.
        network: with its weights.
        about: what a reader must know.

    Attributes:
        classes: names of the classes; labels are places among them.
    """

    task = "object detection"

    def __init__(self, params: WSFViTDetectionParams, network: DetectionNetwork, about: Mapping[str, Any]) -> None:
        super().__init__(NAME, params, about)
        self.network = network
        self.classes = params.classes

    @torch.inference_mode()
    def predict(self, pictures: Sequence[Image | np.ndarray], score: float = LOWEST_SCORE) -> list[Detections]:
        """What is found in images of any sizes.

        Args:
            pictures: PIL images of any mode, or arrays (`subband.data.images.to_picture`).
            score: lowest one that is given, in [0.05, 1]; below 0.05 nothing is kept in any case.

        Returns:
            Of each image at most 100 detections, best first, in its own pixels.

        Raises:
            ParamsError: a score outside [0, 1], or something that is no image.
            DataError: an image cannot be decoded.
        """
        if not 0 <= score <= 1:
            raise ParamsError(f"score {score} must be a number from 0 to 1")
        params: Any = self.params
        found = []
        for image in as_pictures(pictures, self.reading):
            prepared = image_tensor(resized_for_test(image, params.test_side, params.longest))
            found += detections(self.network, [prepared], [image.size])
        return [each.above(score) for each in found]

    @torch.inference_mode()
    def replay(self, examples: Sequence[Mapping[str, Tensor]]) -> np.ndarray:
        """Boxes, classes and scores of all examples in one row."""
        rows = []
        for example in examples:
            (found,) = self.network([example["images"].to(self.network.mean.device)])
            rows += [found["boxes"].flatten(), found["labels"].float(), found["scores"], found["masks"].flatten()]
        return torch.cat(rows).float().cpu().numpy()

    def timing_probe(self) -> Callable[[], object]:
        """Answers about one square image of noise, as large as those it is evaluated on."""
        side = min(self.params.test_side, self.params.longest)  # type: ignore[attr-defined]
        noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
        return lambda: self.predict([noise])


def detections(
    network: DetectionNetwork, images: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
) -> list[Detections]:
    """What a network in evaluation mode finds, brought back to the images' own sizes.

    An image is padded as it would be alone: the backbone's grids reach across the padding, so that what is found in an image
    would otherwise depend on the images beside it, and thus on batch and number of workers.

    Args:
        network: in evaluation mode.
        images: of each image uint8 (3, H, W), as the network sees it.
        sizes: of each image, its own width and height.
    """
    device = next(network.parameters()).device
    alike: dict[tuple[int, int], list[int]] = {}
    for place, image in enumerate(images):
        alike.setdefault(network.padded_size([image]), []).append(place)
    found: dict[int, Mapping[str, Tensor]] = {}
    for places in alike.values():
        answers: Any = network([images[place].to(device) for place in places])
        found |= zip(places, answers, strict=True)
    return [_placed(found[place], image, size) for place, (image, size) in enumerate(zip(images, sizes, strict=True))]


def _placed(found: Mapping[str, Tensor], image: Tensor, size: tuple[int, int]) -> Detections:
    width, height = size
    scale = torch.tensor([width / image.shape[2], height / image.shape[1]] * 2)
    boxes = found["boxes"].float().cpu() * scale
    masks = tuple(
        encode_mask(pasted_mask(mask, box, width, height).numpy())
        for mask, box in zip(found["masks"].float().cpu(), boxes.tolist(), strict=True)
    )
    return Detections(boxes.numpy(), found["labels"].cpu().numpy(), found["scores"].float().cpu().numpy(), masks, size)


def make_network(params: WSFViTDetectionParams, starting: bool = True) -> DetectionNetwork:
    """The network, in training mode on the CPU; the global random generators are left as they were.

    Args:
        params: the same ones give the same weights.
        starting: whether the weights that `params.weights` names are put in; else `load_state_dict` will replace them all.

    Raises:
        ParamsError: no classes.
        ModelError: the file of `params.weights` holds no weights of this backbone.
    """
    if not params.classes:
        raise ParamsError(f"{NAME}.classes: a detector needs the names of the classes that it finds")
    source = params.weights if starting else "random:0"
    drawn = source.startswith("random:")
    body = make_body(params, int(source[7:]) if drawn else 0)
    if not drawn:
        logger.info("backbone: %s", load_checkpoint(body, source))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(params.seed)
        return DetectionNetwork(params, body).train()


def restore_detector(
    params: WSFViTDetectionParams, tensors: Mapping[str, Tensor], about: Mapping[str, Any]
) -> ObjectDetector:
    """The detector that was saved with these tensors.

    Raises:
        ModelError: the tensors are not of the params' network.
    """
    detector = ObjectDetector(params, make_network(params, starting=False), about)
    if found := compare(detector, tensors):
        raise ModelError(
            f"the saved tensors are not those of a {params.kind} with WSF-ViT-{params.variant.upper()} for {len(params.classes)} "
            f"classes: {found.summary()}"
        )
    detector.load_state_dict(dict(tensors))
    return detector.eval()


def adopt_checkpoint(path: Path | str, **values: Any) -> ObjectDetector:
    """A detector of a published checkpoint in mmdetection's naming: kind, variant and sizes are read off the file.

    Args:
        path: the file, of torch.save or .safetensors; no code in it is run.
        values: further params; those that the file tells must be true of it, but for the window, to which position bias tables
            are interpolated, and the classes, whose number alone is in every file.

    Raises:
        ModelError: the file is no such checkpoint, or of another detector than `values` say.
        ParamsError: illegal values.
    """
    state, told = read_detector(str(path))
    count = told.pop("num_classes")
    for name in ("kind", "variant", "channels", "hidden"):
        said = values.get(name, told[name])
        if str(said).lower() != str(told[name]):
            raise ModelError(f"{path} is of a detector with {name}={told[name]}, not {said}")
    params = validated(WSFViTDetectionParams, {**told, "mmdet_boxes": True, **values, "weights": str(path)}, NAME)
    if len(params.classes) != count:
        given = f"not {len(params.classes)}" if params.classes else "whose names are not in the file"
        raise ModelError(
            f"{path} is of a detector with {count} classes, {given}: give {count} names in its order (classes)"
        )
    network = make_network(params, starting=False)
    load_published(network, state, str(path))
    about = {"weights": f"published checkpoint {Path(path).name}; which images chose it is not in the file"}
    return ObjectDetector(params, network, about).eval()
