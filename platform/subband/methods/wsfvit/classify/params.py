"""Hyper-parameters of WSF-ViT as a classifier, and what is published for each variant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD

from subband.data.classification.examples import Augmenting, CropMode, Framing, Interpolation
from subband.errors import ParamsError
from subband.methods.training_params import TrainingParams
from subband.methods.wsfvit.architecture import (
    ARCHITECTURES,
    STRIDE,
    Four,
    architecture,
    check_channel_heads,
    size_problem,
)
from subband.methods.wsfvit.published import check_weights_exist
from subband.nn.backbones import Weights
from subband.nn.undecimated import check_orthogonal

LARGEST_WINDOW = 12

_SMALL = {"drop_path": 0.1, "mixup": 0.1, "randaugment": 7.0, "crop_pct": 0.875}
_LARGE = {"mixup": 0.5, "randaugment": 9.0, "crop_pct": 0.95}
PUBLISHED: Mapping[str, Mapping[str, float]] = {
    **dict.fromkeys(("p0", "p1", "p2", "n"), _SMALL),
    "t": {**_LARGE, "drop_path": 0.2},
    "s": {**_LARGE, "drop_path": 0.35},
    "m": {**_LARGE, "drop_path": 0.6},
    "b": {**_LARGE, "drop_path": 0.7},
}
"""What the published training and validation differ in by variant (specification 9.1 and 9.2)."""

NORMALISATIONS = {
    "imagenet": (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
    "half": (IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD),
}


def spelt_heads(heads: Four) -> str:
    """Heads of the channel attention as the params spell them."""
    return "-".join(map(str, heads))


def fitting_window(image_size: int) -> int:
    """Side of windows for an image's side: the largest up to 12 that divides its last map.

    It is the published one where there is one: 7 at 224, 8 at 256, 12 at 384 pixels.

    Raises:
        ParamsError: the size is no multiple of 32.
    """
    if image_size % STRIDE:
        raise ParamsError(size_problem(image_size, image_size, 1) or "")
    cells = image_size // STRIDE
    return max(side for side in range(1, LARGEST_WINDOW + 1) if cells % side == 0)


class WSFViTParams(TrainingParams):
    """Hyper-parameters of WSF-ViT on images with class labels.

    The variant decides `drop_path`, `mixup`, `randaugment`, `crop_pct` and `channel_heads`, and the size of images `window`,
    wherever they are not given; the params that are kept have them all.
    """

    epochs: int = Field(100, ge=1, description="Passes over the training examples; the schedule ends with the last.")
    batch: int = Field(
        128, ge=1, description="Examples of one update, over all workers and accumulated micro-batches together."
    )
    lr: float = Field(
        5e-4,
        gt=0,
        allow_inf_nan=False,
        description="Learning rate at its highest; published is 3e-3 at a batch of 2048.",
    )
    clip: float = Field(1.0, ge=0, allow_inf_nan=False, description="Norm that gradients are cut to; 0 leaves them.")
    variant: str = Field("t", description="Size of the network: p0, p1, p2, n, t, s, m or b.")
    image_size: int = Field(
        224, ge=STRIDE, le=2048, description="Side of images in pixels, a multiple of 32 times the window."
    )
    window: int = Field(
        7,
        ge=0,
        description="Side of attention windows and grids in cells; by default, or 0, the largest up to 12 that divides the last "
        "map, which has image_size / 32 cells a side.",
    )
    channel_heads: str = Field(
        "2-4-8-16",
        description="Heads of the channel attention in the four stages; by default those of the variant's last published version "
        "at 224 pixels. They change no tensor's shape: a checkpoint must get those that it was trained with.",
    )
    wavelet: str = Field("haar", description="Wavelet of the fixed stem; published is haar.")
    num_classes: int = Field(0, ge=0, description="Classes that are told apart; 0: as many as the data have.")
    weights: Weights = Field(
        "random:0",
        description="Where training starts: random:SEED, or the path of a checkpoint of the same variant, whose position bias "
        "tables are interpolated to the window. The authors' README links theirs, for download in a browser.",
    )
    replace_head: bool = Field(
        False, description="Leave the last layer out of the weights' file, for data with other classes than its own."
    )
    drop_path: float = Field(
        0.2, ge=0, lt=1, description="Stochastic depth of the last block, from 0 at the first; by default as published."
    )
    weight_decay: float = Field(
        0.05,
        ge=0,
        allow_inf_nan=False,
        description="Weight decay of AdamW; biases, norms and position bias tables have none.",
    )
    warmup_epochs: int = Field(5, ge=0, description="Epochs in which the rate grows linearly, inside the schedule.")
    warmup_lr: float = Field(
        1e-6, ge=0, allow_inf_nan=False, description="Rate of the first of them, or lr where that is lower."
    )
    min_lr: float = Field(1e-5, ge=0, allow_inf_nan=False, description="Rate that the cosine ends at.")
    mixup: float = Field(
        0.5, ge=0, allow_inf_nan=False, description="Alpha of Mixup; 0 leaves it out; by default as published."
    )
    cutmix: float = Field(1.0, ge=0, allow_inf_nan=False, description="Alpha of CutMix; 0 leaves it out.")
    smoothing: float = Field(0.1, ge=0, lt=1, description="Label smoothing factor.")
    randaugment: float = Field(
        9.0, ge=0, le=10, description="Magnitude of RandAugment; 0 leaves it out; by default as published."
    )
    colour_jitter: float = Field(
        0.4,
        ge=0,
        le=1,
        description="Strength of changes of brightness, contrast and saturation, where RandAugment is left out.",
    )
    erasing: float = Field(0.25, ge=0, le=1, description="Probability that a rectangle is filled with noise.")
    crop_scale: float = Field(
        0.08, gt=0, le=1, description="Least share of a training image's area that a random crop keeps."
    )
    flip: float = Field(0.5, ge=0, le=1, description="Probability that a training image is mirrored.")
    crop_pct: float = Field(
        0.95,
        gt=0,
        le=1,
        description="Share of the resized image's side that evaluation keeps; by default as published.",
    )
    crop_mode: CropMode = Field(
        "center",
        description="In evaluation. center: the shorter side is resized, the middle kept. squash: both sides are, whatever the "
        "aspect ratio. border: the longer, and the rest filled.",
    )
    interpolation: Interpolation = Field("bicubic", description="Interpolation of the resize in evaluation.")
    normalisation: Literal["imagenet", "half"] = Field(
        "imagenet",
        description="Mean and standard deviation that levels are brought to: ImageNet's, or 0.5 for all, as published at 384.",
    )
    validation: Literal["holdout", "test"] = Field(
        "holdout",
        description="What chooses the checkpoint. holdout: a validation split where a test split is left to report, else a share "
        "of the training images. test: the split that is reported, as published, which makes its figures optimistic.",
    )
    validation_share: float = Field(
        0.1, gt=0, lt=1, description="Share of each class's training images that is held out, where any are."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_variant(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(variant := values.get("variant", "t"), str):
            return values
        filled = {**PUBLISHED.get(variant.lower(), {}), **values}
        if variant.lower() in ARCHITECTURES and not filled.get("channel_heads"):
            filled["channel_heads"] = spelt_heads(ARCHITECTURES[variant.lower()].channel_heads)
        size = filled.get("image_size", 224)
        size = int(size) if isinstance(size, str) and size.isdecimal() else size  # as flags and files may spell it
        if not filled.get("window") and isinstance(size, int) and size >= STRIDE:
            filled["window"] = fitting_window(size)
        return filled

    @field_validator("variant")
    @classmethod
    def _known_variant(cls, value: str) -> str:
        architecture(value)
        return value.lower()

    @field_validator("weights")
    @classmethod
    def _never_published(cls, value: str) -> str:
        return check_weights_exist(value)

    @field_validator("channel_heads")
    @classmethod
    def _four_numbers(cls, value: str) -> str:
        parts = value.split("-")
        if len(parts) != 4 or not all(part.isdecimal() and int(part) for part in parts):
            raise ParamsError(f"{value!r}: give four numbers with - between, one a stage, for instance 2-4-8-16")
        return "-".join(str(int(part)) for part in parts)

    @field_validator("wavelet")
    @classmethod
    def _known_wavelet(cls, value: str) -> str:
        return check_orthogonal(value)

    @model_validator(mode="after")
    def _fits_together(self) -> WSFViTParams:
        check_channel_heads(self.heads, architecture(self.variant).widths)
        if problem := size_problem(self.image_size, self.image_size, self.window):
            raise ParamsError(f"image_size and window: {problem}")
        if self.num_classes == 1:
            raise ParamsError("num_classes is 1; a classifier tells at least two apart")
        if self.warmup_epochs >= self.epochs and self.epochs > 1:
            raise ParamsError(
                f"the warm-up of {self.warmup_epochs} epochs (warmup_epochs) leaves none of {self.epochs} for the cosine"
            )
        if self.min_lr > self.lr:
            raise ParamsError(
                f"min_lr {self.min_lr:g}, where the cosine ends, lies above lr {self.lr:g}, where it begins"
            )
        if self.mixes_pairs and self.batch // self.accumulation % 2:
            raise ParamsError(
                f"mixup and cutmix mix pairs, so a micro-batch is even, not {self.batch} / {self.accumulation}; give another "
                "batch, or leave both out (mixup=0, cutmix=0)"
            )
        return self

    @property
    def heads(self) -> Four:
        """Heads of the channel attention in the four stages."""
        first, second, third, fourth = (int(each) for each in self.channel_heads.split("-"))
        return first, second, third, fourth

    @property
    def mixes_pairs(self) -> bool:
        """Whether images are mixed."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def framing(self) -> Framing:
        """How an image that is judged becomes a normalised square."""
        mean, std = NORMALISATIONS[self.normalisation]
        return Framing(self.image_size, self.crop_pct, self.crop_mode, self.interpolation, mean, std)

    @property
    def augmenting(self) -> Augmenting:
        """How training images are changed."""
        return Augmenting(self.crop_scale, self.randaugment, self.colour_jitter, self.flip, self.erasing)
