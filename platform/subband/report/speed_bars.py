"""Latency and throughput of detectors, a row each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from subband.errors import ParamsError
from subband.report import style


@dataclass(frozen=True)
class SpeedRow:
    """One detector's figures.

    Attributes:
        name: category and detector.
        p50: median latency at batch 1, ms.
        p95: 95th percentile, ms.
        published: images a second by the published protocol.
        single: throughput at batch 1, images a second.
        best: greatest throughput.
        best_batch: its batch size.
    """

    name: str
    p50: float
    p95: float
    published: float
    single: float
    best: float
    best_batch: int


def speed_bars(rows: Sequence[SpeedRow], title: str = "") -> Figure:
    """Draw latency (left: the bar is the median, the line ends at the 95th percentile) and throughput (right).

    Raises:
        ParamsError: no row.
    """
    if not rows:
        raise ParamsError("a speed figure needs at least one row")
    figure = style.new_figure(10.5, 2.1 + 0.62 * len(rows))
    style.headline(figure, title)
    style.caption(
        figure,
        "Latency: batch 1, forward to image score on the host, every image waited for. Throughput: the same region without "
        "waiting. Published protocol: fixed random tensor, forward and search alone where the detector separates them. Decoding, "
        "resizing and the copy to the device are in none.",
    )
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(rows))
    left.barh(places, [row.p50 for row in rows], height=0.5, color=style.BLUE)
    left.hlines(places, [row.p50 for row in rows], [row.p95 for row in rows], color=style.INK, linewidth=1.2)
    for place, row in zip(places, rows, strict=True):
        left.annotate(
            f"{row.p50:.1f} / {row.p95:.1f}", (max(row.p50, row.p95), place), (5, 0), textcoords="offset points",
            va="center", fontsize=style.SMALL, color=style.INK,
        )  # fmt: skip
    left.set(xlabel="latency, ms (median / 95th percentile)")
    series = (
        ("published protocol, batch 1", style.ORANGE, [row.published for row in rows], [""] * len(rows)),
        ("to the host, batch 1", style.SKY, [row.single for row in rows], [""] * len(rows)),
        (
            "to the host, best batch",
            style.GREEN,
            [row.best for row in rows],
            [f" (batch {r.best_batch})" for r in rows],
        ),
    )
    for index, (label, colour, values, remarks) in enumerate(series):
        y = places + (index - 1) * 0.26
        right.barh(y, values, height=0.24, color=colour, label=label)
        for place, value, remark in zip(y, values, remarks, strict=True):
            right.annotate(
                f"{value:.1f}{remark}", (value, place), (5, 0), textcoords="offset points", va="center",
                fontsize=style.SMALL, color=style.INK,
            )  # fmt: skip
    right.set(xlabel="images a second")
    left.set_yticks(places, [row.name for row in rows])
    left.set_ylim(len(rows) - 0.5, -0.5)
    for axes in (left, right):
        axes.margins(x=0.28)
        style.tidy(axes, grid="x")
    figure.legend(
        *right.get_legend_handles_labels(), loc="outside upper right", ncols=3, fontsize=style.SMALL, frameon=False
    )
    return figure
