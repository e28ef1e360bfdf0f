"""Backbones with a name of their own: which layers the methods tap, and where published weights are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Tap:
    """One tapped layer: its torchvision name, its channels and how much smaller than the image its map is."""

    name: str
    channels: int
    reduction: int

    def size(self, image_size: int) -> int:
        """Side of the map for a square image of `image_size` pixels (each halving rounds up)."""
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
            Twice the same place is one level. None: the network has no such levels.
        architecture: timm's name of the network.
        tag: timm's tag of the published ImageNet-1k weights, or None where timm has none and torchvision's own state dict is
            converted by position.
        batch_norm_eps: epsilon of every batch normalisation, as published (timm's b5 and b6 differ); None leaves timm's.
        blocks: whether the taps are ends of timm's blocks 2 to 5 (EfficientNets), or else of its stages 1 to 3 (ResNets).
        mean, std: of the images that the network was trained on, a value per channel.
    """

    taps: tuple[Tap, ...]
    bank: tuple[int, int] | None
    architecture: str
    tag: str | None = None
    batch_norm_eps: float | None = 1e-5
    blocks: bool = False
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def check_image_size(self, image_size: int) -> None:
        """Refuse images that the network cannot see.

        Raises:
            ParamsError: the side does not go with the network.
        """


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
