"""Frozen convolutional backbones and the layers that the methods tap, built on timm."""

from __future__ import annotations

import argparse
import copy
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import timm
import torch
from pydantic import AfterValidator, ValidationInfo
from torch import Tensor, nn

from subband.errors import ModelError, ParamsError, unknown_name
from subband.nn.packaged import packaged_file, packaged_state

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Tap:
    """One tapped layer: its torchvision name, its channels and how much smaller than the picture its map is."""

    name: str
    channels: int
    reduction: int

    def size(self, image_size: int) -> int:
        """Side of the map for a square picture of `image_size` pixels (each halving rounds up)."""
        side = image_size
        for _ in range(self.reduction.bit_length() - 1):
            side = (side + 1) // 2
        return side


@dataclass(frozen=True)
class BackboneSpec:
    """What is built for one backbone name.

    Attributes:
        taps: tapped layers in order.
        bank: places in `taps` of the levels that memory banks read: the end of the stride-8 stage and the last end at stride 16.
        architecture: timm's name of the network.
        tag: timm's tag of the published ImageNet-1k weights, or None where timm has none and torchvision's own state dict is
            converted by position.
        batch_norm_eps: epsilon of every batch normalisation, as published (timm's b5 and b6 differ).
        blocks: whether the taps are ends of timm's blocks 2 to 5 (EfficientNets), or else of its stages 1 to 3 (ResNets).
        mean, std: of the images that the network was trained on, a value per channel.
    """

    taps: tuple[Tap, ...]
    bank: tuple[int, int]
    architecture: str
    tag: str | None = None
    batch_norm_eps: float = 1e-5
    blocks: bool = False
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


def _resnet(name: str, channels: tuple[int, int, int]) -> BackboneSpec:
    taps = zip(("layer1", "layer2", "layer3"), channels, (4, 8, 16), strict=True)
    return BackboneSpec(tuple(Tap(*tap) for tap in taps), (1, 2), name, tag="tv_in1k")


def _efficientnet(name: str, channels: tuple[int, int, int, int], batch_norm_eps: float = 1e-5) -> BackboneSpec:
    names = ("features.3", "features.4", "features.5", "features.6")
    taps = zip(names, channels, (8, 16, 16, 32), strict=True)
    return BackboneSpec(tuple(Tap(*tap) for tap in taps), (0, 2), name, batch_norm_eps=batch_norm_eps, blocks=True)


def _efficientnet_lite(name: str, channels: tuple[int, int, int, int]) -> BackboneSpec:
    """TensorFlow's EfficientNet-Lite, in timm's port: "same" padding, epsilon 1e-3, images scaled to [-1, 1]."""
    half = (0.5, 0.5, 0.5)
    spec = replace(_efficientnet(f"tf_{name}", channels, 1e-3), tag="in1k", mean=half, std=half)
    return replace(spec, taps=tuple(replace(tap, name=f"blocks.{2 + i}") for i, tap in enumerate(spec.taps)))


_SPECS = (
    _resnet("resnet18", (64, 128, 256)),
    _resnet("resnet34", (64, 128, 256)),
    _resnet("resnet50", (256, 512, 1024)),
    _resnet("wide_resnet50_2", (256, 512, 1024)),
    _efficientnet("efficientnet_b0", (40, 80, 112, 192)),
    _efficientnet("efficientnet_b1", (40, 80, 112, 192)),
    _efficientnet("efficientnet_b2", (48, 88, 120, 208)),
    _efficientnet("efficientnet_b3", (48, 96, 136, 232)),
    _efficientnet("efficientnet_b4", (56, 112, 160, 272)),
    _efficientnet("efficientnet_b5", (64, 128, 176, 304), batch_norm_eps=1e-3),
    _efficientnet("efficientnet_b6", (72, 144, 200, 344), batch_norm_eps=1e-3),
    _efficientnet_lite("efficientnet_lite0", (40, 80, 112, 192)),
    _efficientnet_lite("efficientnet_lite1", (40, 80, 112, 192)),
    _efficientnet_lite("efficientnet_lite2", (48, 88, 120, 208)),
)
BACKBONES: Mapping[str, BackboneSpec] = {spec.architecture.removeprefix("tf_"): spec for spec in _SPECS}

Normalisation = Literal["own", "imagenet"]
"""own: the mean and standard deviation that the network was trained with; imagenet: those of ImageNet, whatever the network."""


def backbone_spec(name: str) -> BackboneSpec:
    """The specification of a backbone.

    Raises:
        ParamsError: unknown name; near matches are given.
    """
    if name not in BACKBONES:
        raise ParamsError(unknown_name("backbone", name, BACKBONES))
    return BACKBONES[name]


def check_weights(weights: str) -> str:
    """The text itself if it is ``pretrained``, ``packaged``, ``random:SEED`` or the path of an existing file.

    Raises:
        ParamsError: none of the four.
    """
    if weights in ("pretrained", "packaged"):
        return weights
    if weights.startswith("random:"):
        if weights[7:].isdecimal() and int(weights[7:]) < 2**63:
            return weights
        raise ParamsError(
            f"weights {weights!r}: after random: comes a whole number from 0 to 2^63 - 1, for instance random:0"
        )
    if not Path(weights).is_file():
        raise ParamsError(f"weights {weights!r} is no file; give a path, 'pretrained', 'packaged' or 'random:SEED'")
    return weights


def _weights_to_read(value: str, info: ValidationInfo) -> str:
    return value if info.context == RESTORING else check_weights(value)


RESTORING = "restoring"
"""Validation context of params that come with a saved detector."""

Weights = Annotated[str, AfterValidator(_weights_to_read)]
"""Type of a param that says where weights come from.

It matters to fitting alone: under `RESTORING`, when the weights lie among a detector's own tensors, the file or hub that they came
from need not be there.
"""


def weights_identity(backbone: str, weights: str) -> str:
    """Text that changes whenever the weights do, without building the network: part of the feature stage's key."""
    if weights == "pretrained":
        return f"torchvision-imagenet1k-v1:{backbone}"
    if weights == "packaged":
        weights = str(packaged_file(backbone))
    if weights.startswith("random:"):
        return f"{weights}:torch-{torch.__version__.split('+')[0]}:timm-{timm.__version__}"
    return _file_digest(weights, *_stamp(weights))


def _stamp(path: str) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=64)
def _file_digest(path: str, size: int, mtime_ns: int) -> str:
    with Path(path).open("rb") as handle:
        digest = hashlib.sha256()
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class Backbone(nn.Module):
    """A frozen network up to its last tap, in eval mode.

    Life cycle: built once by name and weights, then called with batches; it never trains and needs no gradient.

    Args:
        name: key of `BACKBONES`.
        weights: ``pretrained`` (ImageNet-1k weights, fetched once from the model hubs), ``packaged`` (those of an installed pip
            package), ``random:SEED``, the path of a state dict (.safetensors, or .pt/.pth without code in it, with torchvision's
            or timm's names), or None to leave the parameters to a later `load_state_dict`.
        normalisation: which mean and standard deviation images are normalised with.

    Raises:
        ParamsError: unknown backbone or weights, or a weights package that is not installed.
        ModelError: the hub cannot be reached, or a file does not hold this backbone's weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, weights: str | None, normalisation: Normalisation = "own") -> None:
        super().__init__()
        self.name = name
        self.spec = backbone_spec(name)
        if weights is not None:
            check_weights(weights)
        seed = int(weights[7:]) if weights is not None and weights.startswith("random:") else 0
        self.network: Any = _build(name, self.spec, seed)
        if weights == "pretrained":
            _load_pretrained(self.network, name, self.spec)
        elif weights == "packaged":
            state = packaged_state(name, self.spec.architecture)
            load_backbone_state(self.network, name, state, "the packaged state dict")
        elif weights is not None and not weights.startswith("random:"):
            load_backbone_state(self.network, name, read_state(weights), weights)
        mean, std = mean_and_std(name, normalisation)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Backbone:
        """Stays in eval mode: a frozen backbone never updates its normalisation statistics."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of the taps, in order.

        Args:
            images: (N, 3, H, W) float32 in [0, 1]; normalised here.

        Returns:
            One (N, C, H / reduction, W / reduction) tensor a tap.
        """
        return self.taps((images - self.mean) / self.std)

    def taps(self, normalised: Tensor) -> list[Tensor]:
        """Feature maps of the taps for images that are normalised already."""
        if self.spec.blocks:
            maps = self.network.bn1(self.network.conv_stem(normalised))
            out = []
            for index, block in enumerate(self.network.blocks):
                maps = block(maps)
                if index >= 2:
                    out.append(maps)
            return out
        return list(self.network(normalised))


def mean_and_std(name: str, normalisation: Normalisation) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, a value per channel of images in [0, 1], that a backbone's images are normalised with."""
    spec = backbone_spec(name)
    return (spec.mean, spec.std) if normalisation == "own" else (IMAGENET_MEAN, IMAGENET_STD)


def built_backbone(name: str, weights: str, normalisation: Normalisation = "own") -> Backbone:
    """A backbone of its own for the caller, copied from one of the last two that this process built.

    A sweep that measures detectors needs the same network again and again; a copy takes 10 to 60 ms, drawing its weights 0.2
    to 1 s. It is a copy because `Module.to` moves a network in place, which would move every detector that shared it.
    Arguments and errors are those of `Backbone`.
    """
    check_weights(weights)
    return copy.deepcopy(_last_built(name, weights, normalisation, weights_identity(name, weights)))


@functools.lru_cache(maxsize=2)
def _last_built(name: str, weights: str, normalisation: Normalisation, identity: str) -> Backbone:
    return Backbone(name, weights, normalisation)


def _build(name: str, spec: BackboneSpec, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if spec.blocks:
            network = timm.create_model(spec.architecture, pretrained=False)
            network.blocks = network.blocks[:6]
            network.conv_head = network.bn2 = network.global_pool = network.classifier = nn.Identity()
        else:
            # timm would zero the last normalisation of every residual block, which leaves untrained blocks without effect.
            network = timm.create_model(
                spec.architecture, pretrained=False, features_only=True, out_indices=(1, 2, 3), zero_init_last=False
            )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = spec.batch_norm_eps
    return network  # type: ignore[no-any-return]


_SCALAR = np.float64(0).__reduce__()[0]
_NUMPY_SCALARS: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),  # in files of NumPy 1
    _SCALAR,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float32", "float64", "int32", "int64")),
]


def read_state(path: str, wrappers: Sequence[str] = ("state_dict",)) -> dict[str, Tensor]:
    """The tensors of a state dict on the CPU, bare or under a key; no code in the file is run.

    Args:
        path: ``.safetensors``, or a file of torch.save.
        wrappers: keys that the tensors may lie under; the first that the file has is opened.

    Raises:
        ModelError: it cannot be read, or holds anything else.
    """
    return read_checkpoint(path, wrappers)[0]


def read_checkpoint(path: str, wrappers: Sequence[str]) -> tuple[dict[str, Tensor], Mapping[str, object]]:
    """As `read_state`, with what the file holds beside the tensors."""
    try:
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            return dict(load_file(path)), {}
        # Training scripts keep their flags and scores beside the weights, in a Namespace and NumPy scalars: data without code.
        with torch.serialization.safe_globals([argparse.Namespace, *_NUMPY_SCALARS]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(f"weights file {path} cannot be read as a state dict: {error}") from error
    state = loaded
    if isinstance(loaded, dict):
        state = next((loaded[key] for key in wrappers if loaded.get(key) is not None), loaded)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"weights file {path} holds no state dict (a mapping of names to tensors)")
    return state, {} if state is loaded else loaded


_BEYOND_LAST_TAP = ("layer4.", "fc.", "blocks.6.", "conv_head.", "bn2.", "classifier.")


def load_backbone_state(network: nn.Module, name: str, state: Mapping[str, Tensor], origin: str) -> None:
    """Load torchvision's or timm's state dict into a network that ends at the last tap.

    ResNets share their names in both libraries. EfficientNets have the same tensors in the same order under other names,
    so torchvision's are taken by position; what lies beyond the last tap is left out, and batch counters, which older files
    lack, are not needed.

    Raises:
        ModelError: a tensor is missing, has another shape, or has no place here (a resnet34 holds all that a resnet18 needs);
            the message names the first one.
    """
    own = network.state_dict()
    counters = {key: tensor for key, tensor in own.items() if key.endswith("num_batches_tracked")}
    if backbone_spec(name).blocks and not set(own) - set(counters) <= set(state):
        state = dict(zip(own, state.values(), strict=False))
    else:
        for key in state:
            if key not in own and not key.startswith(_BEYOND_LAST_TAP):
                raise ModelError(
                    f"{origin} is not a state dict of {name}: {key} has no place in it; is it of a larger network?"
                )
        state = {**counters, **state}
    for key, tensor in own.items():
        if key not in state:
            raise ModelError(f"{origin} is not a state dict of {name}: {key} is missing")
        if state[key].shape != tensor.shape:
            raise ModelError(
                f"{origin} is not a state dict of {name}: {key} has shape {tuple(state[key].shape)}, not {tuple(tensor.shape)}"
            )
    network.load_state_dict({key: state[key] for key in own})


def torchvision_weights(name: str) -> Any:
    """The member of torchvision's weights enumeration with the published weights of an EfficientNet-B."""
    import torchvision

    variant = name.removeprefix("efficientnet_").upper()
    return torchvision.models.get_weight(f"EfficientNet_{variant}_Weights.IMAGENET1K_V1")


def _load_pretrained(network: nn.Module, name: str, spec: BackboneSpec) -> None:
    try:
        if spec.tag is not None:
            state = timm.create_model(f"{spec.architecture}.{spec.tag}", pretrained=True).state_dict()
        else:
            state = torchvision_weights(name).get_state_dict()
    except Exception as error:
        raise ModelError(
            f"the pretrained weights of {name} could not be fetched ({type(error).__name__}: {str(error)[:200]}). Without a "
            "network use --backbone efficientnet_lite0 --weights packaged, or --weights PATH of a state dict"
        ) from error
    load_backbone_state(network, name, state, "the published state dict")
