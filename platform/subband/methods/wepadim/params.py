"""Hyper-parameters of WE-PaDiM and the two faithful modes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pywt
from pydantic import Field, ValidationInfo, field_validator, model_validator

from subband.errors import ParamsError
from subband.methods.backbone_params import FrozenBackboneParams
from subband.nn.backbones import RESTORING
from subband.nn.smoothing import Smoothing
from subband.nn.wavelets import MAX_LEVEL, canonical_subbands, check_wavelet, transformed_size

SHORTEST_FILTER = 2  # haar's

REFERENCE: dict[str, Any] = {
    "framing": "crop",
    "grid": "smallest",
    "antialias": False,
    "placement": "resized",
    "distance": "squared",
    "smoothing": "reference",
    "jitter": 1e-6,
}
CORRECTED: dict[str, Any] = {
    "framing": "stretch",
    "grid": 14,
    "antialias": True,
    "placement": "auto",
    "distance": "mahalanobis",
    "smoothing": "gaussian",
    "jitter": 0.0,
}


def is_centred(placement: str, wavelet: str) -> bool:
    """What the param `placement` means for a wavelet."""
    return placement == "centred" or (placement == "auto" and pywt.Wavelet(wavelet).dec_len > SHORTEST_FILTER)


class WEPaDiMParams(FrozenBackboneParams):
    """Hyper-parameters of WE-PaDiM (arXiv 2508.16034).

    Corrected: whole image, 14 x 14 grid with antialiased resizing, coefficients of long filters where these are, Mahalanobis
    distance, true Gaussian. Reference: the published code's behaviour, warts included.
    """

    reference: ClassVar[Mapping[str, Any]] = REFERENCE
    corrected: ClassVar[Mapping[str, Any]] = CORRECTED

    wavelet: str = Field("haar", description="Any discrete wavelet of pywt: haar, db2, sym4, coif1, bior2.2, ...")
    level: int = Field(1, ge=1, le=MAX_LEVEL, description="Wavelet decomposition levels.")
    subbands: str = Field(
        "LL+LH+HL", description="Kept subbands, written LL+LH+HL; any non-empty subset of LL, LH, HL, HH."
    )
    grid: Literal["smallest"] | int = Field(
        14,
        description="Common grid of all layers: a side in cells, or 'smallest' (the coarsest layer, as published). "
        "Finer grids localise better and cost more.",
    )
    antialias: bool = Field(True, description="Low-pass filter before a layer is reduced to the grid.")
    placement: Literal["auto", "centred", "resized"] = Field(
        "auto",
        description="Where wavelet coefficients lie on the grid. centred: each at the centre of its filter's energy. resized: "
        "spread evenly between the borders, as published, which shifts the maps of long filters. auto: centred, but resized for "
        "haar, whose coefficients lie evenly (to half a cell where a map has an odd side).",
    )
    cov_reg: float = Field(
        0.01,
        ge=1e-8,
        le=1e3,
        allow_inf_nan=False,
        description="Added to the diagonal of every covariance (absolute, not relative to the trace).",
    )
    jitter: float = Field(
        0.0, ge=0, le=1, description="Further addition to the diagonal; the published code always adds 1e-6."
    )
    distance: Literal["mahalanobis", "squared"] = Field(
        "mahalanobis",
        description="Cell score: the Mahalanobis distance (PaDiM), or its square (published WE-PaDiM code).",
    )
    smoothing: Smoothing = Field(
        "gaussian", description="gaussian: a true Gaussian. reference: the published filter, a Gaussian times a box."
    )
    sigma: float = Field(
        4.0, gt=0, le=64, allow_inf_nan=False, description="Standard deviation of the smoothing, pixels at image_size."
    )

    @model_validator(mode="before")
    @classmethod
    def _placement_of_older_models(cls, values: Any, info: ValidationInfo) -> Any:
        if isinstance(values, dict) and info.context == RESTORING:
            return {"placement": "resized", **values}  # what was saved before there was a choice
        return values

    @field_validator("wavelet")
    @classmethod
    def _known_wavelet(cls, value: str) -> str:
        return check_wavelet(value)

    @field_validator("subbands")
    @classmethod
    def _known_subbands(cls, value: str) -> str:
        return canonical_subbands(value)

    @field_validator("grid")
    @classmethod
    def _sensible_grid(cls, value: Literal["smallest"] | int) -> Literal["smallest"] | int:
        if value != "smallest" and not 2 <= value <= 128:
            raise ParamsError(f"grid {value} is out of range; choose 'smallest' or a side from 2 to 128 cells")
        return value

    @model_validator(mode="after")
    def _level_fits(self) -> WEPaDiMParams:
        self.grid_side()
        return self

    def grid_side(self) -> int:
        """Side of the common grid in cells.

        Raises:
            ParamsError: `level` is too high for the smallest layer's map.
        """
        sides = [transformed_size(tap.size(self.image_size), self.wavelet, self.level) for tap in self.network().taps]
        return min(sides) if self.grid == "smallest" else self.grid

    @property
    def centred(self) -> bool:
        """Whether coefficients lie where their filters have the centre of their energy."""
        return is_centred(self.placement, self.wavelet)

    @property
    def regularisation(self) -> float:
        """What is added to the diagonal in all."""
        return self.cov_reg + self.jitter

    def channels(self) -> int:
        """Length D of the embedding vector of one grid position."""
        names = self.subbands.split("+")
        factor = ("LL" in names) + self.level * (len(names) - ("LL" in names))
        return factor * sum(tap.channels for tap in self.network().taps)
