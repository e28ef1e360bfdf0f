"""The background thread that carries jobs to MLflow in order, and keeps them while MLflow does not answer."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from subband.errors import TrackingError
from subband.runs.description import Status

if TYPE_CHECKING:
    from subband.tracking.writer import MlflowWriter

logger = logging.getLogger(__name__)

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
PROGRESS_SECONDS = 2.0
REST = 9.0  # times what the last job took
LONGEST_REST = 2.0
REPEATS = 3  # a job that fails so often while MLflow answers others counts as refused


@dataclass
class Job:
    """Something to write.

    Attributes:
        what: its name, for messages.
        act: writes it; may be called again when it failed half-way.
        result: receives what ``act`` returns, or the refusal; None where nobody waits.
        failures: how often it found no answer.
    """

    what: str
    act: Callable[[MlflowWriter], Any]
    result: Future[Any] | None = None
    failures: int = 0


class Queue:
    """One thread, one queue, one writer.

    A job that finds no answer stays first in the queue; the next attempt comes after a pause that doubles from 1 s to
    30 s. A job that MLflow refuses is given up, so that it does not block the ones behind it.

    Args:
        open_writer: connects to MLflow; runs in the thread, again after a failure.
        where: the tracking URI, for messages.
        hint: what the user can do later about what was not written.
    """

    def __init__(self, open_writer: Callable[[], MlflowWriter], where: str, hint: str) -> None:
        self.writer: MlflowWriter | None = None
        self._open_writer = open_writer
        self._where = where
        self._hint = hint
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._status: Status = "finished"
        self._hurry = threading.Event()
        self._awaited = threading.Event()
        self._complete = False
        self._warned: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="subband-tracking", daemon=True)
        self._thread.start()

    @property
    def silent(self) -> bool:
        """Whether the last attempt found no answer."""
        return "silent" in self._warned

    def submit(self, job: Job) -> None:
        """Hand over a job; returns at once. From the first job that somebody waits for, the thread rests no more."""
        if job.result is not None:
            self._awaited.set()
        self._queue.put(job)

    def close(self, status: Status, timeout: float) -> bool:
        """Write what waits, end the run with ``status``, end the thread.

        Args:
            status: how the run ended.
            timeout: seconds for what waits; then the thread skips to the run's end, for which it has as many again.

        Returns:
            Whether everything was written.
        """
        self._status = status
        self._awaited.set()
        self._queue.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._hurry.set()
            self._thread.join(timeout)
            if self._thread.is_alive():
                self._warn("slow", "MLflow at %s is too slow to end the run; %s", self._where, self._hint)
        return self._complete and not self._thread.is_alive()

    def _run(self) -> None:
        waiting: deque[Job] = deque()
        pause, next_try, next_progress = FIRST_PAUSE, 0.0, 0.0
        closing = False
        while not closing:
            if waiting or self.writer is None:
                timeout: float | None = max(next_try - time.monotonic(), 0.0)
            elif self.writer.has_progress:
                timeout = max(next_progress - time.monotonic(), 0.0)
            else:
                timeout = None
            closing = self._receive(waiting, timeout)
            if closing or time.monotonic() >= next_try:
                answered = self._write(waiting, progress=closing or time.monotonic() >= next_progress)
                now = time.monotonic()
                if answered:
                    pause, next_progress = FIRST_PAUSE, max(next_progress, now + PROGRESS_SECONDS)
                else:
                    next_try = next_progress = now + pause
                    pause = min(2 * pause, LONGEST_PAUSE)
        self._end(waiting)

    def _receive(self, waiting: deque[Job], timeout: float | None) -> bool:
        """Take what the queue has, waiting for the first item; returns whether the end was asked for."""
        try:
            item = self._queue.get(timeout=timeout)
            while item is not None:
                waiting.append(item)
                item = self._queue.get_nowait()
        except queue.Empty:
            return False
        return True

    def _write(self, waiting: deque[Job], *, progress: bool) -> bool:
        """Do the waiting jobs in order; returns False when MLflow did not answer."""
        try:
            if self.writer is None:
                self.writer = self._open_writer()
            while waiting and not self._hurry.is_set():
                started = time.perf_counter()
                self._do(waiting[0], self.writer)
                waiting.popleft()
                # The job's own work wants the CPUs: while nobody waits for us we take a tenth of one.
                self._awaited.wait(min(REST * (time.perf_counter() - started), LONGEST_REST))
            if progress:
                self._do(Job("progress", lambda writer: writer.write_progress()), self.writer)
        except Exception as error:
            self._warn(
                "silent",
                "MLflow at %s does not answer (%s); the job continues, %s",
                self._where,
                _brief(error),
                self._hint,
            )
            return False
        if "silent" in self._warned:
            self._warned.discard("silent")
            logger.info("MLflow at %s answers again; everything is written", self._where)
        return True

    def _do(self, job: Job, writer: MlflowWriter) -> None:
        """Do one job; raises only where trying again later may help."""
        from subband.tracking.connection import is_unreachable

        try:
            result = job.act(writer)
        except Exception as error:
            job.failures += 1
            if is_unreachable(error) and (job.failures < REPEATS or not writer.answers()):
                raise
            self._warn("refused", "MLflow at %s refuses %s (%s); %s", self._where, job.what, _brief(error), self._hint)
            logger.debug("%s", job.what, exc_info=True)
            if job.result is not None:
                job.result.set_exception(error if isinstance(error, TrackingError) else TrackingError(_brief(error)))
        else:
            if job.result is not None and not job.result.done():
                job.result.set_result(result)

    def _end(self, waiting: deque[Job]) -> None:
        if self.writer is not None and (not waiting or self._hurry.is_set()):
            try:
                self.writer.finish(self._status)
                self._complete = not waiting and "refused" not in self._warned
            except Exception as error:
                logger.warning(
                    "MLflow at %s did not take the run's end (%s); %s", self._where, _brief(error), self._hint
                )
        if waiting:
            logger.warning("%d items are not in MLflow at %s; %s", len(waiting), self._where, self._hint)

    def _warn(self, kind: str, message: str, *values: Any) -> None:
        """Warn once of each kind: a server that is down must not fill the job's output."""
        if kind not in self._warned:
            self._warned.add(kind)
            logger.warning(message, *values)


def _brief(error: BaseException) -> str:
    """The first line of an error; MLflow's messages may carry a whole request."""
    text = str(error).strip().splitlines()
    return (text[0][:300] if text else "") or type(error).__name__
