"""Predicted frames: strips of what was seen, what followed and what was predicted, and the error frame by frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from subband.errors import DataError
from subband.report import style
from subband.report.page import Page

DIFFERENCE_COLOURS = "PuOr"
_ROWS = ("seen", "followed", "predicted", "difference")
_CELL, _NARROWEST, _WIDEST = 0.72, 5.6, 14.0  # inches: a frame, and all of them
_WORDS, _MARGIN, _TOP, _BOTTOM, _NAME, _SPACE = 1.3, 0.12, 0.4, 0.65, 0.3, 0.03
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
    height, side = seen[0].shape[1:]
    width = float(np.clip(columns * _CELL, _NARROWEST, _WIDEST))
    strip = width / columns * height / side
    block = _NAME + len(_ROWS) * (strip + _SPACE)
    page = Page(_WORDS + width + _MARGIN, _TOP + len(seen) * block + _BOTTOM)
    page.text(_MARGIN, 0.2, title, fontsize=style.TITLE)
    shade = Normalize(-1, 1)
    for number, (given, truth, guess, name) in enumerate(zip(seen, followed, predicted, names, strict=True)):
        top = _TOP + number * block
        page.text(_MARGIN, top + _NAME / 2, name, fontsize=style.SMALL, color=style.GREY)
        clipped = np.clip(guess, 0, 1)
        for row, frames in enumerate((given, truth, clipped, clipped - truth)):
            place = top + _NAME + row * (strip + _SPACE)
            page.text(_WORDS - 0.08, place + strip / 2, _ROWS[row], ha="right", fontsize=style.SMALL)
            colours, norm = ("gray", Normalize(0, 1)) if row < 3 else (DIFFERENCE_COLOURS, shade)
            axes = page.axes(_WORDS, place, width, strip)
            axes.imshow(_strip(frames, columns), cmap=colours, norm=norm, interpolation="nearest", aspect="auto")
            axes.set_axis_off()
    foot = page.height - _BOTTOM
    page.text(_MARGIN, foot + 0.5, caption, fontsize=style.SMALL, color=style.GREY)
    page.text(_WORDS - 0.08, foot + 0.17, "predicted - followed", ha="right", fontsize=style.SMALL, color=style.GREY)
    bar = page.axes(_WORDS, foot + 0.12, min(3.0, width), 0.1)
    page.figure.colorbar(
        ScalarMappable(shade, DIFFERENCE_COLOURS), cax=bar, orientation="horizontal"
    ).outline.set_linewidth(0)
    bar.set_xticks([-1, -0.5, 0, 0.5, 1])
    bar.tick_params(labelsize=style.SMALL, colors=style.INK, color=style.GREY, length=2)
    return page.figure


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
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    style.tidy(axes)
    axes.legend(fontsize=style.SMALL, frameon=False)
    return figure


def _strip(frames: Frames, columns: int) -> Frames:
    """Frames from left to right with gaps; the place of missing ones is NaN, which stays white."""
    height, width = frames.shape[1:]
    strip = np.full((height, columns * (width + _GAP) - _GAP), np.nan)
    for i, frame in enumerate(frames):
        strip[:, i * (width + _GAP) : i * (width + _GAP) + width] = frame
    return strip
