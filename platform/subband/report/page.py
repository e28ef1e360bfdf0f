"""Page: a figure whose parts are placed one by one."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from subband.report import style


class Page:
    """A figure where everything is placed in inches from the top left, so that rows look alike at any number.

    Args:
        width: of the figure.
        height: of the figure.
    """

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), dpi=style.DPI, facecolor="white")

    def text(self, left: float, top: float, words: str, **kind: Any) -> None:
        """Words at a place; `kind` are properties of matplotlib's text."""
        kind = {"fontsize": style.TEXT, "color": style.INK, "va": "center", **kind}
        self.figure.text(left / self.width, 1 - top / self.height, words, **kind)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes whose top left corner is at a place."""
        bottom = 1 - (top + height) / self.height
        return self.figure.add_axes((left / self.width, bottom, width / self.width, height / self.height))
