"""What the embedded datasets share: images that are drawn when they are opened, and the options of their URIs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from subband.data.embedded.drawing.canvas import Colours
from subband.errors import DataError, unknown_name

# Below this side length an image is drawn twice as large and averaged, since threads and grains would be thinner
# than a pixel.
_SUPERSAMPLED_BELOW = 192


class Drawing(Protocol):
    """All that decides one image and its mask."""

    @property
    def size(self) -> int:
        """Side in pixels."""
        ...

    def draw(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The image (S, S, 3) and the mask (S, S)."""
        ...

    def digest(self, what: str) -> str:
        """Hash of the recipe; nothing is drawn."""
        ...


@dataclass(frozen=True)
class DrawnImage:
    """The image of a recipe."""

    recipe: Drawing

    def open(self) -> Image.Image:
        """Draw it, mode RGB."""
        return Image.fromarray(self.recipe.draw()[0])

    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.recipe.size, self.recipe.size

    def digest(self) -> str:
        """Hash of the recipe."""
        return self.recipe.digest("image")


@dataclass(frozen=True)
class DrawnMask:
    """The mask of a recipe's defect."""

    recipe: Drawing

    def open(self) -> Image.Image:
        """Draw it, mode L, 255 where defective."""
        return Image.fromarray(self.recipe.draw()[1].astype(np.uint8) * np.uint8(255))

    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.recipe.size, self.recipe.size

    def digest(self) -> str:
        """Hash of the recipe."""
        return self.recipe.digest("mask")


def supersampling(size: int) -> int:
    """How many times larger an image of a side length is drawn."""
    return 2 if size < _SUPERSAMPLED_BELOW else 1


def in_8_bit(colours: Colours, mask: NDArray[np.bool_], fine: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A drawing that is `fine` times too large as an 8-bit image (S, S, 3) and its mask (S, S): any part covers a pixel."""
    if fine > 1:
        size = len(mask) // fine
        blocks = (size, fine, size, fine)
        colours = np.clip(colours, 0, 1).reshape(3, *blocks).mean(axis=(2, 4))
        mask = np.asarray(mask.reshape(blocks).any(axis=(1, 3)))
    picture = np.rint(np.clip(colours, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(picture.transpose(1, 2, 0)), mask


def drawing_options(
    scheme: str,
    options: Mapping[str, str],
    ranges: Mapping[str, tuple[int, int]],
    difficulty: float,
    others: Sequence[str] = (),
) -> tuple[dict[str, int], float]:
    """Read the whole numbers and the difficulty among the options of a URI.

    Args:
        scheme: of the URI, for messages.
        options: as written.
        ranges: lowest and highest value of each whole number.
        difficulty: where the options have none.
        others: further legal options, which are left to the caller.

    Returns:
        The whole numbers that were given, and the difficulty.

    Raises:
        DataError: an unknown option, or a value that is no number or out of range.
    """
    numbers: dict[str, int] = {}
    for option, text in options.items():
        if option in ranges:
            numbers[option] = whole_number(scheme, option, text, *ranges[option])
        elif option == "difficulty":
            difficulty = _difficulty(scheme, text)
        elif option not in others:
            raise DataError(f"{scheme}: {unknown_name('option', option, [*ranges, 'difficulty', *others])}")
    return numbers, difficulty


def whole_numbers(scheme: str, options: Mapping[str, str], ranges: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """Read the options of a URI that are whole numbers and nothing else.

    Args:
        scheme: of the URI, for messages.
        options: as written.
        ranges: lowest and highest value of each.

    Returns:
        Those that were given.

    Raises:
        DataError: an unknown option, or a value that is no whole number or out of range.
    """
    for option in options:
        if option not in ranges:
            raise DataError(f"{scheme}: {unknown_name('option', option, ranges)}")
    return {option: whole_number(scheme, option, text, *ranges[option]) for option, text in options.items()}


def whole_number(scheme: str, option: str, text: str, low: int, high: int) -> int:
    """An option's value.

    Raises:
        DataError: no whole number from `low` to `high`.
    """
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise DataError(f"{scheme}: {option} is {text!r}; it must be a whole number from {low} to {high}")
    return value


def _difficulty(scheme: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise DataError(f"{scheme}: difficulty is {text!r}; it must be a number from 0 (easy) to 1 (hard)")
    return value
