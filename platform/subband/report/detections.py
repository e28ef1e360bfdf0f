"""What an object detector found: each image with its marked objects, and with the found ones beside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import colors, patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from subband.data.detection.instances import Detections, Instances, decode_masks
from subband.errors import DataError
from subband.report import style

_PAIRS = 2  # a row holds so many images, each twice
_CELL = 2.6  # inches


def detection_gallery(
    images: Sequence[npt.NDArray[np.uint8]],
    truths: Sequence[Instances],
    found: Sequence[Detections],
    classes: Sequence[str],
    names: Sequence[str],
    lowest: float = 0.5,
    title: str = "",
) -> Figure:
    """Show images with their marked objects (left) and what was found (right): box, mask, class and score.

    Args:
        images: N images (H, W, 3), which may differ in size.
        truths: their marked objects.
        found: in each image, at its own size.
        classes: names by label.
        names: of the images.
        lowest: score from which a detection is drawn.
        title: the figure's title.

    Raises:
        DataError: no image, or not as many of one as of the others.
    """
    if not images or not len(images) == len(truths) == len(found) == len(names):
        raise DataError(
            f"{len(images)} images, {len(truths)} marked, {len(found)} found and {len(names)} names: give one of each, of one "
            "image or more"
        )
    rows = -(-len(images) // _PAIRS)
    figure = style.new_figure(2 * _PAIRS * _CELL, rows * (_CELL + 0.25) + 0.6)
    style.headline(figure, title)
    grid = figure.subplots(rows, 2 * _PAIRS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for place, (image, truth, each, name) in enumerate(zip(images, truths, found, names, strict=True)):
        row, column = divmod(place, _PAIRS)
        left, right = grid[row, 2 * column], grid[row, 2 * column + 1]
        shown = each.above(lowest)
        for axes in (left, right):
            axes.imshow(image)
        left.set_title(f"{name}: {_counted(len(truth), 'object')}", fontsize=style.SMALL, color=style.INK, loc="left")
        right.set_title(f"found: {len(shown)}", fontsize=style.SMALL, color=style.INK, loc="left")
        height, width = image.shape[:2]
        marked = [
            classes[label] + (" (crowd)" if crowd else "")
            for label, crowd in zip(truth.labels, truth.crowd, strict=True)
        ]
        _draw(left, truth.boxes, decode_masks(truth.masks, height, width), truth.labels, marked)
        scored = [f"{classes[label]} {score:.2f}" for label, score in zip(shown.labels, shown.scores, strict=True)]
        _draw(right, shown.boxes, shown.masks, shown.labels, scored)
    style.caption(figure, f"left: as marked; right: found with a score of at least {lowest:g}; one colour a class")
    return figure


def _draw(
    axes: Axes,
    boxes_N4: npt.NDArray[np.float32],
    masks_NHW: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.int64],
    words: Sequence[str],
) -> None:
    height, width = masks_NHW.shape[1:]
    # The best one is drawn last, over the others.
    for box, mask, label, text in list(zip(boxes_N4, masks_NHW, labels, words, strict=True))[::-1]:
        colour = style.SERIES[int(label) % len(style.SERIES)]
        layer = np.zeros((height, width, 4))
        layer[mask] = colors.to_rgba(colour, 0.45)
        axes.imshow(layer)
        x0, y0, x1, y1 = (float(edge) - 0.5 for edge in box)  # matplotlib's pixels are centred on whole numbers
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=1.2))
        below = y0 < 0.08 * height
        written = axes.text(
            x0,
            y1 if below else y0,
            text,
            fontsize=style.SMALL - 1,
            color="white",
            va="top" if below else "bottom",
            clip_on=True,
        )
        written.set_path_effects([patheffects.withStroke(linewidth=2, foreground=colour)])
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
