"""Two objectives against each other, and the trials that no other beats in both."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure

from subband.errors import ParamsError
from subband.metrics import COSTS, in_words
from subband.report import style
from subband.report.names import short_name
from subband.report.parallel import LOG_RATIO
from subband.trials import TrialRecord
from subband.trials.ranking import Source, check_objective, complete_with, non_dominated, searched_names, value_of

_MOST_NAMED = 14
_AROUND = ((7, 5), (-7, 5), (7, -9), (-7, -9), (0, 9), (0, -13), (14, 0), (-14, 0))  # points
_APART = 11.0  # points between two labels


def pareto_front(records: Sequence[TrialRecord], objectives: Sequence[str], source: Source = "choose") -> Figure:
    """Scatter of complete trials over two objectives; the front is numbered, its configurations are listed beside it.

    Args:
        records: the sweep's trials.
        objectives: two names of metrics or costs; each axis says which way is better.
        source: which mean is drawn.

    Raises:
        ParamsError: not two objectives, or no metric of that name.
    """
    if len(objectives) != 2 or objectives[0] == objectives[1]:
        raise ParamsError(f"a Pareto front is drawn over two different objectives, not {list(objectives)}")
    first, second = objectives
    for objective in objectives:
        check_objective(records, objective)
    drawn = [r for r in complete_with(records, first, source) if value_of(r, second, source) is not None]
    figure = style.new_figure(9.2, 4.8)
    axes, key = figure.subplots(1, 2, width_ratios=(3, 2))
    style.headline(figure, f"{first} against {second} ({source})")
    if not drawn:
        style.message(axes, "no complete trial has both metrics")
        key.set_axis_off()
        return figure

    def point(record: TrialRecord) -> tuple[float, float]:
        return value_of(record, first, source) or 0.0, value_of(record, second, source) or 0.0

    front: dict[tuple[float, float], list[TrialRecord]] = {}
    for record in non_dominated(records, objectives, source):
        front.setdefault(point(record), []).append(record)
    xs, ys = zip(*(point(record) for record in drawn), strict=True)
    axes.scatter(xs, ys, s=22, color=style.GREY, alpha=0.45, linewidth=0, label="dominated")
    axes.plot(*zip(*front, strict=True), color=style.BLUE, linewidth=1.2, drawstyle="steps-post", alpha=0.6)
    axes.scatter(*zip(*front, strict=True), s=40, color=style.BLUE, zorder=3, label="front")
    axes.margins(0.1)
    axes.set(xlabel=_label(first, source), ylabel=_label(second, source))
    for axis, values, objective in ((axes.xaxis, xs, first), (axes.yaxis, ys, second)):
        # A bank of a thousandth of the vectors and one of all of them must both be seen.
        if objective in COSTS and min(values) > 0 and max(values) / min(values) >= LOG_RATIO:
            axes.set(**{f"{axis.axis_name}scale": "log"})
            axis.set_major_formatter("{x:g}")
    style.tidy(axes)
    axes.legend(loc="best", fontsize=style.SMALL, frameon=False)

    named = list(front.items())[:_MOST_NAMED]
    _number_points(figure, [place for place, _ in named])
    names = searched_names(records)
    lines = []
    for number, (_, equals) in enumerate(named, start=1):
        more = f" (and {len(equals) - 1} equal)" if len(equals) > 1 else ""
        entry = f"{short_name(equals[0].params, names)}{more}"
        lines.append(textwrap.fill(entry, 52, initial_indent=f"{number:>2}  ", subsequent_indent="      "))
    if len(front) > len(named):
        lines.append(f"    and {len(front) - len(named)} more")
    key.set_axis_off()
    key.text(0, 1, "\n".join(lines), va="top", fontsize=style.SMALL, color=style.INK, linespacing=1.7)
    left_out = len(records) - len(drawn)
    style.caption(
        figure,
        f"{len(drawn)} complete trials, {len(front)} points on the front"
        + (f"; {left_out} stopped, failed or without these metrics are not drawn" if left_out else ""),
    )
    return figure


def _label(objective: str, source: Source) -> str:
    # A cost has one value, whatever the labels.
    return in_words(objective) if objective in COSTS else f"{in_words(objective)}, {source}"


def _number_points(figure: Figure, places: Sequence[tuple[float, float]]) -> None:
    """Write 1, 2, ... beside the points, each on the first side where no earlier number stands."""
    axes = figure.axes[0]
    figure.draw_without_rendering()  # settles the layout, which the distances between points depend on
    scale = 72.0 / figure.dpi
    taken: list[tuple[float, float]] = []
    for number, place in enumerate(places, start=1):
        x, y = (float(pixel) * scale for pixel in axes.transData.transform(place))
        free = [
            (dx, dy) for dx, dy in _AROUND if all(max(abs(x + dx - tx), abs(y + dy - ty)) >= _APART for tx, ty in taken)
        ]
        dx, dy = free[0] if free else _AROUND[0]
        taken.append((x + dx, y + dy))
        side = "left" if dx > 0 else "right" if dx < 0 else "center"
        text = axes.annotate(str(number), place, xytext=(dx, dy), textcoords="offset points", ha=side)
        text.set(fontsize=style.SMALL, color=style.INK)
