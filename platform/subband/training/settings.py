"""Settings of a training, and of a fit, beside the method's params."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from subband.analysis.settings import AnalysisSettings
from subband.champions.settings import ThresholdSettings
from subband.runs.settings import RegisterSettings, RunSettings, WorkerSettings


class TrainSettings(RegisterSettings, WorkerSettings, RunSettings):
    """Settings of one training."""

    data: str | None = Field(None, description="Dataset URI; by default the method's embedded data.")  # type: ignore[assignment]
    recipe: str | None = Field(None, description="A named preset of params; params given beside it win.")
    loaders: int | None = Field(
        None,
        ge=0,
        description="Processes of each worker that prepare examples; by default none on CPUs, 4 beside a GPU.",
    )
    resume: str | None = Field(None, description="Continue an interrupted training: its name, or 'last'.")


class FitSettings(ThresholdSettings, RegisterSettings, WorkerSettings, AnalysisSettings):
    """Settings of fitting one method to the good images of some categories."""

    category: str | None = Field(None, description="The one category to fit; by default every category of the dataset.")
    workers: int = Field(  # type: ignore[assignment]
        1, ge=1, description="Ray Train workers that divide the images; one works in this process."
    )
    out: Path | None = Field(
        None, description="Folder of the results, which must not exist; by default HOME/fits/NAME."
    )
    experiment: str | None = Field(None, description="MLflow experiment; by default METHOD/DATASET.")
