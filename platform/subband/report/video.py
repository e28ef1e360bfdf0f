"""Predicted frames: strips of what was seen, what followed and what was predicted, and the error frame by frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from subband.errors import DataError
from subband.report import style

DIFFERENCE_COLOURS = "PuOr"
_CELL = 0.62  # inches a frame
_NARROWEST, _WIDEST = 6.8, 14.0
_BESIDE = 2.0  # inches for words and colour bar
_GAP = 2  # pixels between frames

Frames = npt.NDArray[np.floating]


def prediction_strips(
    seen: Sequence[Frames],
    followed: Sequence[Frames],
    predicted: Sequence[Frames],
    names: Sequence[str],
    title: str = "",
    caption: str = "",
) -> Figure:
    """Show sequences as strips of frames, time from left to right.

    Args:
        seen: of each sequence, (T, H, W) in [0, 1], the given frames.
        followed: of each, (U, H, W), the frames that followed.
        predicted: of each, (U, H, W), the predicted frames; what lies outside [0, 1] is clipped.
        names: of the sequences.
        title: the figure's title.
        caption: conditions, under the figure.

    Raises:
        DataError: no sequence, or predictions of another shape than what followed.
    """
    if not seen or not len(seen) == len(followed) == len(predicted) == len(names):
        raise DataError(f"strips need as many of each: {len(seen)}, {len(followed)}, {len(predicted)}, {len(names)}")
    for one, other in zip(followed, predicted, strict=True):
        if one.shape != other.shape:
            raise DataError(f"frames of shape {other.shape} were predicted, but {one.shape} followed")
    columns = max(len(frames) for frames in (*seen, *followed))
    width = float(np.clip(_BESIDE + columns * _CELL, _NARROWEST, _WIDEST))
    height, side = seen[0].shape[1:]
    row = (width - _BESIDE) / columns * height / side
    figure = style.new_figure(width, 0.9 + len(seen) * (4 * row + 0.45))
    figure.get_layout_engine().set(h_pad=0.02, hspace=0.0)  # type: ignore[union-attr, call-arg]
    style.headline(figure, title)
    if caption:
        style.caption(figure, caption)
    blocks = figure.subfigures(len(seen), 1, squeeze=False)[:, 0]
    norm = Normalize(-1, 1)
    shown = zip(blocks, seen, followed, predicted, names, strict=True)
    for block, given, truth, guess, name in shown:
        block.suptitle(name, x=0.01, ha="left", fontsize=style.SMALL, color=style.GREY)
        axes = block.subplots(4, 1)
        clipped = np.clip(guess, 0, 1)
        for each, frames, words in zip(axes, (given, truth, clipped), ("seen", "followed", "predicted"), strict=False):
            _strip(each, frames, columns, words, "gray", Normalize(0, 1))
        _strip(axes[3], clipped - truth, columns, "difference", DIFFERENCE_COLOURS, norm)
        bar = block.colorbar(ScalarMappable(norm, DIFFERENCE_COLOURS), ax=list(axes), fraction=0.02, pad=0.01)
        bar.set_label("predicted - followed", size=style.SMALL, color=style.GREY)
        bar.ax.tick_params(labelsize=style.SMALL, colors=style.INK, color=style.GREY, length=2)
        bar.outline.set_linewidth(0)  # type: ignore[operator]
    return figure


def frame_errors(errors_NT: npt.ArrayLike, copied_NT: npt.ArrayLike, title: str = "", caption: str = "") -> Figure:
    """Mean squared error of each predicted frame, beside repeating the last frame that was seen.

    Lines are means over sequences, bands their quartiles.

    Args:
        errors_NT: (N, T) squared errors of N sequences, summed over a frame's pixels.
        copied_NT: (N, T) the same of the last seen frame.
        title: the figure's title.
        caption: conditions, under the figure.

    Raises:
        DataError: the two differ in shape, or hold nothing.
    """
    errors, copied = np.asarray(errors_NT, np.float64), np.asarray(copied_NT, np.float64)
    if errors.ndim != 2 or errors.shape != copied.shape or not errors.size:
        raise DataError(f"errors must have shape (N, T), the same for both, not {errors.shape} and {copied.shape}")
    figure = style.new_figure(6.4, 3.8)
    style.headline(figure, title)
    if caption:
        style.caption(figure, caption)
    axes = figure.subplots()
    moments = np.arange(1, errors.shape[1] + 1)
    for values, words, colour, line in (
        (copied, "repeating the last seen frame", style.VERMILION, "dashed"),
        (errors, "predicted", style.BLUE, "solid"),
    ):
        low, high = np.percentile(values, (25, 75), axis=0)
        axes.fill_between(moments, low, high, color=colour, alpha=0.15, linewidth=0)
        label = f"{words}: {values.mean():.1f} on average"
        axes.plot(moments, values.mean(axis=0), color=colour, linestyle=line, marker="o", markersize=3, label=label)
    axes.set(xlabel="predicted frame", ylabel="squared error a frame (sum over pixels)", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.tidy(axes)
    axes.legend(fontsize=style.SMALL, frameon=False)
    return figure


def _strip(axes: Axes, frames: Frames, columns: int, words: str, colours: str, norm: Normalize) -> None:
    """One row of frames, left to right, with gaps; the place of missing frames stays white."""
    height, width = frames.shape[1:]
    row = np.full((height, columns * (width + _GAP) - _GAP), np.nan)
    for i, frame in enumerate(frames):
        row[:, i * (width + _GAP) : i * (width + _GAP) + width] = frame
    axes.imshow(row, cmap=colours, norm=norm, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_ylabel(words, rotation=0, ha="right", va="center", size=style.SMALL, color=style.INK)
