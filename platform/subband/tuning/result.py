"""What a sweep leaves."""

from __future__ import annotations

from dataclasses import dataclass, field

from subband.champions.fitted import ChampionReport
from subband.errors import SubbandError
from subband.trials import TrialRecord
from subband.trials.ranking import complete_with
from subband.tuning.plan import SweepPlan


@dataclass
class SweepResult:
    """What a sweep leaves.

    Attributes:
        plan: what was decided.
        records: every trial.
        chosen: the winner, or None if no trial was complete.
        front: the non-dominated trials, if there are several objectives.
        champions: one report a category; empty when nothing was registered.
        versions: registry name and version by category.
        interrupted: whether the sweep was stopped before its end.
        problems: what went wrong after the trials, for the person.
        comparison_url: of the best trials in the MLflow page, once it is started.
    """

    plan: SweepPlan
    records: list[TrialRecord]
    chosen: TrialRecord | None = None
    front: list[TrialRecord] = field(default_factory=list)
    champions: list[ChampionReport] = field(default_factory=list)
    versions: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    interrupted: bool = False
    problems: list[str] = field(default_factory=list)
    comparison_url: str | None = None

    @property
    def ranked(self) -> list[TrialRecord]:
        """Complete trials, best first."""
        first, *others = self.plan.settings.objective
        return complete_with(self.records, first, then=others)

    @property
    def best(self) -> TrialRecord:
        """The winner.

        Raises:
            SubbandError: no trial was complete.
        """
        if self.chosen is None:
            raise SubbandError(f"no trial was complete: {'; '.join(self.problems) or 'see the records'}")
        return self.chosen
