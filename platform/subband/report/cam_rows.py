"""What classifiers looked at: a row an image, a column a model."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure

from subband.errors import DataError
from subband.report import style


class Looked(NamedTuple):
    """What one model made of one image.

    Attributes:
        seen: uint8 (S, S, 3), the image as the model saw it.
        heat: (S, S) in [0, 1], 1 where it looked most.
        answer: its most probable class.
        probability: of that class.
    """

    seen: npt.NDArray[np.uint8]
    heat: npt.NDArray[np.float32]
    answer: str
    probability: float


def cam_rows(
    pictures: Sequence[npt.NDArray[np.uint8]],
    names: Sequence[str],
    models: Sequence[str],
    looked: Sequence[Sequence[Looked]],
    title: str = "",
    caption: str = "",
) -> Figure:
    """Draw each image and, half and half over what each model saw of it in grey, the model's heat map.

    Args:
        pictures: whole, uint8 (H, W, 3).
        names: of the images.
        models: names of the models.
        looked: of each image, what each model looked at.
        title: the figure's title.
        caption: conditions, under the figure.

    Raises:
        DataError: no image or model, or lists that do not fit together.
    """
    if not pictures or not models:
        raise DataError("explanations need at least one image and one model")
    if len(names) != len(pictures) or [len(row) for row in looked] != [len(models)] * len(pictures):
        raise DataError(f"{len(pictures)} images and {len(models)} models need as many names and maps")
    figure = style.new_figure(2.1 * (1 + len(models)) + 0.2, 2.4 * len(pictures) + 0.9)
    style.headline(figure, title)
    if caption:
        style.caption(figure, caption)
    grid = figure.subplots(len(pictures), 1 + len(models), squeeze=False)
    colours = colormaps[style.MAP_COLOURS]
    for row, (axes, picture, name, answers) in enumerate(zip(grid, pictures, names, looked, strict=True)):
        axes[0].imshow(picture)
        axes[0].set_title(textwrap.fill(name[-48:], 26), size=style.SMALL, color=style.INK)
        for each, model, answer in zip(axes[1:], models, answers, strict=True):
            heat = colours(answer.heat)[..., :3]
            grey = answer.seen.mean(axis=2, keepdims=True) / 255  # so that all colour is the map's
            each.imshow(0.5 * grey + 0.5 * heat)
            said = f"{textwrap.shorten(answer.answer, 20, placeholder='…')} {answer.probability:.0%}"
            each.set_title(f"{model}\n{said}" if row == 0 else said, size=style.SMALL, color=style.INK)
        for each in axes:
            each.set_axis_off()
    return figure
