"""ROC curves of images and pixels, and the PRO curve with the part that AU-PRO counts."""

from __future__ import annotations

import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from subband import metrics
from subband.errors import UndefinedMetricError
from subband.report import style


def roc_and_pro_curves(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    maps: npt.ArrayLike | None = None,
    masks: npt.ArrayLike | None = None,
    limit: float = 0.3,
    regions: metrics.Regions | None = None,
    title: str = "",
) -> Figure:
    """Image ROC, pixel ROC and PRO of one category side by side, with their areas in the legends.

    A curve that these labels leave undefined is replaced by a sentence that says why.

    Args:
        labels: (N,) 0 good, 1 defective.
        scores: (N,) image scores, higher is worse.
        maps: (N, H, W) anomaly maps, or None where there are none to judge.
        masks: (N, H, W) bool, or None where the defects' places are unknown.
        limit: false-positive rate in (0, 1] up to which AU-PRO counts; shaded.
        regions: ``label_regions(masks)``, if at hand.
        title: the figure's title.

    Raises:
        DataError, ParamsError: as `subband.metrics.image_metrics` and `subband.metrics.pixel_metrics`.
    """
    figure = style.new_figure(9.6, 3.6)
    image_axes, pixel_axes, pro_axes = figure.subplots(1, 3)
    if title:
        style.headline(figure, title)
    for axes, name, rate in (
        (image_axes, "image ROC", "true-positive rate"),
        (pixel_axes, "pixel ROC", "true-positive rate"),
        (pro_axes, "PRO", "mean per-region overlap"),
    ):
        axes.set(title=name, xlabel="false-positive rate", ylabel=rate)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        style.tidy(axes)
    try:
        area = metrics.auroc(labels, scores)
        _draw(image_axes, metrics.roc_curve(labels, scores), f"AUROC {area:.4f}", chance=True)
    except UndefinedMetricError as undefined:
        style.message(image_axes, str(undefined))
    if maps is None or masks is None:
        for axes in (pixel_axes, pro_axes):
            style.message(axes, "no masks: the places of the defects are not known")
        return figure
    try:
        values = metrics.pixel_metrics(maps, masks, (limit,), regions)
        pixel_roc = metrics.roc_curve(masks, maps)
        pro = metrics.pro_curve(maps, masks, regions)
    except UndefinedMetricError as undefined:
        for axes in (pixel_axes, pro_axes):
            style.message(axes, str(undefined))
        return figure
    _draw(pixel_axes, pixel_roc, f"AUROC {values['pixel_auroc']:.4f}", chance=True)
    pro_axes.axvspan(0, limit, color=style.SKY, alpha=0.25, linewidth=0, label=f"counted: rate up to {limit:g}")
    _draw(pro_axes, pro, f"AU-PRO@{limit:g} {values[f'au_pro_{limit:g}']:.4f}", chance=False)
    return figure


def _draw(axes: Axes, curve: metrics.Curve, label: str, *, chance: bool) -> None:
    if chance:
        axes.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8, linestyle=(0, (4, 3)), label="chance")
    axes.plot(curve.fpr, curve.rate, color=style.BLUE, linewidth=1.8, label=label, clip_on=False)
    handles, names = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], names[::-1], loc="lower right", fontsize=style.SMALL, frameon=False)
