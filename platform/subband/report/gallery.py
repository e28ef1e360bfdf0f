"""What the detector saw: image, mask, anomaly map and overlay, a row per sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from subband.errors import DataError
from subband.report import style
from subband.report.page import Page

COLUMNS = ("image", "mask (outline)", "anomaly map", "overlay")
_CELL, _GAP, _MARGIN = 1.9, 0.08, 0.12  # inches
_ROW_HEAD, _TOP, _BOTTOM = 0.3, 0.62, 0.68
_LOW, _HIGH = 1.0, 99.9  # percentiles


def gallery(
    images: npt.NDArray[np.uint8],
    masks: npt.NDArray[np.bool_] | Sequence[npt.NDArray[np.bool_] | None] | None,
    maps: npt.NDArray[np.float32],
    scores: npt.ArrayLike,
    threshold: float,
    names: Sequence[str],
    title: str = "",
    labels: Sequence[int] | None = None,
) -> Figure:
    """Show samples with what the detector says about them.

    All rows share one colour scale (stated under the figure), so that a good sample looks quiet beside a defective one.
    The decision is ``score > threshold``.

    Args:
        images: (N, 3, H, W) uint8, N >= 1; a dozen rows are readable.
        masks: (N, H, W) bool, or one mask or None per sample, or None: an empty mask is drawn as "no defect", None as
            "no mask given".
        maps: (N, H, W) float, higher is worse.
        scores: (N,) image scores.
        threshold: scores above it are called defective.
        names: N sample names.
        title: the figure's title.
        labels: (N,) 0 good, 1 defective; where given, wrong decisions are marked "missed" or "false alarm".

    Raises:
        DataError: shapes that do not fit together, no sample, or NaN or infinite maps or scores.
    """
    images, maps, scores_N = np.asarray(images), np.asarray(maps), np.asarray(scores, dtype=np.float64)
    masks_N = _checked_masks(masks, maps.shape)
    _check(images, maps, scores_N, names)
    if labels is not None and len(labels) != len(maps):
        raise DataError(f"{len(labels)} labels for {len(maps)} maps")
    rows, height, width = maps.shape
    cell_height = _CELL * height / width
    page = Page(
        width=2 * _MARGIN + len(COLUMNS) * _CELL + (len(COLUMNS) - 1) * _GAP,
        height=_TOP + rows * (_ROW_HEAD + cell_height) + _BOTTOM,
    )
    low, high = (float(edge) for edge in np.percentile(maps, (_LOW, _HIGH)))
    norm = Normalize(low, high if high > low else low + 1.0, clip=True)

    page.text(_MARGIN, 0.2, title, fontsize=style.TITLE)
    lefts = [_MARGIN + column * (_CELL + _GAP) for column in range(len(COLUMNS))]
    for left, column in zip(lefts, COLUMNS, strict=True):
        page.text(left + _CELL / 2, _TOP - 0.12, column, ha="center", color=style.GREY)
    for row in range(rows):
        top = _TOP + row * (_ROW_HEAD + cell_height)
        label = None if labels is None else labels[row]
        _write_verdict(page, top + _ROW_HEAD / 2, names[row], float(scores_N[row]), threshold, label)
        axes = [page.axes(left, top + _ROW_HEAD, _CELL, cell_height) for left in lefts]
        _draw_row(axes, images[row].transpose(1, 2, 0), masks_N[row], maps[row], norm)

    foot = page.height - _BOTTOM
    for line, words in enumerate(
        ("one colour scale for all rows:", f"percentiles {_LOW:g} to {_HIGH:g} of these maps")
    ):
        page.text(_MARGIN, foot + 0.19 + 0.17 * line, words, fontsize=style.SMALL, color=style.GREY)
    bar = page.axes(lefts[2], foot + 0.14, 2 * _CELL + _GAP, 0.1)
    mappable = ScalarMappable(norm, style.MAP_COLOURS)
    page.figure.colorbar(mappable, cax=bar, orientation="horizontal", extend="both").outline.set_linewidth(0)
    bar.tick_params(labelsize=style.SMALL, colors=style.INK, color=style.GREY, length=2)
    return page.figure


def _write_verdict(page: Page, top: float, name: str, score: float, threshold: float, label: int | None) -> None:
    defective = score > threshold
    right = page.width - _MARGIN
    wrong = "" if label is None or bool(label) == defective else " (false alarm)" if defective else " (missed)"
    page.text(_MARGIN, top, _shortened(name))
    words = f"score {score:.4g} {'>' if defective else '≤'} threshold {threshold:.4g}{wrong}"
    page.text(right - 0.68, top, words, ha="right")
    verdict, colour = ("DEFECT", style.DEFECT) if defective else ("OK", style.GOOD)
    page.text(right, top, verdict, ha="right", fontweight="bold", color=colour)


def _draw_row(
    axes: Sequence[Axes],
    image_HW3: npt.NDArray[np.uint8],
    mask_HW: npt.NDArray[np.bool_] | None,
    map_HW: npt.NDArray[Any],
    norm: Normalize,
) -> None:
    grey_HW = image_HW3.astype(np.float32).mean(axis=2)
    for each in axes:
        each.set_axis_off()
    axes[0].imshow(image_HW3)
    axes[1].imshow(grey_HW, cmap="gray", vmin=-120, vmax=255)  # lightened, so that the outline stands out
    axes[2].imshow(map_HW, cmap=style.MAP_COLOURS, norm=norm)
    heat_HW = np.asarray(norm(map_HW), dtype=np.float64)
    rgba_HW4 = colormaps[style.MAP_COLOURS](heat_HW)
    rgba_HW4[..., 3] = 0.8 * heat_HW
    axes[3].imshow(grey_HW, cmap="gray", vmin=0, vmax=255)
    axes[3].imshow(rgba_HW4)
    if mask_HW is None or not mask_HW.any():
        words = "no mask given" if mask_HW is None else "no defect"
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2}
        text = axes[1].text(0.03, 0.04, words, transform=axes[1].transAxes, bbox=box)
        text.set(fontsize=style.SMALL, color=style.INK)
        return
    # A frame of good pixels closes the outline of a defect that touches the border.
    framed = np.pad(mask_HW, 1).astype(np.float32)
    grid_Y, grid_X = np.arange(-1, framed.shape[0] - 1), np.arange(-1, framed.shape[1] - 1)
    for each in (axes[1], axes[3]):
        each.contour(grid_X, grid_Y, framed, levels=[0.5], colors=[style.SKY], linewidths=1.4)
        each.set(xlim=(-0.5, mask_HW.shape[1] - 0.5), ylim=(mask_HW.shape[0] - 0.5, -0.5))


def _shortened(name: str, longest: int = 44) -> str:
    return name if len(name) <= longest else f"…{name[1 - longest :]}"


def _checked_masks(
    masks: npt.NDArray[np.bool_] | Sequence[npt.NDArray[np.bool_] | None] | None, shape: tuple[int, ...]
) -> list[npt.NDArray[np.bool_] | None]:
    given = [None] * (shape[0] if shape else 0) if masks is None else list(masks)
    if len(shape) == 3 and len(given) != shape[0]:
        raise DataError(f"{len(given)} masks for {shape[0]} maps")
    checked: list[npt.NDArray[np.bool_] | None] = []
    for index, mask in enumerate(given):
        if mask is not None and np.shape(mask) != shape[1:]:
            raise DataError(f"masks[{index}] has shape {np.shape(mask)}, its map {shape[1:]}")
        checked.append(None if mask is None else np.asarray(mask, dtype=bool))
    return checked


def _check(images: npt.NDArray[Any], maps: npt.NDArray[Any], scores: npt.NDArray[Any], names: Sequence[str]) -> None:
    if maps.ndim != 3 or not len(maps):
        raise DataError(f"maps must have shape (N, H, W) with N >= 1, not {maps.shape}")
    wanted = (maps.shape[0], 3, *maps.shape[1:])
    if images.shape != wanted or images.dtype != np.uint8:
        raise DataError(f"images must be uint8 of shape {wanted} to fit the maps, not {images.dtype} {images.shape}")
    if scores.shape != (len(maps),) or len(names) != len(maps):
        raise DataError(f"{len(maps)} maps need as many scores and names, not {scores.shape} and {len(names)}")
    if not np.isfinite(maps).all() or not np.isfinite(scores).all():
        raise DataError("maps and scores must not hold NaN or infinite values")
