"""The thirteen published models: what they read, and what is claimed of them (section 8 of the specification)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD

from subband.errors import ParamsError
from subband.methods.wsfvit.architecture import ARCHITECTURES, MORE_HEADS, Four

Three = tuple[float, float, float]


@dataclass(frozen=True)
class PublishedModel:
    """One row of the published table.

    Attributes:
        variant: key of `ARCHITECTURES`.
        side: of its square images, in pixels.
        window: side of windows and grids, in cells.
        channel_heads: heads of the channel attention in the four stages.
        crop_pct: share of the resized image that the centre crop keeps in validation.
        parameters_m: published parameters in millions.
        gmacs: published multiply-adds in 1e9.
        counted_parameters: parameters of the published code, counted.
        counted_gmacs: multiply-adds of the published code in 1e9, by torch's flop counter (matrix products and convolutions).
        top1: published top-1 accuracy on ImageNet-1k in per cent.
    """

    variant: str
    side: int
    window: int
    channel_heads: Four
    crop_pct: float
    parameters_m: float
    gmacs: float
    counted_parameters: int
    counted_gmacs: float
    top1: float

    @property
    def squashed(self) -> bool:
        """Whether validation resizes to a square whatever the image's shape; the models at 384 do."""
        return self.side == 384

    @property
    def mean(self) -> Three:
        """Of the normalisation, for images in [0, 1]."""
        return IMAGENET_INCEPTION_MEAN if self.side == 384 else IMAGENET_DEFAULT_MEAN  # type: ignore[no-any-return]

    @property
    def std(self) -> Three:
        """Of the normalisation, for images in [0, 1]."""
        return IMAGENET_INCEPTION_STD if self.side == 384 else IMAGENET_DEFAULT_STD  # type: ignore[no-any-return]


def _model(variant: str, side: int, window: int, crop_pct: float, *claims: float) -> PublishedModel:
    heads = MORE_HEADS if side == 384 else ARCHITECTURES[variant].channel_heads
    parameters_m, gmacs, counted, counted_gmacs, top1 = claims
    return PublishedModel(
        variant, side, window, heads, crop_pct, parameters_m, gmacs, int(counted), counted_gmacs, top1
    )


MODELS: Mapping[str, PublishedModel] = {
    f"wsfvit_{model.variant}_{model.side}": model
    for model in (
        _model("p0", 224, 7, 0.875, 2.9, 0.62, 2_908_670, 0.588, 75.8),
        _model("p1", 224, 7, 0.875, 5.0, 1.04, 5_042_990, 1.010, 79.4),
        _model("p2", 224, 7, 0.875, 6.0, 1.35, 6_009_802, 1.314, 80.8),
        _model("n", 224, 7, 0.875, 10.6, 1.97, 10_648_964, 1.919, 82.2),
        _model("t", 224, 7, 0.95, 23.3, 4.6, 23_271_764, 4.533, 84.2),
        _model("s", 224, 7, 0.95, 41.7, 7.5, 41_725_704, 7.358, 84.7),
        _model("m", 224, 7, 0.95, 69.7, 12.4, 69_668_720, 12.297, 85.3),
        _model("b", 224, 7, 0.95, 100.0, 17.0, 100_007_844, 16.854, 85.5),
        _model("b", 256, 8, 0.95, 100.0, 22.2, 100_023_300, 22.130, 85.8),
        _model("t", 384, 12, 0.95, 23.3, 14.1, 23_307_764, 13.953, 85.3),
        _model("s", 384, 12, 0.95, 41.8, 22.9, 41_786_184, 22.699, 85.8),
        _model("m", 384, 12, 0.95, 69.7, 37.8, 69_734_960, 37.541, 86.2),
        _model("b", 384, 12, 0.95, 100.0, 51.7, 100_107_204, 51.236, 86.3),
    )
}
"""By timm name."""


def check_weights_exist(weights: str) -> str:
    """The text itself, unless it asks for weights that nobody can fetch.

    Raises:
        ParamsError: it is ``pretrained``.
    """
    if weights == "pretrained":
        raise ParamsError(
            "there are no pretrained weights of WSF-ViT to fetch; give the path of a classifier's checkpoint, or random:SEED"
        )
    return weights
