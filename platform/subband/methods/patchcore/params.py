"""Hyper-parameters of PatchCore and the two faithful modes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from subband.errors import ParamsError
from subband.methods.memorybank.params import (
    CoresetStartParam,
    ImageScoreParam,
    MemoryBankParams,
    ProjectionParam,
    Ratio,
)

REFERENCE: Mapping[str, Any] = {"framing": "crop", "distance": "squared"}
CORRECTED: Mapping[str, Any] = {"framing": "stretch", "distance": "euclidean"}


class PatchCoreParams(MemoryBankParams):
    """Hyper-parameters of PatchCore (Roth et al., CVPR 2022), by the official implementation.

    Corrected: whole image, Euclidean distances. Reference: centre crop, and the squared distances that the official index
    returns.
    """

    reference: ClassVar[Mapping[str, Any]] = REFERENCE
    corrected: ClassVar[Mapping[str, Any]] = CORRECTED

    published_backbone: ClassVar[str] = "wide_resnet50_2"

    resampling: Literal["lanczos", "bilinear"] = Field(
        "bilinear", description="Filter that resizes images; both are antialiased."
    )
    features: Literal["patches", "averages"] = Field(
        "patches",
        description="patches: 3 x 3 neighbourhoods pooled to `target` numbers, the official form. averages: 3 x 3 means of both "
        "layers side by side, the baseline that WEDGE-Net is compared with.",
    )
    patch: int = Field(3, ge=1, le=9, description="Side of the neighbourhood, cells, odd (features=patches only).")
    pooled: int = Field(1024, ge=1, le=8192, description="Numbers kept a layer (features=patches only).")
    target: int = Field(1024, ge=1, le=8192, description="Numbers kept a vector (features=patches only).")
    ratio: Ratio = 0.1
    coreset_start: CoresetStartParam = "approximate"
    projection: ProjectionParam = "linear128"
    image_score: ImageScoreParam = "cell"

    @field_validator("patch")
    @classmethod
    def _has_a_centre(cls, value: int) -> int:
        if value % 2 == 0:
            raise ParamsError(f"patch {value} is even and has no centre; choose 1, 3, 5, 7 or 9")
        return value

    def channels(self) -> int:
        """Length D of one vector."""
        return self.target if self.features == "patches" else sum(tap.channels for tap in dict.fromkeys(self.levels()))
