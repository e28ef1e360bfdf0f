"""Hyper-parameters of WPFormer and the two faithful modes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from subband.data.segmentation.augment import Augmentation
from subband.errors import ParamsError
from subband.methods.modes import FaithfulModes
from subband.methods.training_params import TrainingParams
from subband.methods.wpformer.backbone import check_backbone
from subband.methods.wpformer.layers import HEADS
from subband.methods.wpformer.loss import LossForm
from subband.methods.wpformer.maps import MapOrder
from subband.methods.wpformer.network import SMALLEST_SIDE
from subband.nn.backbones import Weights

REFERENCE: Mapping[str, Any] = {
    "loss_form": "probabilities",
    "iou_smoothing": 0.0,
    "validation": "test",
    "map_stretching": True,
}
CORRECTED: Mapping[str, Any] = {
    "loss_form": "logits",
    "iou_smoothing": 1.0,
    "validation": "holdout",
    "map_stretching": False,
}


class WPFormerParams(TrainingParams, FaithfulModes):
    """Hyper-parameters of WPFormer (Yan et al., CVPR 2025); the defaults are those published for ESDIs-SOD.

    Corrected: cross-entropy of logits, an IoU term that empty masks teach through, a held-out share of the training images
    chooses the checkpoint, and maps are probabilities. Reference: the published protocol, in which the test images choose the
    checkpoint and every map is stretched to full contrast.

    `mode` chooses the defaults of these fields; a field given explicitly wins over the mode.
    """

    reference: ClassVar[Mapping[str, Any]] = REFERENCE
    corrected: ClassVar[Mapping[str, Any]] = CORRECTED

    epochs: int = Field(150, ge=1, description="Passes over the training examples; the schedule ends with the last.")
    lr: float = Field(8e-5, gt=0, allow_inf_nan=False, description="Learning rate at its highest, of all parameters.")
    backbone: str = Field("pvt_v2_b2", description="pvt_v2_b0 to pvt_v2_b5; published are b2 and b4.")
    weights: Weights = Field(
        "pretrained",
        description="Starting weights of the backbone: pretrained (ImageNet, fetched once), random:SEED, or the path of "
        "its state dict by timm's names "
        "or the published ones. A published checkpoint of the whole network is a starting point too.",
    )
    channels: int = Field(
        64,
        ge=8,
        le=1024,
        description="Width of everything behind the backbone, a multiple of 8; published are 64 and 128.",
    )
    wavelet: bool = Field(True, description="Attend to the wavelet bands of the pyramid; off is an ablation.")
    prototypes: bool = Field(True, description="Attend to prototypes of the pyramid; off is an ablation.")
    image_size: int = Field(
        384,
        ge=SMALLEST_SIDE,
        le=4096,
        description="Side that images are stretched to, pixels; any number, not only multiples of 32.",
    )
    multi_scale: tuple[float, ...] = Field(
        (),
        description="Factors of image_size, one of which is drawn for each update (sides are rounded to multiples of 32); none: "
        "every update at image_size.",
    )
    augmentation: Augmentation = Field(
        "flip-rotate-turn",
        description="Augmentation of training images: none; flip-rotate-turn (published for ESDIs-SOD); crop (CrackSeg9k); "
        "flip-rotate (SOD); crop-jitter (COD).",
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="In the initial query decoder.")
    drop_path: float = Field(
        0.1, ge=0, lt=1, description="Stochastic depth of the backbone's last block; it grows linearly from 0."
    )
    loss_form: LossForm = Field(
        "logits",
        description="Cross-entropy of logits, or of float32 probabilities with logarithms cut at -100, as published, from which "
        "confident errors learn nothing.",
    )
    iou_smoothing: float = Field(
        1.0,
        ge=0,
        allow_inf_nan=False,
        description="Pixels added to intersection and union in the IoU term; at 0, as published, empty masks teach it nothing.",
    )
    validation: Literal["holdout", "test"] = Field(
        "holdout",
        description="What chooses the checkpoint. holdout: a share of the training images, chosen by the seed. test: a test set, "
        "as published, which makes its figures optimistic.",
    )
    validation_share: float = Field(
        0.1, gt=0, lt=1, description="Share of the training images that is held out (validation=holdout only)."
    )
    validation_set: str = Field(
        "", description="Name of the test set that chooses (validation=test only); empty: the first by name."
    )
    map_stretching: bool = Field(
        False,
        description="Bring every map to full contrast by its own extremes, as published, also that of an image without defects.",
    )
    map_order: MapOrder = Field(
        "defect",
        description="How a map gets the size of its image. defect: 8-bit values are resized. object: logits are "
        "(published for SOD and COD).",
    )

    @field_validator("backbone")
    @classmethod
    def _known_backbone(cls, value: str) -> str:
        return check_backbone(value)

    @field_validator("channels")
    @classmethod
    def _heads_share_channels(cls, value: int) -> int:
        if value % HEADS:
            raise ParamsError(
                f"{value} channels cannot be shared by {HEADS} attention heads; choose a multiple of {HEADS}, for instance "
                f"{round(value / HEADS) * HEADS}"
            )
        return value

    @field_validator("multi_scale")
    @classmethod
    def _sensible_factors(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0.25 <= factor <= 4 for factor in value):
            raise ParamsError(f"multi_scale factors lie between 0.25 and 4, for instance 0.75 1 1.25, not {value}")
        return value
