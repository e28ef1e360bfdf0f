"""A sweep's progress as numbers: trials done, and the best value so far of each objective."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from subband.runs.description import SweepInfo
from subband.tracking.naming import legal_key
from subband.trials import TrialRecord, preference


@dataclass
class Progress:
    """Counts and best values over the trials seen so far.

    Attributes:
        info: gives the objectives and their directions.
        best: best value so far by objective, over complete trials (a trial stopped early saw fewer categories).
        keys: sort key by trial id, for complete trials that have the first objective's value.
        statuses: status by trial id; a trial that is run again counts once.
    """

    info: SweepInfo
    best: dict[str, float] = field(default_factory=dict)
    keys: dict[str, tuple[float, ...]] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """Number of trials seen, the step of the series."""
        return len(self.statuses)

    def add(self, record: TrialRecord) -> dict[str, float]:
        """Count one trial; returns the parent run's metrics at step ``done``."""
        self.statuses[record.trial_id] = record.status
        if record.status == "complete":
            for name, direction in self.info.objectives.items():
                value = record.choose.get(name, math.nan)
                if math.isfinite(value):
                    better = max if direction == "max" else min
                    self.best[name] = better(self.best.get(name, value), value)
            if math.isfinite(record.choose.get(self.first_objective, math.nan)):
                self.keys[record.trial_id] = preference(record, list(self.info.objectives))
        counts = Counter(self.statuses.values())
        metrics = {f"best/{name}": value for name, value in self.best.items()}
        metrics |= {"trials/done": self.done, "trials/stopped": counts["stopped"], "trials/failed": counts["failed"]}
        return {legal_key(name): float(value) for name, value in metrics.items()}

    @property
    def first_objective(self) -> str:
        """The objective that ranks the trials."""
        return next(iter(self.info.objectives))

    def ranked(self) -> list[str]:
        """Trial ids of complete trials, best first, as `preference` orders them."""
        return sorted(self.keys, key=self.keys.__getitem__)
