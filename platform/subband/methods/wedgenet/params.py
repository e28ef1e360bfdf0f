"""Hyper-parameters of WEDGE-Net and the two faithful modes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from subband.methods.memorybank.params import MemoryBankParams
from subband.methods.wedgenet.guidance import GuidanceWavelet
from subband.methods.wedgenet.network import Border
from subband.methods.wedgenet.scope import PUBLISHED_BATCH, Scope

REFERENCE: Mapping[str, Any] = {
    "framing": "crop",
    "scope": "batch",
    "encoder_init": "published",
    "border": "zero",
}
CORRECTED: Mapping[str, Any] = {
    "framing": "stretch",
    "scope": "image",
    "encoder_init": "own",
    "border": "inside",
}


class WedgeNetParams(MemoryBankParams):
    """Hyper-parameters of WEDGE-Net.

    Corrected: whole image, min-max scaling of each image by itself, so that it has the same vectors in the bank and in a test,
    and border cells of full length. Reference: the published code's behaviour: centre crop, scaling over batches of 32 in the bank,
    and an encoder drawn after a whole ResNet-50.
    """

    reference: ClassVar[Mapping[str, Any]] = REFERENCE
    corrected: ClassVar[Mapping[str, Any]] = CORRECTED

    published_backbone: ClassVar[str] = "resnet50"

    resampling: Literal["lanczos", "bilinear"] = Field(
        "bilinear", description="Filter that resizes images; both are antialiased."
    )
    wavelet: GuidanceWavelet = Field("haar", description="Transform behind the frequency guidance map.")
    gate: bool = Field(
        True, description="Multiply the features by the frequency encoder's gates; False is the control without them."
    )
    semantic: bool = Field(
        True, description="Append the semantic block: layer2 weighted by where it is strong, up to 2 in length."
    )
    encoder_seed: int = Field(
        0, ge=0, lt=2**63, description="Seed of the frequency encoder, which is never trained; saved with the bank."
    )
    encoder_init: Literal["own", "published"] = Field(
        "own",
        description="own: the encoder is drawn first. published: after a whole ResNet-50, so that a seed gives the bits that the "
        "published code would get from it.",
    )
    scope: Scope = Field(
        "image",
        description="Whose extremes scale the guidance and the semantic mask. batch: those of `scope_batch` training images in "
        "order, each scored image by its own (as published: the bank and the test disagree).",
    )
    scope_batch: int = Field(PUBLISHED_BATCH, ge=1, le=4096, description="Training images a batch (scope=batch only).")
    border: Border = Field(
        "inside",
        description="How the 3 x 3 mean treats the border. zero: divide by 9, which shortens border vectors, as published. "
        "inside: by the cells inside.",
    )

    def channels(self) -> int:
        """Length D of one vector."""
        layer2, layer3 = (tap.channels for tap in self.levels())
        return layer2 + layer3 + (layer2 if self.semantic else 0)
