"""Confusion matrix of a classifier: which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from subband.errors import DataError
from subband.report import style

MOST_CLASSES = 20
OTHERS = "others"


def confusion_matrix(
    truths: npt.ArrayLike, answers: npt.ArrayLike, classes: Sequence[str], title: str = "", caption: str = ""
) -> Figure:
    """Draw how the images of each class were answered: counts, coloured by their share of the class.

    Of more than 20 classes the 20 with the most errors are drawn, and one row and column for all others.

    Args:
        truths: (N,) index of each image's class.
        answers: (N,) index of the class it was given.
        classes: names.
        title: the figure's title.
        caption: conditions, under the figure.

    Raises:
        DataError: no images, lengths that differ, or an index that is no class.
    """
    truths_N, answers_N = np.asarray(truths, np.int64), np.asarray(answers, np.int64)
    if truths_N.ndim != 1 or truths_N.shape != answers_N.shape or not len(truths_N):
        raise DataError(
            f"a confusion matrix needs as many answers as truths, not {answers_N.shape} and {truths_N.shape}"
        )
    for each in (truths_N, answers_N):
        if each.min() < 0 or each.max() >= len(classes):
            raise DataError(f"class {int(each.max() if each.min() >= 0 else each.min())} is none of the {len(classes)}")
    right = float((truths_N == answers_N).mean())
    names, truths_N, answers_N = _fewer(truths_N, answers_N, list(classes))
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (truths_N, answers_N), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    side = max(4.0, 1.9 + 0.42 * len(names))
    figure = style.new_figure(side + 0.9, side)
    style.headline(figure, title)
    words = f"{right:.1%} of {len(truths_N)} images right; colour: share of the row"
    style.caption(figure, f"{words}; {caption}" if caption else words)
    axes = figure.subplots()
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[row, column] > 0.55 else style.INK
        text = axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
        text.set_fontsize(style.SMALL if counts.max() < 1000 else style.SMALL - 2)
    style.tidy(axes, grid=None)
    axes.set_xticks(range(len(names)), labels=names, rotation=90 if len(names) > 5 else 0)
    axes.set_yticks(range(len(names)), labels=names)
    axes.set(xlabel="answered", ylabel="shown")
    figure.colorbar(drawn, ax=axes, shrink=0.7).ax.tick_params(labelsize=style.SMALL, colors=style.INK)
    return figure


def _fewer(
    truths_N: npt.NDArray[np.int64], answers_N: npt.NDArray[np.int64], classes: list[str]
) -> tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Names and indices of at most `MOST_CLASSES` classes and the others."""
    if len(classes) <= MOST_CLASSES:
        return classes, truths_N, answers_N
    wrong = truths_N != answers_N
    errors = np.bincount(truths_N[wrong], minlength=len(classes)) + np.bincount(
        answers_N[wrong], minlength=len(classes)
    )
    kept = np.sort(np.argsort(-errors, kind="stable")[:MOST_CLASSES])
    place = np.full(len(classes), MOST_CLASSES)
    place[kept] = np.arange(MOST_CLASSES)
    return [*(classes[index] for index in kept), OTHERS], place[truths_N], place[answers_N]
