"""Ranking of trials, the one place of it: values, order, names, the Pareto front, the regret.

Which way is better is asked of `subband.metrics`. ``source`` says which of a record's two dicts is read:
``choose``, which selection may look at, or ``report``, measured on samples that selection did not see.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from subband.errors import ParamsError, unknown_name
from subband.metrics import COSTS, OBJECTIVES, merit
from subband.trials.ledger import TrialRecord, preference

Source = Literal["choose", "report"]

# Fields so common in this field that their initial is understood; all others are written out.
_ABBREVIATIONS = {"sigma": "s", "cov_reg": "r", "coreset_ratio": "c"}
# A level says little without its wavelet: db4-2.
_JOINED_TO = {"level": "wavelet"}
# Words that do not tell which field they belong to.
_MUTE_WORDS = frozenset({"none", "auto", "default", "on", "off", "yes", "no", "all", "mean", "max", "sum"})


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


def format_value(value: Any, digits: int = 6) -> str:
    """A param's value as a person would write it: 0.01, on, LL+LH, none; floats to so many significant digits."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    if isinstance(value, (list, tuple)):
        return "+".join(format_value(part, digits) for part in value)
    return str(value)


def format_metric(objective: str, value: float) -> str:
    """A metric with four decimals; a cost with four significant digits, because its size is not known beforehand."""
    return f"{value:.4g}" if objective in COSTS else f"{value:.4f}"


def short_name(params: Mapping[str, Any], searched: Sequence[str]) -> str:
    """A readable name for one trial, made of the searched params alone: ``haar-1 LL+LH+HL s4 r0.01``.

    Words stand for themselves, numbers carry their field's name (or its usual initial), switches read ``name`` or
    ``no-name``. Params that a conditional space left out are left out here. Floats are cut to three significant digits:
    the names of a continuous search are readable, not always unique.

    Args:
        params: the trial's params.
        searched: names of the params that the space varies, in the wanted order.
    """
    shown = [name for name in searched if params.get(name) is not None]
    values = {name: format_value(params[name], digits=3) for name in shown}
    parts: dict[str, str] = {}
    for name in shown:
        text = values[name]
        host = _JOINED_TO.get(name)
        ambiguous = text.lower() in _MUTE_WORDS or list(values.values()).count(text) > 1
        if host in shown:
            continue
        if isinstance(params[name], bool):
            parts[name] = name if params[name] else f"no-{name}"
        elif isinstance(params[name], (str, list, tuple)) and not ambiguous:
            parts[name] = text
        elif name in _ABBREVIATIONS:
            parts[name] = f"{_ABBREVIATIONS[name]}{text}"
        else:
            parts[name] = f"{name}={text}"
        parts[name] += "".join(f"-{values[guest]}" for guest in shown if _JOINED_TO.get(guest) == name)
    return " ".join(parts.values()) or "nothing searched"
