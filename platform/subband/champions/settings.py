"""Settings of champions that several jobs have."""

from __future__ import annotations

from pydantic import BaseModel, Field

from subband.methods.pixel_share import HIGHEST_PIXEL_FPR, PIXEL_FPR


class ThresholdSettings(BaseModel):
    """Rates from which a detector's thresholds are chosen."""

    fpr: float = Field(0.05, gt=0, lt=1, description="Share of good images that may be called defective.")
    pixel_fpr: float = Field(
        PIXEL_FPR,
        gt=0,
        le=HIGHEST_PIXEL_FPR,
        description="Share of the pixels of good images that may be called defective, for masks and defective areas.",
    )
