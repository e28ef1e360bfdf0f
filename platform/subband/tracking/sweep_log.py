"""The log of one running sweep: the sweep hands over what happened and never waits for MLflow.

Life cycle: ``SweepLog(...)`` before the first trial, ``log_trial`` after each one, figures and champions at the end,
``close`` (or the end of a ``with`` block). One background thread does everything that touches MLflow: importing it,
creating the database, writing. When MLflow does not answer, what waits is tried again with growing pauses. Whatever
still waits at the end lies in the sweep's folder, from where ``python -m subband.tracking push FOLDER`` writes it.
"""

from __future__ import annotations

import csv
import io
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from subband.errors import TrackingError
from subband.tracking.queue import Job, Worker
from subband.tracking.sweep_file import (
    FIGURES,
    REPORT,
    ChampionEntry,
    Status,
    SweepFile,
    SweepInfo,
    lock_sweep,
    write_atomically,
)
from subband.tracking.uri import TrackingTarget, comparison_url, experiment_url, ui_url
from subband.tracking.view import view_key
from subband.trials import TrialRecord, read_records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from subband.tracking.registry import Registered
    from subband.tracking.writer import SweepWriter

logger = logging.getLogger(__name__)

_IDENTITY = ("method", "selection", "objectives", "seed", "weights", "dataset")
_FIGURE_DPI = 150


class SweepLog:
    """Logs one sweep to MLflow while it runs, without slowing it.

    Args:
        folder: the sweep's folder, which holds its ledger; ``sweep.json``, figures and reports go there too.
        info: what the sweep is. On a folder that has a ``sweep.json`` the log continues that sweep's run.
        target: where to log, from :func:`~subband.tracking.uri.resolve_tracking`.

    Raises:
        TrackingError: another process logs this folder, or the folder holds another sweep.

    Example:
        >>> with SweepLog(folder, info, resolve_tracking(None, Path("runs"))) as log:  # doctest: +SKIP
        ...     log.log_trial(record)
    """

    def __init__(self, folder: Path, info: SweepInfo, target: TrackingTarget) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.target = target
        self._closed = False
        self._saving = threading.Lock()
        self._lock = lock_sweep(folder)
        try:
            self._file = _open_file(folder, info, target)
            earlier = read_records(folder)
        except BaseException:
            self._lock.release()
            raise
        hint = f"its results are kept; log them later with: python -m subband.tracking push {folder}"
        self._worker = Worker(self._open_writer, target.uri, hint)
        for record in earlier:
            self.log_trial(record)

    def log_trial(self, record: TrialRecord) -> None:
        """Log one trial that has ended (and is in the ledger); returns at once. No trial is logged twice."""

        def write(writer: SweepWriter) -> bool:
            return writer.write_trial(record)

        self._submit(f"trial {record.trial_id}", write)

    def log_figure(self, name: str, figure: Figure | Path) -> Path:
        """Keep a figure as ``figures/NAME.png`` in the sweep's folder and among the run's artifacts.

        Args:
            name: file name without suffix.
            figure: a matplotlib figure, or the path of a PNG file.

        Returns:
            The file in the sweep's folder.
        """
        if isinstance(figure, Path):
            content = figure.read_bytes()
        else:
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=_FIGURE_DPI, bbox_inches="tight")
            content = buffer.getvalue()
        return self._keep(FIGURES, f"{name}.png", content)

    def log_text(self, name: str, text: str) -> Path:
        """Keep a text as ``report/NAME`` (the name has its suffix, for instance ``summary.md``)."""
        return self._keep(REPORT, name, text.encode())

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
        """Keep a table as ``report/NAME.csv``, which MLflow's page shows as such; the first row names the columns."""
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return self._keep(REPORT, f"{name}.csv", buffer.getvalue().encode())

    def register_champion(
        self,
        model_dir: Path,
        name: str,
        tags: Mapping[str, str],
        *,
        loader: str = "subband.load",
        timeout: float = 120.0,
    ) -> Registered | None:
        """Register a saved detector as the ``champion`` of the model ``name``, with this sweep's run as its origin.

        Args:
            model_dir: the saved detector's folder; it must stay where it is until it is registered.
            name: the registered model's stable name.
            tags: tags of the new version; ``data``, the URI of the data, keeps apart what only shares a name.
            loader: dotted path of the function that opens the folder.
            timeout: seconds to wait for MLflow (what was handed over before is written first).

        Returns:
            Name and version, or None when MLflow does not answer: then ``push`` registers it later. The name has a digest behind if
            another dataset's champion bears the one asked for.

        Raises:
            TrackingError: the folder holds no detector, the name is illegal, or MLflow refuses the model.
        """
        from subband.tracking.registry import check_champion

        check_champion(model_dir, name, loader)
        entry = ChampionEntry(name=name, model_dir=str(model_dir.resolve()), tags=dict(tags), loader=loader)
        with self._saving:
            self._file.champions[name] = entry
            self._file.save(self.folder)

        def register(writer: SweepWriter) -> Registered:
            done = writer.write_champion(entry, self.target)
            self._save()
            return done

        registered: Future[Registered] = Future()
        self._submit(f"the champion {name}", register, registered)
        try:
            return registered.result(timeout)
        except FutureTimeoutError:
            logger.warning(
                "the champion %r is not registered: MLflow at %s does not answer; register it later with: "
                "python -m subband.tracking push %s",
                name,
                self.target.uri,
                self.folder,
            )
            return None

    def flush(self, timeout: float = 60.0) -> bool:
        """Wait until everything handed over so far is written; returns False when MLflow does not answer in time."""

        def write(writer: SweepWriter) -> None:
            writer.write_progress()

        done: Future[None] = Future()
        self._submit("the sweep's progress", write, done)
        try:
            done.result(timeout)
        except FutureTimeoutError:
            return False
        return True

    @property
    def run_id(self) -> str | None:
        """The parent run's id; None until MLflow has answered."""
        return self._worker.writer.run_id if self._worker.writer else None

    def sweep_url(self, base: str | None = None) -> str | None:
        """Address of the ranked table of this sweep's trials; None until MLflow has answered."""
        writer = self._worker.writer
        if writer is None:
            return None
        return experiment_url(base or ui_url(self.target), writer.experiment_id, view_key(self._file.sweep_id))

    def comparison_url(self, count: int = 8, base: str | None = None) -> str | None:
        """Address of MLflow's comparison of the best complete trials written so far; None before there are two.

        Args:
            count: how many trials, best first by the first objective.
            base: the page's address; by default the server, or the local page of ``mlflow ui``.
        """
        writer = self._worker.writer
        runs = writer.best_runs(count) if writer else []
        if writer is None or len(runs) < 2:
            return None
        return comparison_url(base or ui_url(self.target), runs, writer.experiment_id)

    def close(self, status: Status = "finished", timeout: float = 60.0) -> bool:
        """Write what is waiting, end the parent run, let go of the folder; a second call changes nothing.

        Args:
            status: how the sweep ended.
            timeout: seconds to wait for what is waiting; then only the run's end is written.

        Returns:
            Whether MLflow has everything; if not, a warning names the command that gives it the rest.
        """
        if self._closed:
            return True
        self._closed = True
        try:
            with self._saving:
                self._file.status = status
            self._save()
            return self._worker.close(status, timeout)
        finally:
            self._lock.release()

    def __enter__(self) -> SweepLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close("finished")
        else:
            self.close("failed" if issubclass(kind, Exception) else "killed", timeout=15.0)

    def _submit(self, what: str, act: Callable[[SweepWriter], Any], result: Future[Any] | None = None) -> None:
        if self._closed:
            raise TrackingError(f"the log of {self.folder} is closed; {what} comes too late")
        self._worker.submit(Job(what, act, result))

    def _keep(self, group: str, name: str, content: bytes) -> Path:
        if Path(name).name != name or name.startswith("."):
            raise TrackingError(f"{name!r} cannot name a file in {group}/; write a plain file name")
        path = self.folder / group / name
        write_atomically(path, content)

        def write(writer: SweepWriter) -> None:
            writer.write_file(path, group)

        self._submit(f"{group}/{name}", write)
        return path

    def _save(self) -> None:
        with self._saving:
            self._file.save(self.folder)

    def _open_writer(self) -> SweepWriter:
        """Runs in the background thread: MLflow alone takes seconds to import."""
        from subband.tracking.connection import connect
        from subband.tracking.writer import SweepWriter

        return SweepWriter(connect(self.target), self._file, self.target.artifact_root)


def _open_file(folder: Path, info: SweepInfo, target: TrackingTarget) -> SweepFile:
    """A new ``sweep.json``, or the folder's own, continued."""
    file = SweepFile.load(folder)
    if file is None:
        file = SweepFile(info=info, tracking_uri=target.uri, artifact_root=target.artifact_root)
    else:
        for name in _IDENTITY:
            before, now = getattr(file.info, name), getattr(info, name)
            if name == "dataset" and before.digest != now.digest:
                raise TrackingError(
                    f"{folder} holds a sweep of other images: {before.source} has changed since it began; restore its images, or "
                    "give another folder"
                )
            if before != now:
                raise TrackingError(f"{folder} holds a sweep with {name}={before}, not {now}; give another folder")
        # The run keeps the name and the experiment under which it was started.
        kept = {"experiment": file.info.experiment, "run_name": file.info.run_name}
        file.info = info.model_copy(update=kept)
        file.status, file.tracking_uri, file.artifact_root = "running", target.uri, target.artifact_root
    file.save(folder)
    return file
