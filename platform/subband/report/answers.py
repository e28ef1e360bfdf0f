"""Images that a classifier answered rightly and wrongly, with what it said."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from subband.errors import DataError
from subband.report import style

COLUMNS = 6


class Answer(NamedTuple):
    """What was said of one image.

    Attributes:
        picture: uint8 (H, W, 3).
        truth: name of its class.
        said: name of the class that was most probable.
        probability: of that class.
    """

    picture: npt.NDArray[np.uint8]
    truth: str
    said: str
    probability: float


def answers_gallery(wrong: Sequence[Answer], right: Sequence[Answer], title: str = "", caption: str = "") -> Figure:
    """Show wrong answers above right ones, six in a row.

    Args:
        wrong: answers that are not the truth.
        right: answers that are.
        title: the figure's title.
        caption: conditions, under the figure.

    Raises:
        DataError: no answer.
    """
    if not wrong and not right:
        raise DataError("a gallery needs at least one answer")
    groups = [(words, each) for words, each in (("wrong", wrong), ("right", right)) if each]
    rows = [(words, each[first : first + COLUMNS]) for words, each in groups for first in range(0, len(each), COLUMNS)]
    figure = style.new_figure(1.55 * COLUMNS + 0.3, 1.95 * len(rows) + 0.7)
    style.headline(figure, title)
    if caption:
        style.caption(figure, caption)
    grid = figure.subplots(len(rows), COLUMNS, squeeze=False)
    for axes, (_, answers) in zip(grid, rows, strict=True):
        for each, answer in zip(axes, [*answers, *[None] * (COLUMNS - len(answers))], strict=True):
            each.set_axis_off()
            if answer is None:
                continue
            each.imshow(answer.picture)
            correct = answer.truth == answer.said
            said = f"{textwrap.shorten(answer.said, 22, placeholder='…')} {answer.probability:.0%}"
            shown = "" if correct else f"\nshown: {textwrap.shorten(answer.truth, 22, placeholder='…')}"
            each.set_title(said + shown, size=style.SMALL, color=style.GOOD if correct else style.DEFECT)
    return figure
