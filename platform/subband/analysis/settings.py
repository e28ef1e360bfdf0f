"""Settings that every analysis has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, field_validator

from subband.data import Category, Dataset, open_dataset
from subband.errors import DataError
from subband.runs.folders import check_name
from subband.runs.settings import RunSettings, StoreSettings
from subband.stages import DEFAULT_BUDGET_GB, Store

SMOKE_DATA = "synthetic:?train=6&test=8&size=64&categories=weave,nut"


@dataclass(frozen=True)
class Source:
    """Where a worker finds images, shared stages and registered detectors.

    Attributes:
        data: dataset URI, absolute.
        store_folder: of the stage store, absolute.
        store_gb: its budget.
        tracking_uri: the registry; None for the default.
    """

    data: str
    store_folder: Path
    store_gb: float = DEFAULT_BUDGET_GB
    tracking_uri: str | None = None

    def store(self) -> Store:
        """The store, opened.

        Raises:
            StoreError: it cannot be used.
        """
        return Store(self.store_folder, self.store_gb)

    def category(self, name: str) -> Category:
        """The samples of one category."""
        return open_dataset(self.data).category(name)


def require_defects(dataset: Dataset) -> None:
    """Refuse data on which nothing can be measured.

    Raises:
        DataError: no category has both good and defective test images.
    """
    for name in dataset.categories:
        if len({sample.label for sample in dataset.category(name).test}) == 2:
            return
    raise DataError(
        f"no category of {dataset.uri} has good and defective test images ({', '.join(dataset.categories)}): "
        "without both, no detector can be measured"
    )


class AnalysisSettings(StoreSettings, RunSettings):
    """What is analysed, and where results go."""

    out: Path | None = Field(
        None, description="Folder of the results, which must not exist; by default HOME/analysis/NAME."
    )
    workers: int | None = Field(None, ge=1, description="Categories at a time; by default one per CPU of the cluster.")
    experiment: str | None = Field(None, description="MLflow experiment; by default analysis/DATASET.")

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str | None) -> str | None:
        return None if value is None else check_name(value)

    def dataset(self) -> Dataset:
        """The dataset, opened; a tiny one in a smoke run that names no other.

        Raises:
            DataError: it cannot be opened.
        """
        usual = RunSettings.model_fields["data"].default
        return open_dataset(SMOKE_DATA if self.smoke and self.data == usual else self.data)

    def source(self) -> Source:
        """What workers need to open the data, the store and the registry."""
        return Source(self.dataset().uri, self.store_folder, self.store_gb, self.tracking_uri)
