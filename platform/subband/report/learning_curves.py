"""Learning curves of one training: loss and learning rate, and the validation's metrics, over the epochs, a panel a unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from subband.errors import ParamsError
from subband.metrics import OBJECTIVES
from subband.report import style


def learning_curves(
    history: Sequence[Mapping[str, float]],
    metrics: Sequence[str],
    best_epoch: int | None = None,
    title: str = "",
    caption: str = "",
) -> Figure:
    """Draw what every epoch gave, as it is: nothing is smoothed.

    Args:
        history: of each epoch, ``loss``, ``learning_rate`` and, where it was validated, metrics.
        metrics: those that are drawn; the first chooses the checkpoint and is drawn thick.
        best_epoch: number, from 1, of the epoch whose weights are kept; marked by a line.
        title: the figure's title.
        caption: conditions, under the figure.

    Raises:
        ParamsError: no epoch.
    """
    if not history:
        raise ParamsError("a training without an epoch has no learning curves")
    units = list(dict.fromkeys(_unit(name) for name in metrics)) or [""]
    figure = style.new_figure(4.5 * (1 + len(units)), 3.8)
    style.headline(figure, title)
    if caption:
        style.caption(figure, caption)
    losses, *panels = figure.subplots(1, 1 + len(units))
    epochs = range(1, len(history) + 1)
    marker = "o" if len(history) < 30 else None
    losses.plot(epochs, [row["loss"] for row in history], color=style.BLUE, marker=marker, markersize=3)
    losses.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    style.tidy(losses)
    rates = losses.twinx()
    rates.plot(epochs, [row["learning_rate"] for row in history], color=style.GREY, linestyle="dotted", linewidth=1)
    rates.set_ylabel("learning rate (dotted)", size=style.SMALL, color=style.GREY)
    rates.set_ylim(0, None)
    rates.tick_params(labelsize=style.SMALL, colors=style.GREY)
    rates.spines["top"].set_visible(False)
    for number, name in enumerate(metrics):
        points = [(epoch, row[name]) for epoch, row in zip(epochs, history, strict=True) if name in row]
        colour = style.SERIES[number % len(style.SERIES)]
        width = 2.2 if number == 0 else 1.2
        if points:
            panels[units.index(_unit(name))].plot(
                *zip(*points, strict=True), color=colour, label=name, linewidth=width, marker=marker, markersize=3
            )
    for unit, axes in zip(units, panels, strict=True):
        axes.set(xlabel="epoch", ylabel="on the validation examples" + (f" ({unit})" if unit else ""))
        style.tidy(axes)
        if best_epoch is not None:
            axes.axvline(best_epoch, color=style.INK, linewidth=0.8, linestyle="dashed")
            axes.set_title(f"kept: epoch {best_epoch} (dashed)", loc="right", size=style.SMALL, color=style.INK)
        if axes.has_data():
            axes.legend(fontsize=style.SMALL, frameon=False)
    for axes in (losses, *panels):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def _unit(metric: str) -> str:
    """What a metric is measured in; empty for shares, and for what the platform does not know."""
    return OBJECTIVES[metric].unit if metric in OBJECTIVES else ""
