"""Two detectors category by category: a dot each, joined by a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from subband.errors import ParamsError
from subband.report import style

_MARKERS = ("o", "s")


def gap_dots(
    categories: Sequence[str],
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    floors: Mapping[str, float],
    title: str = "",
) -> Figure:
    """Draw a panel a figure of merit, a row a category.

    Args:
        categories: C names.
        panels: by figure of merit, by detector (two of them), C values; NaN where undefined.
        floors: by figure of merit, where its axis starts unless a value lies lower, so that small differences look small.
        title: the figure's title.

    Raises:
        ParamsError: not two detectors, or values that do not fit the categories.
    """
    lines = [line for values in panels.values() for line in values.values()]
    if (
        not panels
        or any(len(values) != 2 for values in panels.values())
        or any(len(x) != len(categories) for x in lines)
    ):
        raise ParamsError("the figure compares two detectors, with one value a category each")
    figure = style.new_figure(4.6 * len(panels), 2.2 + 0.3 * len(categories))
    style.headline(figure, title)
    style.caption(
        figure,
        "All labelled test images report. Both are free of the detectors' units; the gap of the means is not.",
    )
    if not any(np.isfinite(line).any() for line in lines):
        style.message(figure.subplots(), "no category has both good and defective test images")
        return figure
    rows = np.arange(len(categories))
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (name, values) in zip(grid, panels.items(), strict=True):
        (_, first), (_, second) = values.items()
        axes.hlines(rows, first, second, color=style.FAINT, linewidth=3, zorder=1)
        for colour, marker, (label, line) in zip(style.SERIES, _MARKERS, values.items(), strict=False):
            axes.plot(line, rows, color=colour, marker=marker, linestyle="none", markersize=6, label=label, alpha=0.9)
        axes.set(xlabel=name, ylim=(len(categories) - 0.5, -0.5))
        both = np.array([*first, *second])
        if np.isfinite(both).any():
            low, high = min(floors[name], float(np.nanmin(both))), float(np.nanmax(both))
            axes.set_xlim(low - 0.02 * (high - low), high + 0.06 * (high - low))
        style.tidy(axes, grid="x")
    grid[0].set_yticks(rows, list(categories))
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=style.SMALL, frameon=False)
    return figure
