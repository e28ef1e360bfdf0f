"""What a person chooses about a fit beside the method's params."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from subband.analysis.settings import AnalysisSettings
from subband.methods.pixel_tail import HIGHEST_PIXEL_FPR, PIXEL_FPR


class FitSettings(AnalysisSettings):
    """Settings of fitting one method to the good pictures of some categories."""

    category: str | None = Field(None, description="The one category to fit; by default every category of the dataset.")
    workers: int = Field(  # type: ignore[assignment]
        1, ge=1, description="Ray Train workers that divide the pictures; one works in this process."
    )
    device: Literal["auto", "gpu", "cpu"] = Field(
        "auto", description="gpu: one for each worker. auto: that, where the cluster has enough."
    )
    cpus_per_worker: int | None = Field(
        None, ge=1, description="Processors of each worker; by default they share those of the cluster."
    )
    max_failures: int = Field(2, ge=0, description="How often workers that died are started again.")
    fpr: float = Field(0.05, gt=0, lt=1, description="Share of good pictures that may be called defective.")
    pixel_fpr: float = Field(
        PIXEL_FPR,
        gt=0,
        le=HIGHEST_PIXEL_FPR,
        description="Share of the pixels of good images that the model may call defective, for masks and defective areas.",
    )
    experiment: str | None = Field(None, description="MLflow experiment; by default METHOD/DATASET.")
    register_model: bool = Field(
        False, description="Register each detector in MLflow as the champion of its category, so that it is served."
    )
