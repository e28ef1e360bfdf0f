"""A run of MLflow that grows while its training does; whatever fails on the way is made good from the folder at the end."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from subband.errors import TrackingError
from subband.tracking.connection import answering, connect
from subband.tracking.naming import flat_params, legal_key
from subband.tracking.report_run import REPORT_FILE_NAME, ReportFile, finish_run, log_report, start_run
from subband.tracking.sweep_file import write_atomically
from subband.tracking.uri import TrackingTarget

_CHANGED = "changed."


class LiveReport:
    """One run, for the time of a ``with`` block.

    Life cycle: the run is started when the block is entered; `points` adds numbers to it at once; when the block is left, all of
    it is in the folder's ``report.json``, and its other files are logged. A server that does not answer costs one attempt: the run
    is then logged whole at the end, and if that fails too, `problem` says so and `log_report` may be called later. What is resumed
    is the same run: it has the earlier points, and tags ``changed.NAME`` say which params it was given anew.

    Args:
        folder: of the report's files; made if it is missing.
        report: what is known from the start.
        target: where it is logged.

    Attributes:
        run_id: of the run, once it is known.
        status: how the run will be marked; a block left by an exception marks it KILLED or FAILED.
        problem: what could not be logged, in words; None if all was.
    """

    def __init__(self, folder: Path, report: ReportFile, target: TrackingTarget) -> None:
        self.folder = folder
        self.run_id: str | None = None
        self.status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED"
        self.problem: str | None = None
        self._report = report
        self._target = target
        self._client: Any = None

    def __enter__(self) -> LiveReport:
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self.folder / REPORT_FILE_NAME
        if before.exists():
            # A training that goes on is the same run: MLflow's folder of it is written anew, with the earlier points.
            self._go_on(before)
        self._save("RUNNING")
        try:
            with answering(self._target):
                self._client = connect(self._target)
                self.run_id = start_run(self._client, self._report, self._target)
        except TrackingError as error:
            self._silenced(error)
        return self

    def points(self, points: Sequence[tuple[str, float, int]]) -> None:
        """Add (name, value, step) numbers; a step that was logged before is replaced in the file. Only finite ones are kept."""
        points = [point for point in points if math.isfinite(point[1])]
        known = {(name, step) for name, _, step in points}
        kept = [point for point in self._report.points if (point[0], point[2]) not in known]
        self._report = self._report.model_copy(update={"points": [*kept, *points]})
        self._save("RUNNING")
        if self._client is None or self.run_id is None:
            return
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        try:
            with answering(self._target):
                self._client.log_batch(
                    self.run_id, metrics=[Metric(legal_key(name), value, now, step) for name, value, step in points]
                )
        except TrackingError as error:
            self._silenced(error)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.status = "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
        self._save(self.status)
        try:
            if self._client is not None and self.run_id is not None:
                with answering(self._target):
                    finish_run(self._client, self.run_id, self.folder, self.status)
            else:
                self.run_id = log_report(self.folder).run_id
                self.problem = None
        except TrackingError as error:
            self._silenced(error)

    def _go_on(self, file: Path) -> None:
        """Take over what an earlier process has written.

        Raises:
            TrackingError: the file is damaged.
        """
        try:
            earlier = ReportFile.model_validate_json(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrackingError(f"{file} cannot be read ({error}); move it away to start the log anew") from error
        tags = {name: text for name, text in earlier.tags.items() if name.startswith(_CHANGED)}
        was, now = flat_params(earlier.params), flat_params(self._report.params)
        last = max((step for *_, step in earlier.points), default=0)
        for name in sorted(set(was) & set(now)):
            if was[name] != now[name]:
                tag = _CHANGED + name
                tags[tag] = f"{tags.get(tag, was[name])}; after step {last}: {now[name]}"
        update = {"report_id": earlier.report_id, "points": earlier.points, "tags": {**self._report.tags, **tags}}
        self._report = self._report.model_copy(update=update)

    def _save(self, status: Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]) -> None:
        self._report = self._report.model_copy(update={"status": status})
        write_atomically(self.folder / REPORT_FILE_NAME, self._report.model_dump_json(indent=1).encode())

    def _silenced(self, error: TrackingError) -> None:
        self._client = None
        self.problem = (
            f"not everything is in MLflow yet ({error}); later: python -m subband.tracking push {self.folder}"
        )
