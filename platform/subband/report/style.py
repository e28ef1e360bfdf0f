"""One look for every figure: colours that colour-blind readers tell apart, quiet axes, captions with the conditions.

Figures are made from `Figure` objects, never through pyplot: no global state, no window system, safe in workers and
threads. Sizes are set on the artists and not through rcParams, which matplotlib reads again when a figure is drawn.
"""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

# Okabe and Ito's palette.
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE = "#56B4E9", "#CC79A7"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY)
INK, GREY, FAINT = "#222222", "#6B6B6B", "#D9D9D9"
GOOD, DEFECT = GREEN, VERMILION

MAP_COLOURS = "inferno"
VALUE_COLOURS = "viridis"

TITLE, TEXT, SMALL = 11.0, 9.0, 8.0
DPI = 130


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of that many inches, laid out so that nothing overlaps."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def tidy(axes: Axes, *, grid: str | None = "both") -> None:
    """Take away what carries no information and set the text sizes."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(labelsize=SMALL, colors=INK, color=GREY, length=3)
    axes.xaxis.label.set(size=TEXT, color=INK)
    axes.yaxis.label.set(size=TEXT, color=INK)
    axes.title.set(size=TEXT, color=INK)
    axes.set_axisbelow(True)
    if grid is not None:
        axes.grid(True, axis=grid, color=FAINT, linewidth=0.6)  # type: ignore[arg-type]


def headline(figure: Figure | SubFigure, text: str) -> None:
    """The figure's title, at the left."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=TITLE, color=INK)


def caption(figure: Figure, text: str) -> None:
    """Conditions and remarks under the figure, wrapped to its width."""
    characters = int(figure.get_figwidth() * 16)
    figure.supxlabel(textwrap.fill(text, characters), x=0.01, ha="left", fontsize=SMALL, color=GREY)


def message(axes: Axes, text: str, width: int = 34) -> None:
    """Say in the middle of empty axes why there is nothing to see."""
    axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    wrapped = textwrap.fill(text, width)
    axes.text(0.5, 0.5, wrapped, transform=axes.transAxes, ha="center", va="center", fontsize=TEXT, color=GREY)
