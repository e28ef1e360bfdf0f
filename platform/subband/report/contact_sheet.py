"""Many small images on one page, each with a line of text and, where given, a marked place."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from subband.errors import DataError
from subband.report import style
from subband.report.page import Page

_COLUMNS = 4
_CELL, _GAP, _MARGIN = 1.9, 0.12, 0.12  # inches
_HEAD, _TOP = 0.26, 0.42
_LINE = 0.17
_CHARACTERS = 34  # of a line of text above an image


@dataclass(frozen=True)
class Tile:
    """One image of a contact sheet.

    Attributes:
        image: (H, W, 3) uint8.
        text: one line above it; its end is kept if it is too long.
        place: (row, column) in pixels to be circled, or None.
    """

    image: npt.NDArray[np.uint8]
    text: str
    place: tuple[int, int] | None = None


def contact_sheet(tiles: Sequence[Tile], title: str, note: str = "") -> Figure:
    """Draw the images in rows of four, in their order.

    Args:
        tiles: one or more.
        title: of the page.
        note: what the numbers and marks mean, below the images.

    Raises:
        DataError: no image.
    """
    if not tiles:
        raise DataError("a contact sheet needs at least one image")
    rows = -(-len(tiles) // _COLUMNS)
    lines = textwrap.wrap(note, 108)
    page = Page(
        width=2 * _MARGIN + _COLUMNS * _CELL + (_COLUMNS - 1) * _GAP,
        height=_TOP + rows * (_HEAD + _CELL) + _MARGIN + _LINE * len(lines) + _MARGIN,
    )
    page.text(_MARGIN, 0.2, title, fontsize=style.TITLE)
    for index, tile in enumerate(tiles):
        left = _MARGIN + (index % _COLUMNS) * (_CELL + _GAP)
        top = _TOP + (index // _COLUMNS) * (_HEAD + _CELL)
        text = tile.text if len(tile.text) <= _CHARACTERS else f"{tile.text[:6]}…{tile.text[7 - _CHARACTERS :]}"
        page.text(left, top + _HEAD / 2, text, fontsize=style.SMALL)
        axes = page.axes(left, top + _HEAD, _CELL, _CELL)
        axes.set_axis_off()
        axes.imshow(tile.image)
        if tile.place is not None:
            row, column = tile.place
            axes.plot(
                column, row, "o", markersize=26, markerfacecolor="none", markeredgecolor="white", markeredgewidth=3
            )
            axes.plot(
                column,
                row,
                "o",
                markersize=26,
                markerfacecolor="none",
                markeredgecolor=style.DEFECT,
                markeredgewidth=1.5,
            )
    for number, line in enumerate(lines):
        page.text(
            _MARGIN,
            page.height - _MARGIN - _LINE * (len(lines) - number - 0.5),
            line,
            fontsize=style.SMALL,
            color=style.GREY,
        )
    return page.figure
