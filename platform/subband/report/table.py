"""The ranked table that ends a sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

from subband.errors import ParamsError
from subband.metrics import COSTS, TIE_BREAKERS
from subband.report.names import format_metric, format_value, short_name
from subband.trials import TrialRecord
from subband.trials.ranking import (
    check_objective,
    complete_with,
    known_objectives,
    merit_of,
    regret,
    searched_names,
    value_of,
)

Selection = Literal["test", "holdout", "synthetic"]

ABSENT = "-"
OPTIMISTIC = "optimistic: chosen and reported on the same test labels"
_USUAL = ("image_auroc", "pixel_auroc", "au_pro_0.3")
_STATUS_STYLE = {"complete": "green", "stopped": "yellow", "failed": "red"}


def ranking_table(
    records: Sequence[TrialRecord],
    objectives: Sequence[str],
    selection: Selection,
    top: int = 10,
    metrics: Sequence[str] | None = None,
    chosen: TrialRecord | None = None,
    compact: bool = False,
) -> Table:
    """Trials in the order in which selection prefers them.

    Complete trials come first, ranked by the first objective as selection saw it (``choose``); then stopped ones by the
    same mean, unranked because it covers fewer categories; then failed ones. The caption says what each column may
    claim: the selection, the regret of the chosen trial, and how many trials are not shown.

    Args:
        records: the sweep's trials.
        objectives: metrics and costs that selection looked at, the ranking one first.
        selection: how the winner is chosen.
        top: so many rows at most.
        metrics: report metrics to show; by default the objectives, image and pixel AUROC and AU-PRO where they occur.
        chosen: the champion, if another than the first of the ranking (for instance from a Pareto front); marked ``*``.
        compact: one column with the trial's short name instead of one for each searched param: for terminals of fewer
            than about 110 columns.

    Raises:
        ParamsError: no objective, ``top`` below 1, or no metric of that name in the records.
    """
    if not objectives or top < 1:
        raise ParamsError(f"a ranking needs at least one objective and one row, not {list(objectives)} and top={top}")
    for name in [*objectives, *(metrics or ())]:
        check_objective(records, name)
    known = known_objectives(records)
    shown = list(metrics) if metrics is not None else [n for n in dict.fromkeys([*objectives, *_USUAL]) if n in known]
    ranked = complete_with(records, objectives[0], then=objectives[1:])
    chosen = chosen or (ranked[0] if ranked else None)
    names = searched_names(records)
    same_labels = selection == "test"

    table = Table(
        # Text, because square brackets in an error message or a path are not rich's markup.
        title=Text(f"Trials ranked by {objectives[0]} (selection: {selection})"),
        caption=Text("\n".join(_remarks(records, objectives, selection, top, chosen))),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("rank", justify="right")
    if compact:
        table.add_column("searched params", overflow="fold")
    for name in names if not compact else ():
        numeric = all(isinstance(r.params.get(name), (int, float, type(None))) for r in records)
        table.add_column(_stacked(name), justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    # A cost is the same whatever the labels: one column, under its own name.
    chosen_by = [name for name in objectives if not same_labels and name not in COSTS]
    for name in chosen_by:
        table.add_column(_stacked(f"choose_{name}"), justify="right", no_wrap=True)
    for name in shown:
        role = "" if name in COSTS else "test_" if same_labels else "report_"
        table.add_column(_stacked(f"{role}{name}"), justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)

    places = {record.trial_id: str(place) for place, record in enumerate(ranked, start=1)}
    for record in _in_order(records, ranked, objectives[0])[:top]:
        is_chosen = chosen is not None and record.trial_id == chosen.trial_id
        table.add_row(
            places.get(record.trial_id, "") + ("*" if is_chosen else ""),
            *(Text(cell) for cell in ([short_name(record.params, names)] if compact else _cells(record, names))),
            *(_number(name, value_of(record, name)) for name in chosen_by),
            *(_number(name, value_of(record, name, "choose" if name in COSTS else "report")) for name in shown),
            Text(record.status, style=_STATUS_STYLE[record.status]),
            _seconds(record.timings.get("trial")),
            style="bold" if is_chosen else None,
        )
    return table


def _in_order(records: Sequence[TrialRecord], ranked: list[TrialRecord], objective: str) -> list[TrialRecord]:
    placed = {record.trial_id for record in ranked}
    groups = {"complete": 0, "stopped": 1, "failed": 2}

    def key(record: TrialRecord) -> tuple[int, float, int]:
        value = merit_of(record, objective)
        return groups[record.status], -value if value is not None else math.inf, record.number

    return ranked + sorted((record for record in records if record.trial_id not in placed), key=key)


def _remarks(
    records: Sequence[TrialRecord],
    objectives: Sequence[str],
    selection: Selection,
    top: int,
    chosen: TrialRecord | None,
) -> list[str]:
    counts = [(status, sum(r.status == status for r in records)) for status in _STATUS_STYLE]
    tally = ", ".join(f"{count} {status}" for status, count in counts if count) or "no trials"
    remarks = [f"{tally}; {min(top, len(records))} shown"]
    remarks += _tie(records, objectives)
    if chosen is not None:
        remarks.append(f"* chosen: {short_name(chosen.params, searched_names(records))}")
    if selection == "test":
        remarks.append(f"{OPTIMISTIC}, so that a regret of 0 is no merit")
    metrics = [name for name in objectives if name not in COSTS]  # a cost is known before labels: nothing to regret
    if chosen is not None and metrics:
        lost = [(name, regret(records, name, chosen)) for name in metrics]
        stated = [f"{name} {value:.4f}" for name, value in lost if value is not None]
        remarks.append(
            f"regret (best report value minus the chosen trial's): {', '.join(stated)}"
            if stated
            else "regret unknown: no labelled test samples to report on"
        )
    failures = [record for record in records if record.status == "failed" and record.error]
    if failures:
        first_line = (failures[0].error or "").splitlines()[0]
        remarks.append(f"first failure: {first_line[:100]}")
    return remarks


def _tie(records: Sequence[TrialRecord], objectives: Sequence[str]) -> list[str]:
    """One line where several trials share the best value: what puts them in order."""
    ranked = complete_with(records, objectives[0], then=objectives[1:])
    tied = [record for record in ranked if value_of(record, objectives[0]) == value_of(ranked[0], objectives[0])]
    if len(tied) < 2:
        return []
    known = {name for record in tied for name in record.choose}
    names = dict.fromkeys([*objectives[1:], *chain.from_iterable(TIE_BREAKERS.values())])
    order = ", ".join(name for name in names if name in known and name != objectives[0])
    best = format_metric(objectives[0], value_of(ranked[0], objectives[0]) or 0.0)
    return [
        f"{len(tied)} trials tie at {objectives[0]} {best}, ranked by {f'{order}, then ' if order else ''}order of proposal"
    ]


def _stacked(name: str) -> str:
    # A metric's name is wider than its values: one word a line leaves the width to the params.
    return name.replace("_", "\n")


def _cells(record: TrialRecord, names: Sequence[str]) -> list[str]:
    values = [record.params.get(name) for name in names]
    return [ABSENT if value is None else format_value(value, digits=3) for value in values]


def _number(name: str, value: float | None) -> str:
    return ABSENT if value is None else format_metric(name, value)


def _seconds(value: float | None) -> str:
    if value is None:
        return ABSENT
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"
