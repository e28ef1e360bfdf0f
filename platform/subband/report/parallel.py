"""Parallel coordinates: every complete trial as one line through its searched params to its objective."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from subband.metrics import direction_of, in_words
from subband.report import style
from subband.report.names import format_metric, format_value, short_name
from subband.trials import TrialRecord
from subband.trials.ranking import Source, complete_with, searched_names, value_of

UNUSED = "not used"
LOG_RATIO = 50.0  # numbers whose ratio reaches this are spread by their logarithms
_MOST_TICKS = 8
_CLOSEST_TICKS = 0.05  # share of the axis
_SPREAD = 0.05  # share of the axis over which lines through one value are fanned out


@dataclass(frozen=True)
class _Axis:
    """One vertical axis: where a value stands in [0, 1], and its labelled ticks."""

    name: str
    place: Callable[[Any], float]
    ticks: list[tuple[float, str]]
    fanned: bool


def parallel_coordinates(records: Sequence[TrialRecord], objective: str, source: Source = "choose") -> Figure:
    """Draw complete trials; colour and the last axis are the objective (better is higher), the best trial is drawn in black.

    Words stand on evenly spaced places, numbers on a linear or, where they span a ratio of 50 or more, a logarithmic
    axis. Where many lines meet in one value they are fanned out a little, the best uppermost. A param that a
    conditional space leaves out of a trial reads "not used".

    Args:
        records: the sweep's trials; stopped and failed ones are counted in the caption, not drawn.
        objective: name of the metric or cost.
        source: which mean is drawn.

    Raises:
        ParamsError: the records hold no metric of that name.
    """
    best_first = complete_with(records, objective, source)
    names = [name for name in searched_names(records) if any(r.params.get(name) is not None for r in best_first)]
    figure = style.new_figure(max(6.0, 1.75 * (len(names) + 1) + 0.6), 4.6)
    axes = figure.subplots()
    style.headline(figure, f"{objective} ({source}) over the searched params")
    if not best_first or not names:
        what = "no complete trial has this metric" if not best_first else "the search space varies nothing"
        style.message(axes, what)
        return figure

    values = [value_of(record, objective, source) or 0.0 for record in best_first]
    columns: list[Sequence[Any]] = [[record.params.get(name) for record in best_first] for name in names]
    scales = [_param_axis(name, column) for name, column in zip(names, columns, strict=True)]
    scales.append(_objective_axis(objective, values))
    columns.append(values)
    for rank in reversed(range(len(best_first))):
        fan = _SPREAD * (0.5 - rank / max(len(best_first) - 1, 1))
        heights = [s.place(column[rank]) + fan * s.fanned for s, column in zip(scales, columns, strict=True)]
        if rank == 0:
            axes.plot(heights, color=style.INK, linewidth=2.2, zorder=2)
        else:
            axes.plot(heights, color=_shade(scales[-1].place(values[rank])), linewidth=1.0, alpha=0.7, zorder=2)
    for place, scale in enumerate(scales):
        _draw_axis(axes, place, scale, labels_left=place < len(names))
    axes.set(xlim=(-0.75, len(scales) - 0.55), ylim=(-0.05, 1.16))
    axes.set_axis_off()
    best = f"{short_name(best_first[0].params, names)}, {format_metric(objective, values[0])}"
    remarks = [f"{in_words(objective)}; {len(best_first)} complete trials; black: the best ({best})"]
    if len(best_first) < len(records):
        left_out = len(records) - len(best_first)
        remarks.append(f"{left_out} stopped, failed or without this metric are not drawn")
    style.caption(figure, "; ".join(remarks))
    return figure


def _shade(height: float) -> tuple[float, float, float, float]:
    # The palest end of the colours would be lost on white.
    return colormaps[style.VALUE_COLOURS](0.92 * height)


def _draw_axis(axes: Axes, place: int, scale: _Axis, *, labels_left: bool) -> None:
    side, align = (-1, "right") if labels_left else (1, "left")
    axes.plot([place, place], [0, 1], color=style.GREY, linewidth=1.0, zorder=3)
    axes.text(place, 1.09, scale.name, ha="center", fontsize=style.TEXT, color=style.INK, fontweight="bold")
    behind = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
    for height, label in scale.ticks:
        axes.plot([place, place + 0.03 * side], [height, height], color=style.GREY, linewidth=1.0, zorder=3)
        text = axes.text(place + 0.05 * side, height, label, ha=align, va="center", zorder=4, bbox=behind)
        text.set(fontsize=style.SMALL, color=style.INK)


def _param_axis(name: str, values: Sequence[Any]) -> _Axis:
    present = [value for value in values if value is not None]
    if len(present) == len(values) and all(is_number(value) for value in values):
        return _number_axis(name, values)
    ordered = sorted({format_value(value) for value in present}, key=_natural)
    labels = ([UNUSED] if len(present) < len(values) else []) + ordered
    at = {label: (i + 0.5) / len(labels) for i, label in enumerate(labels)}
    return _Axis(
        name,
        lambda value: at[UNUSED if value is None else format_value(value)],
        [(height, label) for label, height in at.items()],
        fanned=True,
    )


def _objective_axis(name: str, values: Sequence[float]) -> _Axis:
    """The last axis, upside down for a cost: the best stands at the top."""
    axis = replace(_number_axis(name, values), fanned=False)
    if direction_of(name) == "max":
        return axis
    return replace(axis, place=lambda value: 1 - axis.place(value), ticks=[(1 - h, label) for h, label in axis.ticks])


def _number_axis(name: str, values: Sequence[float]) -> _Axis:
    low, high = min(values), max(values)
    logarithmic = low > 0 and high / low >= LOG_RATIO
    scale: Callable[[float], float] = math.log10 if logarithmic else float

    def place(value: float) -> float:
        return (scale(value) - scale(low)) / (scale(high) - scale(low)) if high > low else 0.5

    marks = sorted(set(values))
    few = len(marks) <= _MOST_TICKS and bool((np.diff([place(value) for value in marks]) >= _CLOSEST_TICKS).all())
    if not few:
        # Round numbers inside the range: 1, 2, 5 times powers of ten, or of the logarithm powers of ten alone.
        rounds = MaxNLocator(5, integer=logarithmic).tick_values(scale(low), scale(high))
        marks = [10.0**mark if logarithmic else float(mark) for mark in rounds if scale(low) <= mark <= scale(high)]
    ticks = [(place(mark), f"{mark:.4g}") for mark in marks]
    return _Axis(f"{name} (log)" if logarithmic else name, place, ticks, fanned=few and len(marks) < len(values) / 2)


def is_number(value: Any) -> bool:
    """Whether a param's value is a number; a switch is not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _natural(label: str) -> tuple[float, str]:
    """Sort key: numbers by value, then words by the alphabet."""
    try:
        return float(label), ""
    except ValueError:
        return math.inf, label
