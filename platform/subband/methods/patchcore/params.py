"""Hyper-parameters of PatchCore and the two faithful modes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from subband.errors import ParamsError
from subband.methods.memorybank.params import CoresetStart, MemoryBankParams

REFERENCE: Mapping[str, Any] = {"framing": "crop", "distance": "squared"}
CORRECTED: Mapping[str, Any] = {"framing": "stretch", "distance": "euclidean"}


class PatchCoreParams(MemoryBankParams):
    """Hyper-parameters of PatchCore (Roth et al., CVPR 2022), by the official implementation.

    Corrected: whole picture, Euclidean distances. Reference: centre crop, and the squared distances that the official index
    returns.
    """

    reference: ClassVar[Mapping[str, Any]] = REFERENCE
    corrected: ClassVar[Mapping[str, Any]] = CORRECTED

    backbone: str = Field(
        "wide_resnet50_2", description="Frozen network: wide_resnet50_2 as published, or another ResNet."
    )
    resampling: Literal["lanczos", "bilinear"] = Field(
        "bilinear", description="Filter that resizes pictures; both are antialiased."
    )
    features: Literal["patches", "averages"] = Field(
        "patches",
        description="patches: 3 x 3 neighbourhoods pooled to `target` numbers, the official form. averages: 3 x 3 means of both "
        "layers side by side, the baseline that WEDGE-Net is compared with.",
    )
    patch: int = Field(3, ge=1, le=9, description="Side of the neighbourhood, cells, odd (features=patches only).")
    pooled: int = Field(1024, ge=1, le=8192, description="Numbers kept a layer (features=patches only).")
    target: int = Field(1024, ge=1, le=8192, description="Numbers kept a vector (features=patches only).")
    ratio: float = Field(
        0.1,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="Share of the training vectors that the bank keeps, above 0 and up to 1 (all). Smaller ratios are prefixes of "
        "larger ones, so they cost nothing beside them.",
    )
    coreset_start: CoresetStart = Field(
        "approximate",
        description="How greedy selection starts. first: with vector 0 (WEDGE-Net). approximate: far from ten random vectors on "
        "average (PatchCore). norms: from the norms of the distance matrix's rows (PatchCore's exact form, slow).",
    )
    projection: Literal["none", "linear128", "sparse_jl"] = Field(
        "linear128",
        description="Space in which the greedy selection measures distances: the vectors themselves, a random linear map to 128 "
        "numbers, or a sparse Johnson-Lindenstrauss map. The bank keeps whole vectors.",
    )
    image_score: Literal["map", "cell"] = Field(
        "cell", description="Score of a picture: the maximum of the smoothed map, or of the cells before smoothing."
    )

    @field_validator("patch")
    @classmethod
    def _has_a_centre(cls, value: int) -> int:
        if value % 2 == 0:
            raise ParamsError(f"patch {value} is even and has no centre; choose 1, 3, 5, 7 or 9")
        return value

    def channels(self) -> int:
        """Length D of one vector."""
        return self.target if self.features == "patches" else sum(tap.channels for tap in self.levels())
