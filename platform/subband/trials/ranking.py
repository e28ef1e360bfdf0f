"""Ranking of trials, the one place of it: values, order, the Pareto front, the regret.

Which way is better is asked of `subband.metrics`. ``source`` says which of a record's two dicts is read:
``choose``, which selection may look at, or ``report``, measured on samples that selection did not see.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from subband.errors import ParamsError, unknown_name
from subband.metrics import OBJECTIVES, merit
from subband.trials.ledger import TrialRecord, preference

Source = Literal["choose", "report"]


def value_of(record: TrialRecord, objective: str, source: Source = "choose") -> float | None:
    """The record's mean of that metric; None where it is missing or not a number."""
    value = getattr(record, source).get(objective)
    return None if value is None or math.isnan(value) else float(value)


def known_objectives(records: Sequence[TrialRecord]) -> list[str]:
    """Names of every metric that occurs in the records, in order of appearance."""
    return list(
        dict.fromkeys(name for record in records for metrics in (record.choose, record.report) for name in metrics)
    )


def check_objective(records: Sequence[TrialRecord], objective: str) -> None:
    """Raise ParamsError if the records hold metrics, but none of that name."""
    known = known_objectives(records)
    # An objective of the platform that no trial has is undefined on these data; any other name is a mistake.
    if known and objective not in known and objective not in OBJECTIVES:
        raise ParamsError(unknown_name("metric of these trials", objective, known))


def merit_of(record: TrialRecord, objective: str, source: Source = "choose") -> float | None:
    """`value_of`, so turned that larger is better."""
    value = value_of(record, objective, source)
    return None if value is None else merit(objective, value)


def complete_with(
    records: Sequence[TrialRecord], objective: str, source: Source = "choose", then: Sequence[str] = ()
) -> list[TrialRecord]:
    """Complete trials that have the metric, in order of `preference`; ``then``: further objectives, which decide ties first.

    A stopped trial's mean covers fewer categories than a complete one's, so the two are never compared.
    """
    check_objective(records, objective)
    found = [r for r in records if r.status == "complete" and value_of(r, objective, source) is not None]
    return sorted(found, key=lambda record: preference(record, (objective, *then), source))


def searched_names(records: Sequence[TrialRecord]) -> list[str]:
    """Names of the params that the space varies, in its order; the union where a space is conditional."""
    return list(dict.fromkeys(name for record in records for name in record.searched))


def regret(records: Sequence[TrialRecord], objective: str, chosen: TrialRecord | None = None) -> float | None:
    """What honest selection costs: by how much the best report value among complete trials is better than the chosen trial's.

    Args:
        records: the sweep's trials.
        objective: name of the metric.
        chosen: the trial that selection chose; by default the complete one with the best ``choose`` value.

    Returns:
        The regret, >= 0 and in the metric's unit; None where there is no complete trial or no labelled test sample.
        Under ``selection="test"`` it is 0 by construction, which is no merit.

    Raises:
        ParamsError: the records hold no metric of that name.
    """
    ranked = complete_with(records, objective)
    chosen = chosen or (ranked[0] if ranked else None)
    reported = complete_with(records, objective, "report")
    if chosen is None or not reported:
        return None
    best, reached = merit_of(reported[0], objective, "report"), merit_of(chosen, objective, "report")
    return None if best is None or reached is None else max(best - reached, 0.0)


def non_dominated(
    records: Sequence[TrialRecord], objectives: Sequence[str], source: Source = "choose"
) -> list[TrialRecord]:
    """The Pareto front: complete trials that no other complete trial equals or beats everywhere and beats somewhere.

    Trials with equal values are all kept. Sorted by the first objective, best first; ties by the others.
    """
    points: list[tuple[TrialRecord, tuple[float, ...]]] = []
    for record in complete_with(records, objectives[0], source, objectives[1:]):
        values = [merit_of(record, objective, source) for objective in objectives]
        if None not in values:
            points.append((record, tuple(v for v in values if v is not None)))

    def dominated(point: tuple[float, ...]) -> bool:
        return any(other != point and all(o >= p for o, p in zip(other, point, strict=True)) for _, other in points)

    return [record for record, point in points if not dominated(point)]
