"""Metrics over the values of one param: every category faint, their mean strong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from subband.errors import ParamsError
from subband.report import style

LEAST_SPAN = 4.0  # percent
MOST_NAMES = 6


def value_curves(
    columns: Sequence[str],
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    param: str,
    mean: str,
    title: str = "",
) -> Figure:
    """Draw a panel a metric; the values stand at equal distances in the order given.

    With a single value the categories stand below each other instead.

    Args:
        columns: V headings of the values.
        panels: by metric, by category and mean, V values in [0, 1]; NaN where undefined.
        param: the param's name.
        mean: name of the mean among the categories.
        title: the figure's title.

    Raises:
        ParamsError: a line whose length is not that of the columns, or no panel.
    """
    if not panels or any(len(line) != len(columns) for lines in panels.values() for line in lines.values()):
        raise ParamsError("every line of the figure needs one value a column, and there must be a panel")
    rows = len(next(iter(panels.values())))
    height = 4.2 if len(columns) > 1 else 1.6 + 0.26 * rows
    figure = style.new_figure(max(3.4 * len(panels), 5.0), height)
    style.headline(figure, title)
    style.caption(figure, "All labelled test images report; nothing was chosen by them.")
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=len(columns) == 1)[0]
    for axes, (metric, lines) in zip(grid, panels.items(), strict=True):
        if len(columns) > 1:
            _over_values(axes, columns, lines, mean)
            axes.set(xlabel=param, ylabel="%")
        else:
            _one_value(axes, lines, mean)
            axes.set(xlabel="%")
        axes.set_title(metric)
        style.tidy(axes)
    return figure


def _over_values(axes: Axes, columns: Sequence[str], lines: Mapping[str, Sequence[float]], mean: str) -> None:
    places = np.arange(len(columns))
    percents = {name: 100 * np.asarray(line, dtype=np.float64) for name, line in lines.items()}
    everything = np.concatenate(list(percents.values()))
    if not np.isfinite(everything).any():
        style.message(axes, "undefined on these test images")
        return
    low, high = float(np.nanmin(everything)), float(np.nanmax(everything))
    # Differences of a tenth of a percent shall look small.
    spare = max(LEAST_SPAN - (high - low), 0.12 * (high - low)) / 2
    low, high = low - spare, high + spare
    for name, values in percents.items():
        if name != mean:
            axes.plot(places, values, color=style.GREY, marker=".", linewidth=0.8, alpha=0.6)
    values = percents[mean]
    axes.plot(places, values, color=style.BLUE, marker="o", linewidth=2.2, markersize=5, zorder=3)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
    for place, value in zip(places, values, strict=True):
        if np.isfinite(value):
            axes.annotate(
                f"{value:.2f}", (float(place), value), (0, 9), textcoords="offset points", ha="center",
                fontsize=style.SMALL, color=style.BLUE, bbox=box,
            )  # fmt: skip
    for height, words in _end_labels({n: v[-1] for n, v in percents.items() if n != mean}, 0.05 * (high - low)):
        axes.annotate(
            words, (float(places[-1]), height), (6, 0), textcoords="offset points", va="center",
            fontsize=style.SMALL - 1, color=style.GREY,
        )  # fmt: skip
    axes.set_xticks(places, [column.rsplit("=", 1)[-1] for column in columns])
    axes.set_xlim(-0.3, len(columns) - 1 + 0.3 + 0.12 * len(columns))
    axes.set_ylim(low, high)


def _end_labels(ends: Mapping[str, float], near: float) -> list[tuple[float, str]]:
    """Names at the ends of the lines; of many lines only the lowest and the highest, and close ones in one label."""
    ordered = sorted((value, name) for name, value in ends.items() if np.isfinite(value))
    if len(ordered) > MOST_NAMES:
        ordered = [ordered[0], ordered[-1]]
    groups: list[list[tuple[float, str]]] = []
    for entry in ordered:
        if groups and entry[0] - groups[-1][-1][0] < near:
            groups[-1].append(entry)
        else:
            groups.append([entry])
    return [
        (float(np.mean([value for value, _ in group])), ", ".join(name for _, name in reversed(group)))
        for group in groups
    ]


def _one_value(axes: Axes, lines: Mapping[str, Sequence[float]], mean: str) -> None:
    names = list(lines)
    for place, name in enumerate(names):
        value = 100 * float(lines[name][0])
        colour = style.BLUE if name == mean else style.GREY
        axes.plot([value], [place], marker="o", color=colour, markersize=5)
        axes.annotate(
            f"{value:.2f}" if np.isfinite(value) else "undefined", (value if np.isfinite(value) else 0, place), (6, 0),
            textcoords="offset points", va="center", fontsize=style.SMALL, color=colour,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)  # the mean is the last row
    axes.margins(x=0.25)
