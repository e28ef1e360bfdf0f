"""Params that every method on a frozen backbone shares: the two faithful modes, the network, and how pictures are framed."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from subband.data import Preprocess
from subband.errors import ParamsError
from subband.methods.modes import FaithfulModes
from subband.nn.backbones import Weights, backbone_spec


class FrozenBackboneParams(FaithfulModes):
    """Base of the params of methods that fit on features of a network they do not train."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str = Field(
        "resnet18", description="Frozen network: resnet18, resnet34, resnet50, wide_resnet50_2 or efficientnet_b0..b6."
    )
    weights: Weights = Field(
        "pretrained", description="pretrained (ImageNet, fetched once), random:SEED, or the path of a state dict."
    )
    framing: Literal["stretch", "crop"] = Field(
        "stretch",
        description="stretch: the whole picture at image_size. crop: shorter side to `resize`, then the centre; "
        "what lies outside is not inspected.",
    )
    resize: int = Field(
        256, ge=16, le=4096, description="Shorter side before the centre crop, pixels (framing=crop only)."
    )
    image_size: int = Field(224, ge=32, le=2048, description="Side of the square the backbone sees, pixels.")
    resampling: Literal["lanczos", "bilinear"] = Field(
        "lanczos", description="Filter that resizes pictures; both are antialiased."
    )

    @field_validator("backbone")
    @classmethod
    def _known_backbone(cls, value: str) -> str:
        name = value.replace("-", "_")
        backbone_spec(name)
        return name

    @model_validator(mode="after")
    def _crop_fits(self) -> FrozenBackboneParams:
        if self.framing == "crop" and self.resize < self.image_size:
            raise ParamsError(
                f"resize {self.resize} is smaller than image_size {self.image_size}: there is nothing to crop"
            )
        return self

    def preprocess(self) -> Preprocess:
        """How these params frame a picture."""
        return Preprocess(
            framing=self.framing, resize=self.resize, image_size=self.image_size, resampling=self.resampling
        )
