"""One good image, ever more distorted, and what two detectors see in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from subband.errors import ParamsError
from subband.report import style

DETECTORS = 2
LEAST_SPAN = 0.5
_CELL = 2.3  # inches


@dataclass(frozen=True)
class TileCell:
    """One detector at one level.

    Attributes:
        level: of the distortion.
        original: (H, W, 3) uint8, the image as it was.
        distorted: (H, W, 3) uint8, what the detector saw.
        map: (H, W) float, its anomaly map.
    """

    level: float
    original: npt.NDArray[np.uint8]
    distorted: npt.NDArray[np.uint8]
    map: npt.NDArray[Any]


def robustness_tile(
    columns: Mapping[str, Sequence[TileCell]],
    unit: str,
    title: str = "",
    colour_range: Literal["row", "detector"] = "row",
) -> Figure:
    """Rows are levels; columns the original, the distorted image, and the maps of two detectors over it.

    The greatest value of each map stands in its lower right corner. A missing second detector leaves grey cells.

    Args:
        columns: by detector, one cell a level; one or two detectors, with the same levels.
        unit: what a level is called.
        title: the figure's title.
        colour_range: ``row``: from the lowest to the highest value of both maps of the row, at least 0.5 apart, as published.
            ``detector``: from the lowest to the highest value of all maps of the detector, at least 0.5 apart.

    Raises:
        ParamsError: no cell, more than two detectors, or detectors with different levels.
    """
    labels = list(columns)
    levels = [[cell.level for cell in cells] for cells in columns.values()]
    if not 1 <= len(labels) <= DETECTORS or not levels[0] or any(each != levels[0] for each in levels):
        raise ParamsError("a tile needs one or two detectors, with cells of the same levels")
    rows = len(levels[0])
    # By hand and not by matplotlib's layout, so that the images lie close together at any number of rows.
    left, gap, top, bottom = 0.45, 0.06, 0.75, 0.35
    width, height = left + 4 * (_CELL + gap) + 0.1, top + rows * (_CELL + gap) + bottom
    figure = Figure(figsize=(width, height), dpi=style.DPI, facecolor="white")
    figure.text(0.1 / width, 1 - 0.22 / height, title, fontsize=style.TITLE, color=style.INK, va="center")
    heads = ["original", "distorted", *(_shortened(label) for label in labels), *[""] * (DETECTORS - len(labels))]
    for row in range(rows):
        norms = _norms([cells[row] for cells in columns.values()], columns, colour_range)
        first = columns[labels[0]][row]
        y = height - top - (row + 1) * (_CELL + gap)
        cells: list[Axes] = [
            figure.add_axes(((left + c * (_CELL + gap)) / width, y / height, _CELL / width, _CELL / height))
            for c in range(2 + DETECTORS)
        ]
        for axes, head in zip(cells, heads, strict=True):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if row == 0:
                axes.set_title(head, fontsize=style.TEXT, color=style.INK, pad=4)
        cells[0].imshow(first.original)
        cells[0].set_ylabel(f"{unit} {first.level:g}", fontsize=style.TEXT, color=style.INK)
        cells[1].imshow(first.distorted)
        for column, label in enumerate(labels):
            _overlay(cells[2 + column], columns[label][row], norms[column])
        for axes in cells[2 + len(labels) :]:
            axes.set_facecolor(style.FAINT)
            axes.text(0.5, 0.5, "N/A", transform=axes.transAxes, ha="center", va="center", color=style.GREY)
    scale = {
        "row": "colours: one range a row, from the lowest to the highest value of its maps",
        "detector": "colours: one range a detector, from the lowest to the highest value of its maps",
    }[colour_range]
    words = f"{scale}; in the corner each map's greatest value"
    figure.text(0.1 / width, 0.16 / height, words, fontsize=style.SMALL, color=style.GREY, va="center")
    return figure


def _norms(
    row: Sequence[TileCell], columns: Mapping[str, Sequence[TileCell]], colour_range: Literal["row", "detector"]
) -> list[Normalize]:
    if colour_range == "row":
        groups = [[cell.map for cell in row]] * len(row)
    else:
        groups = [[cell.map for cell in cells] for cells in columns.values()]
    norms = []
    for maps in groups:
        low = min(float(each.min()) for each in maps)
        high = max(float(each.max()) for each in maps)
        norms.append(Normalize(low, max(high, low + LEAST_SPAN), clip=True))
    return norms


def _overlay(axes: Axes, cell: TileCell, norm: Normalize) -> None:
    grey_HW = cell.distorted.astype(np.float32).mean(axis=2)
    axes.imshow(grey_HW, cmap="gray", vmin=0, vmax=255)
    heat_HW4 = colormaps[style.MAP_COLOURS](np.asarray(norm(cell.map), dtype=np.float64))
    heat_HW4[..., 3] = 0.6
    axes.imshow(heat_HW4)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
    words = f"{float(cell.map.max()):.2f}"
    axes.text(0.97, 0.03, words, transform=axes.transAxes, ha="right", va="bottom", fontsize=style.SMALL, bbox=box)


def _shortened(label: str, longest: int = 30) -> str:
    return label if len(label) <= longest else f"…{label[1 - longest :]}"
