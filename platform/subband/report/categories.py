"""The champion's metrics, category by category."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from subband.errors import ParamsError
from subband.metrics import COSTS
from subband.report import style
from subband.report.names import short_name
from subband.trials import TrialRecord
from subband.trials.ranking import Source, known_objectives


def champion_per_category(
    champion: TrialRecord, objectives: Sequence[str] = ("image_auroc", "pixel_auroc"), source: Source = "report"
) -> Figure:
    """Bars of the champion's metrics for every category, and their mean.

    The mean is taken over the categories where the metric is defined; the caption counts the others.

    Args:
        champion: the chosen trial.
        objectives: names of the metrics, at most six.
        source: ``report`` shows what selection did not see; ``choose`` where there is no report.

    Raises:
        ParamsError: no objective, more than there are colours, or a cost, which has no place on an axis from 0 to 1.
    """
    if not 1 <= len(objectives) <= len(style.SERIES):
        raise ParamsError(f"between 1 and {len(style.SERIES)} objectives can be drawn, not {len(objectives)}")
    if costs := [name for name in objectives if name in COSTS]:
        raise ParamsError(f"bars from 0 to 1 show metrics, not {', '.join(costs)}: draw costs as a Pareto front")
    by_category = {name: values.get(source, {}) for name, values in sorted(champion.categories.items())}
    table = np.array([[row.get(o, math.nan) for o in objectives] for row in by_category.values()], dtype=np.float64)
    names = list(by_category)
    rows = len(names) + 1
    figure = style.new_figure(7.2, 1.5 + rows * (0.14 + 0.19 * len(objectives)))
    axes = figure.subplots()
    style.headline(figure, f"Champion per category ({source})")
    if not names or np.isnan(table).all():
        wanted, known = ", ".join(objectives), ", ".join(known_objectives([champion])) or "none"
        style.message(axes, f"no category has {wanted} under {source!r} (metrics of this trial: {known})", width=60)
        return figure
    undefined = np.isnan(table)
    defined = [column[~np.isnan(column)] for column in table.T]
    means = [column.mean() if len(column) else math.nan for column in defined]
    table, names = np.vstack([table, means]), [*names, "mean"]
    thickness = 0.78 / len(objectives)
    for series, objective in enumerate(objectives):
        y = np.arange(rows) + (series - (len(objectives) - 1) / 2) * thickness
        y[-1] += 0.25  # sets the mean apart
        values = table[:, series]
        bars = axes.barh(y, np.nan_to_num(values), height=thickness * 0.88, color=style.SERIES[series], label=objective)
        labels = ["undefined" if math.isnan(value) else f"{value:.3f}" for value in values]
        axes.bar_label(bars, labels, padding=3, fontsize=style.SMALL, color=style.INK)
    axes.set_yticks([*range(rows - 1), rows - 0.75], names)
    axes.axhline(rows - 1.375, color=style.FAINT, linewidth=1)
    axes.set(xlim=(0, 1.12), ylim=(rows - 0.2, -0.6), xticks=np.linspace(0, 1, 6))
    style.tidy(axes, grid="x")
    axes.tick_params(axis="y", length=0)
    axes.get_yticklabels()[-1].set_fontweight("bold")
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=min(len(objectives), 3),
        fontsize=style.SMALL,
        frameon=False,
    )
    missing = int(undefined.sum())
    style.caption(
        figure,
        f"{short_name(champion.params, champion.searched)}; mean over the categories where the metric is defined"
        + (f"; values undefined: {missing}" if missing else ""),
    )
    return figure
