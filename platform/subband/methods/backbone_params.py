"""Params that every method on a frozen backbone shares: the two faithful modes, the network, and how images are framed."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from subband.data import Preprocess
from subband.errors import ParamsError
from subband.methods.modes import FaithfulModes
from subband.methods.weights_rule import AUTO, settled_weights
from subband.nn.backbone_specs import BackboneSpec
from subband.nn.backbones import RESTORING, Normalisation, Weights, backbone_spec, canonical_backbone
from subband.nn.packaged import packaged_file
from subband.nn.timm_networks import AUTO_BLOCKS, check_blocks


class FrozenBackboneParams(FaithfulModes):
    """Base of the params of methods that fit on features of a network they do not train."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    published_backbone: ClassVar[str] = "resnet18"

    backbone: str = Field(
        AUTO,
        description="Frozen network: auto (the published one, or efficientnet_lite0 where its weights cannot be had), resnet18, "
        "resnet34, resnet50, wide_resnet50_2, efficientnet_b0..b6, efficientnet_lite0..lite2, or any of timm: timm:NAME, for "
        "instance timm:convnext_tiny or timm:vit_small_patch14_dinov2.",
    )
    blocks: str = Field(
        AUTO_BLOCKS,
        description="Blocks of a plain ViT (timm:NAME) whose token maps are read, counted from 1 and written 6+9+12. auto: "
        "WE-PaDiM those after one half, three quarters and all of the depth, memory banks the last; they read at most two.",
    )
    weights: Weights = Field(
        AUTO,
        description="Where the network's weights come from: auto (the hub, else a pip package), pretrained (ImageNet, fetched "
        "once), packaged (ImageNet, from a pip package: efficientnet_lite0..lite2), random:SEED, or the path of a state dict.",
    )
    normalisation: Normalisation = Field(
        "own",
        description="Mean and standard deviation of the input: own: those the network was trained with. imagenet: ImageNet's, "
        "for any network.",
    )
    framing: Literal["stretch", "crop"] = Field(
        "stretch",
        description="stretch: the whole image at image_size. crop: shorter side to `resize`, then the centre; "
        "what lies outside is not inspected.",
    )
    resize: int = Field(
        256, ge=16, le=4096, description="Shorter side before the centre crop, pixels (framing=crop only)."
    )
    image_size: int = Field(224, ge=32, le=2048, description="Side of the square the backbone sees, pixels.")
    resampling: Literal["lanczos", "bilinear"] = Field(
        "lanczos", description="Filter that resizes images; both are antialiased."
    )

    @model_validator(mode="before")
    @classmethod
    def _settle_weights(cls, values: Any, info: ValidationInfo) -> Any:
        if not isinstance(values, dict):
            return values
        if info.context == RESTORING:
            return {"backbone": cls.published_backbone, "weights": "pretrained", **values}
        return settled_weights(cls.published_backbone, values)

    @field_validator("backbone")
    @classmethod
    def _known_backbone(cls, value: str) -> str:
        return canonical_backbone(value)

    @field_validator("blocks")
    @classmethod
    def _numbers_of_blocks(cls, value: str) -> str:
        return check_blocks(value)

    @model_validator(mode="after")
    def _network_reads_images(self) -> FrozenBackboneParams:
        self.network().check_image_size(self.image_size)
        return self

    @model_validator(mode="after")
    def _weights_fit(self, info: ValidationInfo) -> FrozenBackboneParams:
        if self.weights == "packaged" and info.context != RESTORING:
            packaged_file(self.backbone)
        return self

    @model_validator(mode="after")
    def _crop_fits(self) -> FrozenBackboneParams:
        if self.framing == "crop" and self.resize < self.image_size:
            raise ParamsError(
                f"resize {self.resize} is smaller than image_size {self.image_size}: there is nothing to crop"
            )
        return self

    def network(self) -> BackboneSpec:
        """The specification of the backbone, with what is tapped."""
        return backbone_spec(self.backbone, self.blocks)

    def preprocess(self) -> Preprocess:
        """How these params frame an image."""
        return Preprocess(
            framing=self.framing, resize=self.resize, image_size=self.image_size, resampling=self.resampling
        )
