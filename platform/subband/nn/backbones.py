"""Frozen convolutional backbones and the layers that the methods tap, built on timm."""

from __future__ import annotations

import argparse
import copy
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import timm
import torch
from pydantic import AfterValidator, ValidationInfo
from torch import Tensor, nn

from subband.errors import ModelError, ParamsError, unknown_name

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
        tag: timm's tag of the torchvision ImageNet-1k V1 weights, or None where timm has none and torchvision's own
            state dict is converted by position.
        batch_norm_eps: epsilon of every batch normalisation, as torchvision has it (timm's b5 and b6 differ).
    """

    taps: tuple[Tap, ...]
    tag: str | None = None
    batch_norm_eps: float = 1e-5


def _resnet(channels: tuple[int, int, int]) -> BackboneSpec:
    taps = zip(("layer1", "layer2", "layer3"), channels, (4, 8, 16), strict=True)
    return BackboneSpec(tuple(Tap(*tap) for tap in taps), tag="tv_in1k")


def _efficientnet(channels: tuple[int, int, int, int], batch_norm_eps: float = 1e-5) -> BackboneSpec:
    names = ("features.3", "features.4", "features.5", "features.6")
    taps = zip(names, channels, (8, 16, 16, 32), strict=True)
    return BackboneSpec(tuple(Tap(*tap) for tap in taps), batch_norm_eps=batch_norm_eps)


BACKBONES: Mapping[str, BackboneSpec] = {
    "resnet18": _resnet((64, 128, 256)),
    "resnet34": _resnet((64, 128, 256)),
    "resnet50": _resnet((256, 512, 1024)),
    "wide_resnet50_2": _resnet((256, 512, 1024)),
    "efficientnet_b0": _efficientnet((40, 80, 112, 192)),
    "efficientnet_b1": _efficientnet((40, 80, 112, 192)),
    "efficientnet_b2": _efficientnet((48, 88, 120, 208)),
    "efficientnet_b3": _efficientnet((48, 96, 136, 232)),
    "efficientnet_b4": _efficientnet((56, 112, 160, 272)),
    "efficientnet_b5": _efficientnet((64, 128, 176, 304), batch_norm_eps=1e-3),
    "efficientnet_b6": _efficientnet((72, 144, 200, 344), batch_norm_eps=1e-3),
}


def backbone_spec(name: str) -> BackboneSpec:
    """The specification of a backbone.

    Raises:
        ParamsError: unknown name; near matches are given.
    """
    if name not in BACKBONES:
        raise ParamsError(unknown_name("backbone", name, BACKBONES))
    return BACKBONES[name]


def check_weights(weights: str) -> str:
    """The text itself if it is ``pretrained``, ``random:SEED`` or the path of an existing file.

    Raises:
        ParamsError: none of the three.
    """
    if weights == "pretrained":
        return weights
    if weights.startswith("random:"):
        if weights[7:].isdecimal() and int(weights[7:]) < 2**63:
            return weights
        raise ParamsError(
            f"weights {weights!r}: after random: comes a whole number from 0 to 2^63 - 1, for instance random:0"
        )
    if not Path(weights).is_file():
        raise ParamsError(f"weights {weights!r} is no file; give a path, 'pretrained' or 'random:SEED'")
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
        weights: ``pretrained`` (ImageNet-1k V1 weights of torchvision, fetched once from the model hubs), ``random:SEED``,
            the path of a state dict (.safetensors, or .pt/.pth without code in it, with torchvision's or timm's names), or
            None to leave the parameters to a later `load_state_dict`.

    Raises:
        ParamsError: unknown backbone or weights.
        ModelError: the hub cannot be reached, or a file does not hold this backbone's weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, weights: str | None) -> None:
        super().__init__()
        self.name = name
        self.spec = backbone_spec(name)
        if weights is not None:
            check_weights(weights)
        seed = int(weights[7:]) if weights is not None and weights.startswith("random:") else 0
        self.network: Any = _build(name, self.spec, seed)
        if weights == "pretrained":
            _load_pretrained(self.network, name, self.spec)
        elif weights is not None and not weights.startswith("random:"):
            load_backbone_state(self.network, name, read_state(weights), weights)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Backbone:
        """Stays in eval mode: a frozen backbone never updates its normalisation statistics."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of the taps, in order.

        Args:
            images: (N, 3, H, W) float32 in [0, 1]; normalised here with ImageNet's mean and standard deviation.

        Returns:
            One (N, C, H / reduction, W / reduction) tensor a tap.
        """
        return self.taps((images - self.mean) / self.std)

    def taps(self, normalised: Tensor) -> list[Tensor]:
        """Feature maps of the taps for images that are normalised already."""
        if self.name.startswith("efficientnet"):
            maps = self.network.bn1(self.network.conv_stem(normalised))
            out = []
            for index, block in enumerate(self.network.blocks):
                maps = block(maps)
                if index >= 2:
                    out.append(maps)
            return out
        return list(self.network(normalised))


def built_backbone(name: str, weights: str) -> Backbone:
    """A backbone of its own for the caller, copied from one of the last two that this process built.

    A sweep that measures detectors needs the same network again and again; a copy takes 10 to 60 ms, drawing its weights 0.2
    to 1 s. It is a copy because `Module.to` moves a network in place, which would move every detector that shared it.
    Arguments and errors are those of `Backbone`.
    """
    check_weights(weights)
    return copy.deepcopy(_last_built(name, weights, weights_identity(name, weights)))


@functools.lru_cache(maxsize=2)
def _last_built(name: str, weights: str, identity: str) -> Backbone:
    return Backbone(name, weights)


def _build(name: str, spec: BackboneSpec, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name.startswith("efficientnet"):
            network = timm.create_model(name, pretrained=False)
            network.blocks = network.blocks[:6]
            network.conv_head = network.bn2 = network.global_pool = network.classifier = nn.Identity()
        else:
            # timm would zero the last normalisation of every residual block, which leaves untrained blocks without effect.
            network = timm.create_model(
                name, pretrained=False, features_only=True, out_indices=(1, 2, 3), zero_init_last=False
            )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = spec.batch_norm_eps
    return network  # type: ignore[no-any-return]


def read_state(path: str, wrappers: Sequence[str] = ("state_dict",)) -> dict[str, Tensor]:
    """The tensors of a state dict on the CPU, bare or under a key; no code in the file is run.

    Args:
        path: ``.safetensors``, or a file of torch.save.
        wrappers: keys that the tensors may lie under; the first that the file has is opened.

    Raises:
        ModelError: it cannot be read, or holds anything else.
    """
    try:
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            return dict(load_file(path))
        # Training scripts keep their flags beside the weights, in a Namespace, which is data without code.
        with torch.serialization.safe_globals([argparse.Namespace]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(f"weights file {path} cannot be read as a state dict: {error}") from error
    state = loaded
    if isinstance(loaded, dict):
        state = next((loaded[key] for key in wrappers if loaded.get(key) is not None), loaded)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"weights file {path} holds no state dict (a mapping of names to tensors)")
    return state


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
    if name.startswith("efficientnet") and not set(own) - set(counters) <= set(state):
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


def _load_pretrained(network: nn.Module, name: str, spec: BackboneSpec) -> None:
    try:
        if spec.tag is not None:
            state = timm.create_model(f"{name}.{spec.tag}", pretrained=True).state_dict()
        else:
            import torchvision

            variant = name.removeprefix("efficientnet_").upper()
            state = torchvision.models.get_weight(f"EfficientNet_{variant}_Weights.IMAGENET1K_V1").get_state_dict()
    except Exception as error:
        raise ModelError(
            f"the pretrained weights of {name} could not be fetched ({type(error).__name__}: {str(error)[:200]}). Without a "
            "network choose weights=PATH of a state dict, or weights=random:0 (untrained: fine for a demonstration, not for use)"
        ) from error
    load_backbone_state(network, name, state, "the published state dict")
