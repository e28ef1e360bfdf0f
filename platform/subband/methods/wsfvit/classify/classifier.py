"""Classifier: the deployable model, and how its network is made, restored, or adopted from a published checkpoint."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL.Image import Image
from timm.data import ImageNetInfo
from torch import Tensor

from subband.errors import ModelError, ParamsError
from subband.methods.deployable import Deployable, as_pictures
from subband.methods.wsfvit.architecture import STRIDE, architecture
from subband.methods.wsfvit.checkpoint import WRAPPERS, load_checkpoint, own_names, variant_of
from subband.methods.wsfvit.classify.params import WSFViTParams, spelt_heads
from subband.methods.wsfvit.network import WSFViT
from subband.methods.wsfvit.published import MODELS
from subband.nn.backbones import read_state
from subband.validating import validated

NAME = "wsfvit"
IMAGENET_CLASSES = 1000
_WORDNET = re.compile(r"n\d{8}")


class Guess(NamedTuple):
    """One of the most probable classes of an image.

    Attributes:
        label: name of the class, in words where the data name it by a WordNet number as ImageNet does.
        probability: the softmax of the logits.
        number: of the class in `Classifier.classes`, from 0.
    """

    label: str
    probability: float
    number: int


class Classifier(Deployable):
    """What an image shows, with probabilities.

    Args:
        params: of the method, with the number of classes.
        network: with its weights.
        classes: names of the classes, as the data have them.
        about: what a reader must know.

    Attributes:
        network: gives logits of normalised images.
        classes: names, in the order of the logits.
        labels: the same in words.

    Raises:
        ModelError: the network tells another number of classes apart than there are names.
    """

    task = "classification"
    params: WSFViTParams

    def __init__(self, params: WSFViTParams, network: WSFViT, classes: Sequence[str], about: Mapping[str, Any]) -> None:
        super().__init__(NAME, params, about)
        if network.num_classes != len(classes):
            raise ModelError(f"the network tells {network.num_classes} classes apart, but {len(classes)} are named")
        self.network = network
        self.classes = tuple(classes)
        self.labels = _in_words(self.classes)
        self._transform = params.framing.transform()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images as `prepare` gives them, float32 (N, 3, S, S)."""
        logits: Tensor = self.network(images)
        return logits

    def prepare(self, pictures: Sequence[Image | np.ndarray]) -> Tensor:
        """Images of any sizes, resized, cropped and normalised as the params say: float32 (N, 3, S, S) on the model's device.

        Raises:
            ParamsError: one is neither a PIL image nor a uint8 array (H, W, 3), or there is none.
            DataError: one cannot be decoded.
        """
        images = as_pictures(pictures, self.reading)
        if not images:
            raise ParamsError("no images were given")
        device = self.network.stem.conv1.weight.device
        return torch.stack([self._transform(image) for image in images]).to(device)

    @torch.inference_mode()
    def predict(self, pictures: Sequence[Image | np.ndarray], top: int = 5) -> list[list[Guess]]:
        """The most probable classes of each image, the most probable first.

        Args:
            pictures: PIL images or uint8 arrays (H, W, 3) of any sizes; they are answered as one batch.
            top: how many classes; all, if there are not as many.

        Raises:
            ParamsError: `top` is below 1, or as `prepare`.
            DataError: as `prepare`.
        """
        if top < 1:
            raise ParamsError(f"top is {top}; ask for 1 class or more")
        probabilities = self(self.prepare(pictures)).float().softmax(dim=1)
        found = probabilities.topk(min(top, len(self.classes)), dim=1)
        return [
            [Guess(self.labels[index], value, index) for value, index in zip(values, indices, strict=True)]
            for values, indices in zip(found.values.tolist(), found.indices.tolist(), strict=True)
        ]

    @torch.inference_mode()
    def replay(self, examples: Sequence[Mapping[str, Tensor]]) -> np.ndarray:
        """The probabilities of all classes for each example, in one row."""
        images = torch.stack([example["images"] for example in examples])
        found: np.ndarray = self(images).float().softmax(dim=1).flatten().numpy()
        return found

    def timing_probe(self) -> Callable[[], object]:
        """The five most probable classes of an image of noise."""
        size = self.params.image_size
        noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
        return lambda: self.predict([noise])

    def kept(self) -> dict[str, Any]:
        """The names of the classes."""
        return {"classes": list(self.classes)}


def _in_words(classes: tuple[str, ...]) -> tuple[str, ...]:
    """ImageNet's words for WordNet numbers; other names as they are."""
    if not all(_WORDNET.fullmatch(name) for name in classes):
        return classes
    info = ImageNetInfo("imagenet-22k")
    known = set(info.label_names())
    return tuple(info.label_name_to_description(name) if name in known else name for name in classes)


def make_network(params: WSFViTParams, starting: bool = True) -> WSFViT:
    """The network, in training mode on the CPU; the global random generators are left as they were.

    Args:
        params: the same ones give the same weights.
        starting: whether the weights that `params.weights` names are put in; else `load_state_dict` will replace them all.

    Raises:
        ParamsError: the params do not say how many classes there are.
        ModelError: a file cannot be read, is of another variant, or has other classes.
    """
    if params.num_classes == 0:
        raise ParamsError("num_classes is 0: without data, say how many classes are told apart")
    drawn = not starting or params.weights.startswith("random:")
    seed = int(params.weights[7:]) if drawn and starting else params.seed
    # torch.manual_seed would seed the generators of GPUs too, which this block does not put back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = WSFViT(
            architecture(params.variant),
            params.window,
            params.num_classes,
            img_size=params.image_size,
            drop_path_rate=params.drop_path,
            channel_heads=params.heads,
            wavelet=params.wavelet,
        )
    if not drawn:
        load_checkpoint(network, params.weights, replace_head=params.replace_head)
    return network.train()


def make_classifier(params: WSFViTParams, network: WSFViT, about: Mapping[str, Any]) -> Classifier:
    """The classifier of trained weights; names of classes that nobody gave are their numbers."""
    told = dict(about)
    classes = told.pop("classes", None) or [str(index) for index in range(params.num_classes)]
    return Classifier(params, copy.deepcopy(network).cpu(), classes, told).eval()


def restore_classifier(
    params: WSFViTParams, tensors: Mapping[str, Tensor], description: Mapping[str, Any]
) -> Classifier:
    """The classifier that was saved with these tensors.

    Raises:
        ModelError: the tensors or the names of the classes are not of the params' network.
    """
    classes = description.get("classes")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ModelError("the description of the saved classifier has no list of classes; it is damaged")
    classifier = Classifier(params, make_network(params, starting=False), classes, description["about"])
    try:
        classifier.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise ModelError(
            f"the saved tensors are not those of WSF-ViT-{params.variant.upper()} with {params.num_classes} classes: {error}"
        ) from error
    return classifier


def adopt_checkpoint(path: Path | str, **values: Any) -> Classifier:
    """A classifier of a published checkpoint: variant, window and number of classes are read off the file.

    They say which published model it is, hence its size, channel heads, crop and normalisation.

    Args:
        path: ``.pth`` or ``.safetensors``, as the released training code or timm's writes it; averaged weights are taken where the
            file has them.
        values: further params, which win; those that the file tells must be true of it. With another `image_size` and no `window`
            the position bias tables are interpolated.

    Raises:
        ModelError: the file is no checkpoint of a WSF-ViT classifier, or of another one than `values` say.
        ParamsError: illegal values.
    """
    state = own_names(read_state(str(path), WRAPPERS))
    variant, last = variant_of(state), state.get("head.fc.weight")
    table = state.get("stages.0.blocks.0.attn_local.attn.rel_pos.relative_position_bias_table")
    if variant is None or last is None or table is None:
        what = "none of a known variant" if variant is None else "one without a last layer or position bias tables"
        raise ModelError(f"{path} is no checkpoint of a WSF-ViT classifier, but {what}")
    if values.get("variant", variant).lower() != variant:
        raise ModelError(f"{path} is of WSF-ViT-{variant.upper()}, not of {values['variant']}")
    found: dict[str, Any] = {"variant": variant, "window": (table.shape[-1] + 1) // 2, "num_classes": len(last)}
    found["image_size"] = STRIDE * found["window"]
    published = MODELS.get(f"{NAME}_{variant}_{found['image_size']}")
    if published is not None:
        found |= {
            "channel_heads": spelt_heads(published.channel_heads),
            "crop_pct": published.crop_pct,
            "crop_mode": "squash" if published.squashed else "center",
            "normalisation": "half" if published.squashed else "imagenet",
        }
    if "image_size" in values:
        del found["window"]
    params = validated(WSFViTParams, {**found, **values, "weights": str(path)}, NAME)
    network = make_network(params)
    about: dict[str, Any] = {
        "weights": f"published checkpoint {Path(path).name}; which images chose it is not in the file"
    }
    if len(last) == IMAGENET_CLASSES:
        about["classes"] = ImageNetInfo("imagenet-1k").label_names()
    return make_classifier(params, network, about)
