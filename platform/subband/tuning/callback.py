"""What happens when a trial ends: the ledger gets its record, then tracking, then the person who watches."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.stopper import Stopper

from subband.trials import TrialRecord, append_record

FAIL_FAST_AFTER = 3


class TrialEnds(tune.Callback):
    """Turns every ended trial into a `TrialRecord`, keeps it in the ledger, and hands it on.

    Args:
        folder: the sweep's folder.
        first_number: number of the first record (not 0 when a sweep resumes).
        base: the params that do not vary.
        searched: names of the params that vary.
        categories: how many categories a complete trial has.
        hand_on: called with each record after it is safe in the ledger.
    """

    def __init__(
        self,
        folder: Path,
        first_number: int,
        base: dict[str, Any],
        searched: tuple[str, ...],
        categories: int,
        hand_on: Callable[[TrialRecord], None],
    ) -> None:
        self._folder = folder
        self._number = first_number
        self._base = base
        self._searched = searched
        self._categories = categories
        self._hand_on = hand_on
        self._ended: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles callbacks for its own resume, which the ledger replaces; what watches cannot be pickled."""
        return {**self.__dict__, "_hand_on": None}

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called by Tune when a trial has finished or was stopped early."""
        result = trial.last_result or {}
        if result.get("failure") is not None:
            self._end(trial, status="failed", error=result["failure"])
        elif "record" in result:
            done = len(result["record"]["categories"]) == self._categories
            self._end(trial, status="complete" if done else "stopped", **_plain(result["record"]))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called by Tune when a trial raised something that nobody expected, or its worker died."""
        error = Path(trial.error_file).read_text().strip() if trial.error_file else "the worker died"
        self._end(trial, status="failed", error=error[-2000:])

    def _end(self, trial: Trial, **fields: Any) -> None:
        if trial.trial_id in self._ended:
            return  # Tune may announce the last trial of a sweep twice
        self._ended.add(trial.trial_id)
        params = fields.pop("params", None) or {**self._base, **trial.config.get("point", {})}
        record = TrialRecord(
            trial_id=f"{self._folder.name}-{self._number:05d}",
            number=self._number,
            params=params,
            searched=self._searched,
            **fields,
        )
        self._number += 1
        append_record(self._folder, record)
        self._hand_on(record)


class StopWhenHopeless(Stopper):
    """Ends the sweep when its first trials all failed: the next hundred would fail the same way."""

    def __init__(self) -> None:
        self._failures: set[str] = set()
        self._success = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never stops one trial on its own."""
        if result.get("failure") is not None:
            self._failures.add(trial_id)
        elif result[
            "done"
        ]:  # some good categories do not make a trial: a damaged picture in the last one fails them all
            self._success = True
        return False

    def stop_all(self) -> bool:
        """Whether the sweep should end."""
        return not self._success and len(self._failures) >= FAIL_FAST_AFTER


class Deadline(Stopper):
    """Ends the sweep at a time; running trials finish their category.

    Args:
        until: seconds since the epoch.
    """

    def __init__(self, until: float) -> None:
        self._until = until

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never stops one trial on its own."""
        return False

    def stop_all(self) -> bool:
        """Whether the budget is spent."""
        return time.time() > self._until


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "notes": tuple(record["notes"])}
