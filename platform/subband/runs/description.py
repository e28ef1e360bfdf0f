"""A run's description: what its folder must know, beside its files, to be logged in any MLflow at any time.

There are two, by the file that holds them: ``sweep.json`` of a sweep, whose trials are runs of their own, and ``report.json`` of
a training, a fit or an analysis. Both are written first, and whole.
"""

from __future__ import annotations

import json
import uuid
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator

from subband.errors import TrackingError
from subband.files import write_atomically

FIGURES, TABLES = "figures", "report"
LOCK_NAME = "tracking.lock"
_CHANGED = "changed."

Status = Literal["running", "finished", "failed", "killed"]
Number = tuple[str, float, int]
"""Name, value and step."""


class DatasetInfo(BaseModel):
    """The dataset of a run, as MLflow shows it.

    Attributes:
        name: short name of the dataset.
        digest: its content fingerprint; MLflow shows the first characters.
        source: the URI that opens it.
        categories: names of the categories that the run uses.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    digest: str
    source: str
    categories: tuple[str, ...]


class ChampionEntry(BaseModel):
    """A champion to register: its model's folder, and by tracking URI the versions it already has and their models' names."""

    model_config = ConfigDict(extra="forbid")

    name: str
    model_dir: str
    tags: dict[str, str] = {}
    loader: str = "subband.load"
    versions: dict[str, int] = {}
    names: dict[str, str] = {}


class Description(BaseModel):
    """What both kinds have.

    Attributes:
        status: ``running`` until the run says how it ended.
        tracking_uri: where the run logs; ``push`` goes there unless told otherwise.
        artifact_root: see `subband.tracking.TrackingTarget`.
        champions: what was promoted, by registered name.
    """

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    file_name: ClassVar[str]
    noun: ClassVar[str]

    format: int = 1
    status: Status = "running"
    tracking_uri: str
    artifact_root: str | None = None
    champions: dict[str, ChampionEntry] = {}

    @property
    @abstractmethod
    def identity(self) -> dict[str, str]:
        """Tags that find the run again, in any MLflow."""

    @property
    @abstractmethod
    def where(self) -> tuple[str, str]:
        """Experiment, and name of the run."""

    @property
    @abstractmethod
    def content(self) -> tuple[DatasetInfo, dict[str, Any], dict[str, Any], Sequence[Number]]:
        """Dataset, params, tags and numbers of the run."""

    @abstractmethod
    def files(self, folder: Path) -> list[Path]:
        """What is logged of the folder."""

    @abstractmethod
    def resumed_by(self, now: Any) -> Any:
        """The description of the same run when it is resumed.

        Raises:
            TrackingError: it is another run.
        """

    @classmethod
    def load(cls, folder: Path) -> Any:
        """The folder's description, or None where there is none of this kind.

        Raises:
            TrackingError: the file cannot be read as one.
        """
        path = folder / cls.file_name
        if not path.is_file():
            return None
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise TrackingError(
                f"{path} cannot be read as the description of {cls.noun} ({error}); move it away to start the log anew"
            ) from error

    def save(self, folder: Path) -> None:
        """Write it; readers see the old description or the new one, never a part."""
        write_atomically(folder / self.file_name, self.model_dump_json(indent=1).encode())


class SweepInfo(BaseModel):
    """What one sweep is: everything that its run says before the first trial ends.

    Attributes:
        experiment: the MLflow experiment that holds the run.
        run_name: the run's name.
        method: the method's name.
        selection: how a winner is chosen: ``test``, ``holdout`` or ``synthetic``.
        objectives: metric name to direction, the first one ranks the trials.
        seed: the seed that the sweep was given.
        weights: the backbone's weights (``pretrained``, ``random:0`` or a path).
        dataset: what the trials are evaluated on.
        settings: everything else that was set (budgets, search space, ...), logged as params.
        tags: further tags.
        trial_name: format string of the trials' run names over ``number`` and the params, for instance
            ``{number:03d} {wavelet} {subbands}``; empty for the number and the searched values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: str = Field(min_length=1, max_length=500)
    run_name: str = Field(min_length=1)
    method: str
    selection: Literal["test", "holdout", "synthetic"]
    objectives: dict[str, Literal["max", "min"]] = Field(min_length=1)
    seed: int
    weights: str
    dataset: DatasetInfo
    settings: dict[str, Any] = {}
    tags: dict[str, str] = {}
    trial_name: str = ""


class SweepFile(Description):
    """The content of ``sweep.json``: the sweep, and its identity."""

    file_name: ClassVar[str] = "sweep.json"
    noun: ClassVar[str] = "a sweep"

    sweep_id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    info: SweepInfo

    @property
    def identity(self) -> dict[str, str]:
        """See `Description`."""
        return {"sweep_id": self.sweep_id, "role": "sweep"}

    @property
    def where(self) -> tuple[str, str]:
        """See `Description`."""
        return self.info.experiment, self.info.run_name

    @property
    def content(self) -> tuple[DatasetInfo, dict[str, Any], dict[str, Any], Sequence[Number]]:
        """See `Description`."""
        info = self.info
        tags = {
            "method": info.method,
            "selection": info.selection,
            "objective": ", ".join(f"{name} ({direction})" for name, direction in info.objectives.items()),
            "seed": info.seed,
            "weights": info.weights,
            "dataset_digest": info.dataset.digest,
            **info.tags,
        }
        params = {"method": info.method, "selection": info.selection, "seed": info.seed, **info.settings}
        return info.dataset, params, tags, ()

    def files(self, folder: Path) -> list[Path]:
        """Figures and tables."""
        return [path for group in (FIGURES, TABLES) for path in sorted((folder / group).glob("[!.]*"))]

    def resumed_by(self, now: SweepFile) -> SweepFile:
        """See `Description`; the run keeps the name and the experiment under which it was started."""
        for name in ("method", "selection", "objectives", "seed", "weights", "dataset"):
            before, wanted = getattr(self.info, name), getattr(now.info, name)
            if name == "dataset" and before.digest != wanted.digest:
                raise TrackingError(
                    f"this folder holds a sweep of other images: {before.source} has changed since it began; restore its images, "
                    "or give another folder"
                )
            if before != wanted:
                raise TrackingError(
                    f"this folder holds a sweep with {name}={before}, not {wanted}; give another folder"
                )
        tags = {**now.info.tags, **changed_tags(self.info.settings, now.info.settings, self.info.tags)}
        kept = {"experiment": self.info.experiment, "run_name": self.info.run_name, "tags": tags}
        update = {"sweep_id": self.sweep_id, "champions": self.champions, "info": now.info.model_copy(update=kept)}
        return now.model_copy(update=update)


class ReportFile(Description):
    """The content of ``report.json``.

    Attributes:
        report_id: finds the run again, in any MLflow.
        experiment: that holds the run.
        run_name: the run's name.
        dataset: what was worked on.
        params: what was asked.
        points: (name, value, step) of every number.
        tags: what a reader must know.
    """

    file_name: ClassVar[str] = "report.json"
    noun: ClassVar[str] = "a training, a fit or an analysis"

    report_id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    experiment: str = Field(min_length=1, max_length=500)
    run_name: str = Field(min_length=1)
    dataset: DatasetInfo
    params: dict[str, Any] = {}
    points: list[Number] = []
    tags: dict[str, str] = {}
    status: Status = "finished"

    @field_validator("status", mode="before")
    @classmethod
    def _lower(cls, value: str) -> str:
        return value.lower()

    @field_serializer("status")
    def _upper(self, value: str) -> str:
        return value.upper()  # as this file has always had it

    @property
    def identity(self) -> dict[str, str]:
        """See `Description`."""
        return {"report_id": self.report_id}

    @property
    def where(self) -> tuple[str, str]:
        """See `Description`."""
        return self.experiment, self.run_name

    @property
    def content(self) -> tuple[DatasetInfo, dict[str, Any], dict[str, Any], Sequence[Number]]:
        """See `Description`."""
        return self.dataset, self.params, {"role": "analysis", **self.tags}, self.points

    def files(self, folder: Path) -> list[Path]:
        """All files but the lock and hidden ones."""
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        return [path for path in found if path.name != LOCK_NAME and not path.name.startswith(".")]

    def resumed_by(self, now: ReportFile) -> ReportFile:
        """See `Description`; the earlier numbers stay."""
        last = max((step for *_, step in self.points), default=0)
        tags = {**now.tags, **changed_tags(self.params, now.params, self.tags, f"after step {last}: ")}
        update = {"report_id": self.report_id, "points": self.points, "champions": self.champions, "tags": tags}
        return now.model_copy(update=update)

    def add(self, points: Sequence[Number]) -> None:
        """Add numbers; those of a step that is there already are replaced."""
        new = {(name, step) for name, _, step in points}
        self.points = [point for point in self.points if (point[0], point[2]) not in new] + list(points)


def changed_tags(
    was: Mapping[str, Any], now: Mapping[str, Any], tags: Mapping[str, str], when: str = ""
) -> dict[str, str]:
    """Tags ``changed.NAME`` with the story of every param that a resumed run was given anew: MLflow's params cannot change."""
    story = {name: text for name, text in tags.items() if name.startswith(_CHANGED)}
    for name in sorted(set(was) & set(now)):
        if was[name] != now[name]:
            tag = _CHANGED + name
            story[tag] = f"{story.get(tag, plain_text(was[name]))}; {when}{plain_text(now[name])}"
    return story


def plain_text(value: Any) -> str:
    """One value as a short readable text: ``4`` for 4.0, ``none``, ``true``, lists joined by commas."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, (str, int)):
        return str(value)
    if isinstance(value, (list, tuple)) and all(isinstance(item, (str, int, float, bool)) for item in value):
        return ", ".join(plain_text(item) for item in value)
    return json.dumps(value, default=str, sort_keys=True)


def read_description(folder: Path) -> Description:
    """The description of a run's folder, whatever kind of run it is.

    Raises:
        TrackingError: it has none, or one that cannot be read.
    """
    for kind in (SweepFile, ReportFile):
        if (found := kind.load(folder)) is not None:
            return found  # type: ignore[no-any-return]
    raise TrackingError(f"{folder} is not the folder of a run: it has neither sweep.json nor report.json")
