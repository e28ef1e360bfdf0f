"""Metrics over the strength of a distortion, a panel a metric, a line a detector."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from subband.errors import ParamsError
from subband.report import style

LOW, HIGH = 50.0, 105.0
_COLOURS = (style.BLUE, style.VERMILION, style.GREEN, style.ORANGE, style.PURPLE, style.SKY)
_MARKERS = ("o", "s", "^", "D", "v", "P")
_LINES: tuple[str, ...] = ("solid", "dashed", "dashdot", "dotted", "solid", "dashed")


def level_curves(
    levels: Sequence[float],
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    unit: str,
    title: str = "",
    caption: str = "",
) -> Figure:
    """Draw curves as they are: nothing is smoothed.

    The first detector is drawn solid with circles, the second dashed with squares. The axis goes from 50 to 105 % as in the
    published figures, and lower where a value is lower.

    Args:
        levels: L levels.
        panels: by metric, by detector, L values in percent; NaN where undefined.
        unit: what a level means.
        title: the figure's title.
        caption: conditions, under the figure.

    Raises:
        ParamsError: a curve whose length is not that of the levels.
    """
    figure = style.new_figure(max(4.2 * len(panels), 5.0), 4.6)
    style.headline(figure, title)
    if caption:
        style.caption(figure, caption)
    if not panels:
        style.message(figure.subplots(), "no metric is defined on these test images")
        return figure
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (metric, curves) in zip(row, panels.items(), strict=True):
        for index, (label, values) in enumerate(curves.items()):
            if len(values) != len(levels):
                raise ParamsError(f"{label}: {len(values)} values for {len(levels)} levels")
            look = index % len(_COLOURS)
            axes.plot(
                levels,
                values,
                color=_COLOURS[look],
                marker=_MARKERS[look],
                linestyle=_LINES[look],
                markersize=4.5,
                linewidth=1.6,
                label=label,
            )
        values_all = np.array(list(curves.values()), dtype=np.float64)
        lowest = float(np.nanmin(values_all)) if np.isfinite(values_all).any() else LOW
        low = LOW if lowest >= LOW else 10 * math.floor(lowest / 10) - 5
        axes.set(title=metric, xlabel=unit, ylabel="%", ylim=(low, HIGH), xticks=list(levels))
        style.tidy(axes)
    row[0].legend(loc="best", fontsize=style.SMALL, framealpha=0.8, edgecolor="none")
    return figure
