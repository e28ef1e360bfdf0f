"""``sweep.json``: what a sweep's folder must know, beside its ledger, to be logged again anywhere and at any time."""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from subband.errors import TrackingError

SWEEP_FILE_NAME = "sweep.json"
LOCK_NAME = "tracking.lock"
FIGURES = "figures"
REPORT = "report"

Status = Literal["running", "finished", "failed", "killed"]


class DatasetInfo(BaseModel):
    """The dataset of a sweep, as MLflow shows it.

    Attributes:
        name: short name of the dataset.
        digest: its content fingerprint; MLflow shows the first 36 characters.
        source: the URI that opens it.
        categories: names of the categories that the sweep uses.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    digest: str
    source: str
    categories: tuple[str, ...]


class SweepInfo(BaseModel):
    """What one sweep is: everything that its parent run says before the first trial ends.

    Attributes:
        experiment: the MLflow experiment that holds the run.
        run_name: the parent run's name.
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


class ChampionEntry(BaseModel):
    """A champion to register: its detector folder, and by tracking URI the versions it already has and their models' names."""

    model_config = ConfigDict(extra="forbid")

    name: str
    model_dir: str
    tags: dict[str, str] = {}
    loader: str
    versions: dict[str, int] = {}
    names: dict[str, str] = {}


class SweepFile(BaseModel):
    """The content of ``sweep.json``.

    Attributes:
        sweep_id: finds this sweep's parent run again, in any MLflow.
        info: what the sweep is.
        status: ``running`` until the sweep says how it ended.
        tracking_uri: where the sweep logs; ``push`` goes there unless told otherwise.
        artifact_root: see :class:`~subband.tracking.uri.TrackingTarget`.
        champions: what was promoted, by registered name.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    sweep_id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    info: SweepInfo
    status: Status = "running"
    tracking_uri: str
    artifact_root: str | None = None
    champions: dict[str, ChampionEntry] = {}

    @classmethod
    def load(cls, folder: Path) -> SweepFile | None:
        """The folder's ``sweep.json``, or None where there is none.

        Raises:
            TrackingError: the file cannot be read as one.
        """
        path = folder / SWEEP_FILE_NAME
        if not path.is_file():
            return None
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, ValidationError) as error:
            raise TrackingError(
                f"{path} is not a sweep's description ({error}); delete it to start the log anew"
            ) from error

    def save(self, folder: Path) -> None:
        """Write the folder's ``sweep.json``: readers see the old file or the new one, never a part."""
        write_atomically(folder / SWEEP_FILE_NAME, self.model_dump_json(indent=1).encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is either the old one or the new one, even when the process dies half-way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def lock_sweep(folder: Path) -> FileLock:
    """Hold the right to log this folder's sweep; the operating system gives it back when the process ends.

    Raises:
        TrackingError: another process logs this sweep right now.
    """
    lock = FileLock(folder / LOCK_NAME, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise TrackingError(
            f"another process is logging the sweep in {folder}; wait until it ends, or give another folder"
        ) from None
    return lock
