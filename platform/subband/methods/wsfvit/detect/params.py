"""Hyper-parameters of the detectors with a WSF-ViT backbone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from subband.data.detection.augment import Policy, Sizes
from subband.errors import ParamsError
from subband.methods.training_params import TrainingParams
from subband.methods.wsfvit.architecture import STRIDE, architecture
from subband.methods.wsfvit.published import check_weights_exist
from subband.nn.backbones import Weights

Kind = Literal["mask-rcnn", "cascade"]


class WSFViTDetectionParams(TrainingParams):
    """Hyper-parameters of Mask R-CNN and Cascade Mask R-CNN with WSF-ViT; the defaults are published for COCO."""

    classes: tuple[str, ...] = Field(
        (), description="Names of the classes that are found; left out, a training takes those of its data."
    )
    kind: Kind = Field(
        "mask-rcnn",
        description="mask-rcnn: one stage, L1 losses. cascade: three stages of growing IoU, GIoU loss on boxes.",
    )
    variant: str = Field("t", description="Size of the backbone: p0 p1 p2 n t s m b; published are t, s and m.")
    weights: Weights = Field(
        "random:0",
        description="Starting weights of the backbone: random:SEED, or the path of a checkpoint of the classifier or of a "
        "detector. The authors' README links theirs, for download in a browser.",
    )
    window: int = Field(
        7, ge=1, le=24, description="Side of the backbone's windows; images are padded to multiples of 32 times it."
    )
    drop_path: float = Field(
        0.2, ge=0, lt=1, description="Stochastic depth of the backbone's last block; it grows from 0."
    )
    frozen_statistics: bool = Field(
        True,
        description="Batch normalisations of the backbone keep their statistics, as published: right for weights of a classifier, "
        "not for random ones.",
    )
    channels: int = Field(256, ge=8, le=1024, description="Width of the pyramid and of the heads' convolutions.")
    hidden: int = Field(1024, ge=8, le=8192, description="Width of the box heads' linear layers.")
    anchor_scale: float = Field(
        8.0, gt=0, le=64, description="Side of the anchors in units of their level's stride (4 to 64 pixels)."
    )
    mmdet_boxes: bool = Field(
        False,
        description="mmdetection's boxes, as published: anchors have unrounded sides, and what shrinks a box is limited like what "
        "makes it grow. Checkpoints in its naming turn it on.",
    )
    candidates: int = Field(
        2000, ge=1, description="Regions of each level of an image among which repetitions are suppressed in training."
    )
    proposals: int = Field(
        1000, ge=1, description="Regions of an image that reach the heads; a cascade is trained on twice as many."
    )
    sampled_regions: int = Field(
        512,
        ge=4,
        description="Regions of an image that the heads learn from, at most a quarter of them with an object.",
    )
    epochs: int = Field(36, ge=1, description="Passes over the training examples.")
    batch: int = Field(
        16, ge=1, description="Examples of one update, over all workers and accumulated micro-batches together."
    )
    weight_decay: float = Field(
        0.05,
        ge=0,
        allow_inf_nan=False,
        description="Weight decay of AdamW; normalisations and position tables have none.",
    )
    warm_up: float = Field(
        0.068,
        ge=0,
        description="Epochs in which the rate grows from a thousandth; by default 500 updates of COCO's 16 images.",
    )
    drops: tuple[int, ...] = Field((27, 33), description="Epochs done after which the rate falls to a tenth.")
    augmentation: Policy = Field(
        "flip-resize-crop", description="Augmentation of training images: none, flip, or flip-resize-crop (published)."
    )
    short_sides: tuple[int, ...] = Field(
        (448, 672, 896),
        description="Shorter sides in pixels, one of which a training image gets; without resizing the first.",
    )
    longest: int = Field(1120, ge=32, le=8192, description="That the longer side of an image may have, pixels.")
    before_crop: tuple[int, ...] = Field((400, 500, 600), description="Shorter sides before a random crop, pixels.")
    crop: tuple[int, int] = Field((448, 600), description="Smallest and largest side of a random crop, pixels.")
    test_side: int = Field(896, ge=32, le=8192, description="Shorter side in evaluations and answers, pixels.")
    validation: Literal["holdout", "test"] = Field(
        "holdout",
        description="What chooses the checkpoint. holdout: the validation split, or a share of the training images. test: the "
        "test split, as published, which makes its figures optimistic.",
    )
    validation_share: float = Field(
        0.02,
        gt=0,
        lt=1,
        description="Share of the training images that is held out where the data have no validation split.",
    )

    @property
    def sizes(self) -> Sizes:
        """What sizes a training image gets."""
        return Sizes(self.short_sides, self.longest, self.before_crop, self.crop)

    @property
    def unit(self) -> int:
        """Images are padded to multiples of it, in pixels."""
        return STRIDE * self.window

    @field_validator("variant")
    @classmethod
    def _known_variant(cls, value: str) -> str:
        architecture(value)
        return value.lower()

    @field_validator("classes")
    @classmethod
    def _classes_differ(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value) or not all(value):
            raise ParamsError(f"classes {value}: every class needs a name of its own")
        return value

    @field_validator("weights")
    @classmethod
    def _never_published(cls, value: str) -> str:
        return check_weights_exist(value)

    @model_validator(mode="after")
    def _schedule_and_sizes_fit(self) -> WSFViTDetectionParams:
        if list(self.drops) != sorted(set(self.drops)) or any(not 0 < drop < self.epochs for drop in self.drops):
            legal = [drop for drop in (round(0.75 * self.epochs), round(0.92 * self.epochs)) if 0 < drop < self.epochs]
            instead = (
                f"for instance --drops {' '.join(map(str, dict.fromkeys(legal)))}" if legal else "train more epochs"
            )
            raise ParamsError(
                f"drops {self.drops} must be growing numbers of epochs above 0 and below {self.epochs} (epochs): {instead}"
            )
        _ = self.sizes
        if self.test_side > self.longest:
            raise ParamsError(f"test_side {self.test_side} is longer than the longest side, {self.longest}")
        return self
