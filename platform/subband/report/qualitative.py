"""One image in a row of columns: input, ground truth, what else the detector shows, anomaly map, overlay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from subband.errors import DataError
from subband.report import style

_CELL, _GAP, _MARGIN, _TOP, _BOTTOM = 2.6, 0.08, 0.12, 0.68, 0.34  # inches
_GREY_MAPS = ("frequency",)

Range = tuple[float, float]


@dataclass(frozen=True)
class Seen:
    """One image and what a detector says about it.

    Attributes:
        name: of the sample.
        image: (H, W, 3) uint8, as the detector saw it.
        mask: (H, W) bool in the same frame, empty for a good image; None where the place of the defect is unknown.
        map: (H, W) anomaly map.
        score: of the image.
        threshold: of the detector.
        further: other maps by name, (h, w) of any size.
    """

    name: str
    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_] | None
    map: npt.NDArray[Any]
    score: float
    threshold: float
    further: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


def qualitative(seen: Seen, ranges: Mapping[str, Range] | None, title: str = "") -> Figure:
    """Draw the row; with a frequency and a semantic map it has six columns.

    Args:
        seen: the image.
        ranges: by map name (``anomaly map`` and the further ones), the values of the darkest and the brightest colour, which
            should be those of the whole category, so that a good image looks quiet. None stretches every map from its
            own lowest to its own highest value, as published: then every image shows a hot spot.
        title: of the figure.

    Raises:
        DataError: image, mask and map do not fit together.
    """
    shape = seen.image.shape[:2]
    if seen.map.shape != shape or (seen.mask is not None and seen.mask.shape != shape):
        mask = None if seen.mask is None else seen.mask.shape
        raise DataError(f"{seen.name}: image {shape}, mask {mask} and map {seen.map.shape} must have one size")
    maps = {**seen.further, ANOMALY: seen.map}
    norms = {name: _norm(values, None if ranges is None else ranges[name]) for name, values in maps.items()}
    heads = ["input", "ground truth", *seen.further, ANOMALY, "overlay"]
    cell_height = _CELL * shape[0] / shape[1]
    width = 2 * _MARGIN + len(heads) * (_CELL + _GAP) - _GAP
    height = _TOP + cell_height + _BOTTOM
    figure = Figure(figsize=(width, height), dpi=style.DPI, facecolor="white")
    cells = [
        figure.add_axes(((_MARGIN + c * (_CELL + _GAP)) / width, _BOTTOM / height, _CELL / width, cell_height / height))
        for c in range(len(heads))
    ]
    for axes, head in zip(cells, heads, strict=True):
        axes.set_axis_off()
        axes.set_title(head, fontsize=style.TEXT, color=style.INK, pad=4)
    cells[0].imshow(seen.image)
    _draw_mask(cells[1], seen)
    for axes, (name, values) in zip(cells[2:-1], maps.items(), strict=True):
        grey = any(word in name for word in _GREY_MAPS)
        axes.imshow(values, cmap="gray" if grey else style.MAP_COLOURS, norm=norms[name])
    heat_HW = np.asarray(norms[ANOMALY](seen.map), dtype=np.float64)
    heat_HW4 = colormaps[style.MAP_COLOURS](heat_HW)
    heat_HW4[..., 3] = 0.8 * heat_HW
    cells[-1].imshow(seen.image.astype(np.float32).mean(axis=2), cmap="gray", vmin=0, vmax=255)
    cells[-1].imshow(heat_HW4)

    defective = seen.score > seen.threshold
    verdict, colour = ("DEFECT", style.DEFECT) if defective else ("OK", style.GOOD)
    top = 1 - 0.2 / height
    kind: dict[str, Any] = {"va": "center", "color": style.INK}
    figure.text(_MARGIN / width, top, title or seen.name, fontsize=style.TITLE, **kind)
    words = f"score {seen.score:.4g} {'>' if defective else '≤'} threshold {seen.threshold:.4g}"
    figure.text(1 - (_MARGIN + 0.68) / width, top, words, fontsize=style.TEXT, ha="right", **kind)
    kind |= {"color": colour, "fontweight": "bold"}
    figure.text(1 - _MARGIN / width, top, verdict, fontsize=style.TEXT, ha="right", **kind)
    low, high = (float(edge) for edge in (norms[ANOMALY].vmin or 0.0, norms[ANOMALY].vmax or 0.0))
    scale = "one scale for the whole category" if ranges is not None else "stretched to this image, as published"
    words = f"colours of the anomaly map from {low:.4g} to {high:.4g}: {scale}"
    figure.text(_MARGIN / width, 0.15 / height, words, fontsize=style.SMALL, va="center", color=style.GREY)
    return figure


ANOMALY = "anomaly map"


def _norm(values: npt.NDArray[Any], edges: Range | None) -> Normalize:
    low, high = (float(values.min()), float(values.max())) if edges is None else edges
    return Normalize(low, high if high > low else low + 1.0, clip=True)


def _draw_mask(axes: Axes, seen: Seen) -> None:
    if seen.mask is None or not seen.mask.any():
        axes.imshow(np.full(seen.image.shape[:2], 235, np.uint8), cmap="gray", vmin=0, vmax=255)
        words = "no mask given" if seen.mask is None else "no defect"
        axes.text(
            0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", fontsize=style.TEXT, color=style.GREY
        )
        return
    axes.imshow(seen.mask, cmap="gray", vmin=0, vmax=1)
