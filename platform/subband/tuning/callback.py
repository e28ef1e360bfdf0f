"""What happens when a trial ends: the ledger gets its record, then tracking, then the person who watches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.stopper import Stopper

from subband.runs.shell import uninterrupted
from subband.trials import TrialRecord, append_record

FAIL_FAST_AFTER = 3
GRACE_SECONDS = 30.0

log = logging.getLogger(__name__)


class LedgerCallback(tune.Callback):
    """Turns every ended trial into a `TrialRecord`, keeps it in the ledger, and hands it on.

    Args:
        folder: the sweep's folder.
        first_number: number of the first record (not 0 when a sweep resumes).
        base: the params that do not vary.
        searched: names of the params that vary.
        on_record: called with each record after it is safe in the ledger.
        places: of each trial in the order of proposal of the whole sweep, for the trials in the order in which Tune makes them.

    Attributes:
        statuses: of every ended trial, in order.
    """

    def __init__(
        self,
        folder: Path,
        first_number: int,
        base: dict[str, Any],
        searched: tuple[str, ...],
        on_record: Callable[[TrialRecord], None],
        places: Sequence[int] = (),
    ) -> None:
        self._folder = folder
        self._number = first_number
        self._base = base
        self._searched = searched
        self._on_record = on_record
        self._places = places
        self._ended: set[str] = set()
        self._unwritten: list[TrialRecord] = []
        self.statuses: list[str] = []

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles callbacks for its own resume, which the ledger replaces; what watches cannot be pickled."""
        return {**self.__dict__, "_on_record": None}

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called by Tune when a trial has finished or was stopped early."""
        result = trial.last_result or {}
        if result.get("failure") is not None:
            self._end(trial, trials, status="failed", error=result["failure"])
        elif "record" in result:
            self._end(trial, trials, status="complete" if result["complete"] else "stopped", **_plain(result["record"]))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called by Tune when a trial raised something that nobody expected, or its worker died."""
        error = Path(trial.error_file).read_text().strip() if trial.error_file else "the worker died"
        self._end(trial, trials, status="failed", error=error[-2000:])

    def _end(self, trial: Trial, trials: list[Trial], **fields: Any) -> None:
        if trial.trial_id in self._ended:
            return  # Tune may announce the last trial of a sweep twice
        self._ended.add(trial.trial_id)
        place = trials.index(trial)  # Tune appends each trial as it is proposed
        params = fields.pop("params", None) or {**self._base, **trial.config.get("point", {})}
        record = TrialRecord(
            trial_id=f"{self._folder.name}-{self._number:05d}",
            number=self._number,
            proposed=self._places[place] if place < len(self._places) else None,
            params=params,
            searched=self._searched,
            **fields,
        )
        self._number += 1
        with uninterrupted():
            self._keep(record)

    def _keep(self, record: TrialRecord) -> None:
        self.statuses.append(record.status)
        self._unwritten.append(record)
        try:
            while self._unwritten:
                append_record(self._folder, self._unwritten[0])
                self._unwritten.pop(0)
        except OSError as error:
            log.warning(
                "the ledger in %s cannot be written (%s); its records are kept and tried again", self._folder, error
            )
        self._on_record(record)


class StopWhenHopeless(Stopper):
    """Ends the sweep when its first trials all failed: the next hundred would fail the same way.

    Args:
        ends: knows how every trial ended, whatever ended it.
    """

    def __init__(self, ends: LedgerCallback) -> None:
        self._ends = ends

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never stops one trial on its own."""
        return False

    def stop_all(self) -> bool:
        """Whether the sweep should end."""
        statuses = self._ends.statuses
        return len(statuses) >= FAIL_FAST_AFTER and all(status == "failed" for status in statuses)


class Deadline(Stopper):
    """Ends the sweep at a time: trials that run then finish their category and are kept as stopped.

    Args:
        until: seconds since the epoch.
        workers: trials that may be running when the time comes.
    """

    def __init__(self, until: float, workers: int) -> None:
        self._until = until
        self._workers = workers
        self._stopped = 0

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Stops a trial that reports after the deadline."""
        late = time.time() > self._until
        self._stopped += late
        return late

    def stop_all(self) -> bool:
        """Whether the budget is spent and what was running has reported; a worker that says nothing more is not waited for."""
        return self._stopped >= self._workers or time.time() > self._until + GRACE_SECONDS


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "notes": tuple(record["notes"])}
