"""The log of one running job: the job hands over what happened and never waits for MLflow.

Life cycle: `RunLog` (or `SweepLog`, whose trials are runs too) before the work, numbers, trials, files and champions as they come,
``close`` (or the end of a ``with`` block). What is handed over is written to the run's folder first. One background thread does
everything that touches MLflow: importing it, creating the database, writing. When MLflow does not answer, what waits is tried
again with growing pauses. Whatever still waits at the end lies in the folder, from where ``python -m subband.tracking push
FOLDER`` writes it.
"""

from __future__ import annotations

import csv
import io
import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from subband.errors import TrackingError
from subband.files import write_atomically
from subband.runs.description import (
    FIGURES,
    LOCK_NAME,
    TABLES,
    ChampionEntry,
    Description,
    Number,
    ReportFile,
    Status,
    SweepFile,
    SweepInfo,
)
from subband.tracking.queue import Job, Queue
from subband.tracking.uri import TrackingTarget, comparison_url, experiment_url, ui_url
from subband.tracking.view import view_key
from subband.trials import TrialRecord, read_records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from subband.tracking.registry import Registered
    from subband.tracking.writer import MlflowWriter

logger = logging.getLogger(__name__)

_FIGURE_DPI = 150
_PATIENCE = 60.0
_PATIENCE_WITH_SILENCE = 5.0


def lock_run(folder: Path) -> FileLock:
    """Hold the right to log this folder's run; the operating system gives it back when the process ends.

    Raises:
        TrackingError: another process logs it right now.
    """
    lock = FileLock(folder / LOCK_NAME, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise TrackingError(
            f"another process is logging the run in {folder}; wait until it ends, or give another folder"
        ) from None
    return lock


def let_go(lock: FileLock) -> None:
    """Give a `lock_run` back, and leave no file of it behind."""
    Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


class RunLog:
    """Logs one run to MLflow while it works, without slowing it.

    Args:
        folder: of the run's files; made if it is missing.
        description: what is known from the start. A folder that has a description already continues that run.
        target: where to log, from `resolve_tracking`.

    Attributes:
        folder: of the run's files.
        status: how the run will be marked; a block left by an exception marks it killed or failed.
        problem: what could not be logged, in words; None while all was.

    Raises:
        TrackingError: another process logs this folder, or the folder holds another run.
    """

    def __init__(self, folder: Path, description: Description, target: TrackingTarget) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.target = folder, target
        self.status: Status = "finished"
        self.problem: str | None = None
        self._closed = False
        self._saving = threading.Lock()
        self._lock = lock_run(folder)
        try:
            earlier = description.load(folder)
            self.description: Any = description if earlier is None else earlier.resumed_by(description)
            self.description.status = "running"
            self.description.tracking_uri, self.description.artifact_root = target.uri, target.artifact_root
            self._save()
        except BaseException:
            let_go(self._lock)
            raise
        self._hint = f"its results are kept; log them later with: python -m subband.tracking push {folder}"
        self._queue = Queue(self._open_writer, target.uri, self._hint)

    def log_numbers(self, numbers: Sequence[Number]) -> None:
        """Keep (name, value, step) numbers; those of a step that was logged before are replaced. Only finite ones are kept."""
        numbers = [number for number in numbers if math.isfinite(number[1])]
        with self._saving:
            self.description.add(numbers)
            self.description.save(self.folder)
        self._submit("numbers", lambda writer: writer.write_numbers(numbers))

    def log_figure(self, name: str, figure: Figure | Path) -> Path:
        """Keep a figure as ``figures/NAME.png`` in the folder and among the run's artifacts.

        Args:
            name: file name without suffix.
            figure: a matplotlib figure, or the path of a PNG file.

        Returns:
            The file in the folder.
        """
        if isinstance(figure, Path):
            return self._keep(FIGURES, f"{name}.png", figure.read_bytes())
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_FIGURE_DPI, bbox_inches="tight")
        return self._keep(FIGURES, f"{name}.png", buffer.getvalue())

    def log_text(self, name: str, text: str) -> Path:
        """Keep a text as ``report/NAME`` (the name has its suffix, for instance ``summary.md``)."""
        return self._keep(TABLES, name, text.encode())

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
        """Keep a table as ``report/NAME.csv``, which MLflow's page shows as such; the first row names the columns."""
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return self._keep(TABLES, f"{name}.csv", buffer.getvalue().encode())

    def register_champion(
        self,
        model_dir: Path,
        name: str,
        tags: Mapping[str, str],
        *,
        loader: str = "subband.load",
        timeout: float | None = None,
    ) -> Registered | None:
        """Register a saved model as the ``champion`` of the registered model ``name``, with this run as its origin.

        Args:
            model_dir: the saved model's folder; it must stay where it is until it is registered.
            name: the registered model's stable name.
            tags: tags of the new version; ``data``, the URI of the data, keeps apart what only shares a name.
            loader: dotted path of the function that opens the folder.
            timeout: seconds to wait for MLflow (what was handed over before is written first); by default two minutes, and less
                where it did not answer so far.

        Returns:
            Name and version, or None when MLflow does not answer: then ``push`` registers it later. The name has a digest behind if
            another dataset's champion bears the one asked for.

        Raises:
            TrackingError: the folder holds no model, the name is illegal, or MLflow refuses the model.
        """
        from subband.tracking.registry import check_champion

        check_champion(model_dir, name, loader)
        entry = ChampionEntry(name=name, model_dir=str(model_dir.resolve()), tags=dict(tags), loader=loader)
        with self._saving:
            self.description.champions[name] = entry
            self.description.save(self.folder)

        def register(writer: MlflowWriter) -> Registered:
            done = writer.write_champion(entry, self.target)
            self._save()
            return done

        registered: Future[Registered] = Future()
        self._submit(f"the champion {name}", register, registered)
        try:
            return registered.result(2 * self._patience() if timeout is None else timeout)
        except FutureTimeoutError:
            logger.warning(
                "the champion %r is not registered: MLflow at %s does not answer; %s", name, self.target.uri, self._hint
            )
            return None

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything handed over so far is written; returns False when MLflow does not answer in time."""
        done: Future[None] = Future()
        self._submit("progress", lambda writer: writer.write_progress(), done)
        try:
            done.result(self._patience() if timeout is None else timeout)
        except FutureTimeoutError:
            return False
        return True

    @property
    def run_id(self) -> str | None:
        """The run's id; None until MLflow has answered."""
        return self._queue.writer.run_id if self._queue.writer else None

    def close(self, status: Status | None = None, timeout: float | None = None) -> bool:
        """Write what is waiting and the folder's files, end the run, let go of the folder; a second call changes nothing.

        Args:
            status: how the run ended; by default the attribute.
            timeout: seconds to wait for what is waiting; then only the run's end is written.

        Returns:
            Whether MLflow has everything; if not, a warning names the command that gives it the rest.
        """
        if self._closed:
            return self.problem is None
        try:
            with self._saving:
                self.description.status = status or self.status
                self.description.save(self.folder)
            self._submit("the run's files", lambda writer: writer.write_files(self.folder, only_missing=True))
            self._closed = True
            complete = self._queue.close(self.description.status, self._patience() if timeout is None else timeout)
            self.problem = None if complete else f"not everything is in MLflow yet; {self._hint}"
            return complete
        finally:
            self._closed = True
            let_go(self._lock)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.close("failed" if issubclass(kind, Exception) else "killed", timeout=15.0)

    def _patience(self) -> float:
        """A server that never answered is not waited for again and again: `push` gives it the rest later."""
        return _PATIENCE_WITH_SILENCE if self._queue.silent and self.run_id is None else _PATIENCE

    def _submit(self, what: str, act: Callable[[Any], Any], result: Future[Any] | None = None) -> None:
        if self._closed:
            raise TrackingError(f"the log of {self.folder} is closed; {what} comes too late")
        self._queue.submit(Job(what, act, result))

    def _keep(self, group: str, name: str, content: bytes) -> Path:
        if Path(name).name != name or name.startswith("."):
            raise TrackingError(f"{name!r} cannot name a file in {group}/; write a plain file name")
        path = self.folder / group / name
        write_atomically(path, content)
        self._submit(f"{group}/{name}", lambda writer: writer.write_file(path, group))
        return path

    def _save(self) -> None:
        with self._saving:
            self.description.save(self.folder)

    def _open_writer(self) -> MlflowWriter:
        """Runs in the background thread: MLflow alone takes seconds to import."""
        from subband.tracking.connection import connect
        from subband.tracking.writer import writer_of

        return writer_of(connect(self.target), self.description, self.target.artifact_root)


class LiveReport(RunLog):
    """The log of a training, which is one run without children."""

    description: ReportFile


class SweepLog(RunLog):
    """The log of a sweep: one run, and a run for each trial below it.

    Args:
        folder: the sweep's folder, which holds its ledger; trials that are in it already are logged as far as they are missing.
        info: what the sweep is.
        target: where to log.
    """

    description: SweepFile

    def __init__(self, folder: Path, info: SweepInfo, target: TrackingTarget) -> None:
        file = SweepFile(info=info, tracking_uri=target.uri, artifact_root=target.artifact_root)
        super().__init__(folder, file, target)
        for record in read_records(folder):
            self.log_trial(record)

    def log_trial(self, record: TrialRecord) -> None:
        """Log one trial that has ended (and is in the ledger); returns at once. No trial is logged twice."""
        self._submit(f"trial {record.trial_id}", lambda writer: writer.write_trial(record))

    def sweep_url(self, base: str | None = None) -> str | None:
        """Address of the ranked table of this sweep's trials; None until MLflow has answered."""
        writer: Any = self._queue.writer
        if writer is None:
            return None
        return experiment_url(base or ui_url(self.target), writer.experiment_id, view_key(self.description.sweep_id))

    def comparison_url(self, count: int = 8, base: str | None = None) -> str | None:
        """Address of MLflow's comparison of the best complete trials written so far; None before there are two.

        Args:
            count: how many trials, best first by the first objective.
            base: the page's address; by default the server, or the local page of ``mlflow ui``.
        """
        writer: Any = self._queue.writer
        runs = writer.best_runs(count) if writer else []
        return comparison_url(base or ui_url(self.target), runs, writer.experiment_id) if len(runs) > 1 else None
