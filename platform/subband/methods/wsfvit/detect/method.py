"""Object detection with WSF-ViT as the platform knows it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from subband.data import Dataset
from subband.data.detection.examples import (
    DetectionEvaluation,
    DetectionTraining,
    check_pictures,
    detection_data,
    detection_split,
)
from subband.data.detection.instances import Detections, Instances
from subband.errors import DataError, ParamsError
from subband.methods.trained_base import Batch, Step, TrainingSet
from subband.methods.wsfvit.detect.detector import (
    NAME,
    ObjectDetector,
    adopt_checkpoint,
    detections,
    make_network,
    restore_detector,
)
from subband.methods.wsfvit.detect.network import DetectionNetwork
from subband.methods.wsfvit.detect.params import WSFViTDetectionParams
from subband.methods.wsfvit.detect.recipes import RECIPES
from subband.metrics.detection import average_precision

WARM_UP_FROM, DROP = 1e-3, 0.1
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm)
_TABLE = "relative_position_bias_table"


class WSFViTDetectionMethod:
    """Mask R-CNN and Cascade Mask R-CNN; see `TrainedMethod` for the life cycle.

    Attributes:
        recipes: presets by name; see the module of that name.
    """

    name = NAME
    params_type = WSFViTDetectionParams
    chosen_by = "box_ap"
    embedded = "synthetic-coco:"
    embedded_smoke = "synthetic-coco:?train=8&validation=4&test=4&size=64&classes=2"
    recipes = RECIPES

    def settled(self, params: WSFViTDetectionParams, dataset: Dataset) -> WSFViTDetectionParams:
        """The params with the classes of the data.

        Raises:
            DataError: the dataset is not for object detection.
            ParamsError: the params say other classes.
        """
        classes = detection_data(dataset).classes
        if params.classes not in ((), classes):
            raise ParamsError(
                f"{NAME}.classes: {dataset.uri} has the classes {', '.join(classes)}, the params {', '.join(params.classes)}; "
                "leave them out"
            )
        return params.model_copy(update={"classes": classes})

    def examples(self, params: WSFViTDetectionParams, dataset: Dataset) -> TrainingSet:
        """Images with boxes and masks; those that are evaluated have one size.

        Raises:
            DataError: the dataset is not for object detection, or lacks images to learn from or to choose by.
            ParamsError: it has other classes than the params say.
        """
        self.settled(params, dataset)
        data, held_out = detection_data(dataset), params.validation == "holdout"
        train, validation, test, divided = detection_split(
            data, params.validation_share if held_out else 0.0, params.seed
        )
        if not held_out and not test:
            raise DataError(f"{dataset.uri} has no test images to choose the checkpoint by; use validation=holdout")
        if not held_out:
            validation, note = test, "the test images chose the checkpoint, as published: its figures are optimistic"
        elif divided:
            note = f"{len(validation)} training images, held out by seed {params.seed}, chose the checkpoint"
        else:
            note = f"the {len(validation)} validation images chose the checkpoint"

        def measured(name: str, pictures: Any) -> DetectionEvaluation:
            if all(picture.instances().crowd.all() for picture in pictures):
                raise DataError(f"{dataset.uri}: no object is marked in the {len(pictures)} {name} images")
            return DetectionEvaluation(pictures, params.test_side, params.longest)

        skipped = tuple(getattr(data, "skipped", ()))
        notes = (
            (note, f"{len(skipped)} broken annotations were left out, the first: {skipped[0]}") if skipped else (note,)
        )
        return TrainingSet(
            DetectionTraining(train, params.augmentation, params.sizes, params.seed),
            measured("validation", validation),
            {"test": measured("test", test)} if test else {},
            notes,
            params.validation,
        )

    def check(self, data: TrainingSet, progress: Callable[[int, int], None]) -> None:
        """Sizes of all images.

        Raises:
            DataError: an image is missing, or has another size than its annotations say; the message names it.
        """
        parts: Sequence[Any] = (data.train, data.validation, *data.tests.values())
        check_pictures([picture for part in parts for picture in part.pictures], progress)

    def model(self, params: WSFViTDetectionParams) -> DetectionNetwork:
        """The network with its starting weights."""
        return make_network(params)

    def optimizer(self, params: WSFViTDetectionParams, model: nn.Module) -> Optimizer:
        """AdamW without weight decay for normalisations and position tables."""
        spared = {
            id(own)
            for module in model.modules()
            if isinstance(module, _NORMS)
            for own in module.parameters(recurse=False)
        }
        spared |= {id(own) for name, own in model.named_parameters() if name.endswith(_TABLE)}
        decayed = [own for own in model.parameters() if id(own) not in spared]
        others = [own for own in model.parameters() if id(own) in spared]
        groups = [{"params": decayed, "weight_decay": params.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return AdamW(groups, lr=params.lr)

    def rate(self, params: WSFViTDetectionParams, at: float) -> float:
        """Linear from a thousandth in the warm-up, and a tenth of what it was after each drop."""
        rate = params.lr * DROP ** sum(math.floor(at) >= drop for drop in params.drops)
        if at < params.warm_up:
            rate *= WARM_UP_FROM + (1 - WARM_UP_FROM) * at / params.warm_up
        return rate

    def loss(self, params: WSFViTDetectionParams, model: nn.Module, batch: Batch, step: Step) -> Tensor:
        """Sum of the losses of region proposals and of every stage."""
        device = next(model.parameters()).device
        # Images of other sizes come as lists, which stay on the CPU.
        images = [image.to(device, non_blocking=True) for image in batch["images"]]
        targets = [
            {"boxes": boxes.to(device), "labels": labels.to(device), "masks": masks.to(device)}
            for boxes, labels, masks in zip(batch["boxes"], batch["labels"], batch["masks"], strict=True)
        ]
        return torch.stack(list(model(images, targets).values())).sum()

    def evaluate(
        self, params: WSFViTDetectionParams, model: nn.Module, batch: Batch
    ) -> Sequence[tuple[Instances, Detections]]:
        """The marked objects of each image and the found ones, masks in run-length form."""
        sizes = [(int(width), int(height)) for width, height in batch["size"]]
        truths = [Instances.unpacked(bytes(truth.cpu().numpy())) for truth in batch["truth"]]
        return list(zip(truths, detections(cast("DetectionNetwork", model), list(batch["images"]), sizes), strict=True))

    def summarise(
        self, params: WSFViTDetectionParams, results: Sequence[tuple[Instances, Detections]]
    ) -> dict[str, float]:
        """COCO's average precision of boxes and masks."""
        return average_precision([truth for truth, _ in results], [found for _, found in results])

    def finish(self, params: WSFViTDetectionParams, model: nn.Module, about: Mapping[str, Any]) -> ObjectDetector:
        """The detector of trained weights."""
        return ObjectDetector(params, copy.deepcopy(cast("DetectionNetwork", model)).cpu(), about).eval()

    def restore(
        self, params: WSFViTDetectionParams, tensors: Mapping[str, Tensor], description: Mapping[str, Any]
    ) -> ObjectDetector:
        """The detector that was saved with these tensors."""
        return restore_detector(params, tensors, description["about"])

    def adopt(self, path: Path, values: Mapping[str, Any]) -> ObjectDetector:
        """The detector of a published checkpoint in mmdetection's naming."""
        return adopt_checkpoint(path, **{name: value for name, value in values.items() if name != "weights"})


WSFVIT_DETECTION = WSFViTDetectionMethod()
