"""Cracks: thin curves that wander, branch and taper, with the exact field of what they cover."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from subband.data.embedded.drawing.canvas import Colours, Field, Generator, grid, smooth_noise, step
from subband.data.embedded.drawing.scene import Scene

_STEP = 0.012  # length of a straight piece, in sides
_LEVELS = 2  # branches may branch once


class _Piece(NamedTuple):
    """A straight piece of a crack: both ends and the half widths there, in sides."""

    x: float
    y: float
    to_x: float
    to_y: float
    half: float
    to_half: float


def crack(scene: Scene, rng: Generator, scale: float) -> tuple[Colours, Field]:
    """A dark crack with a few branches, its walls a little lighter where the surface has chipped.

    Returns:
        The damaged colours (3, S, S), and how much of each pixel is damaged (S, S).
    """
    size = scene.size
    half = max(rng.uniform(0.0035, 0.0060) * (0.4 + 0.6 * scale), 1.0 / size)
    start_x, start_y = rng.uniform(0.08, 0.92, 2)
    # It begins anywhere and heads for the other side of the middle, so that most of it lies in the image.
    heading = np.arctan2(0.5 - start_y, 0.5 - start_x) + rng.normal(0, 0.35)
    pieces = list(_grown(rng, (start_x, start_y), heading, rng.uniform(0.40, 0.70) * scale, half, 0))
    inside = _inside(pieces, size, 4 * half)
    inside = inside + 0.30 * half * smooth_noise(rng, size, 0.006) * (inside > -2 * half)
    deep = step(inside - 0.25 * half, max(0.5 * half, 0.5 / size))
    colours = scene.colours * (0.50 - 0.34 * deep)
    return colours, step(inside, 0.8 / size)


def _grown(
    rng: Generator, start: tuple[float, float], heading: float, length: float, half: float, level: int
) -> Iterator[_Piece]:
    """The pieces of one curve and of its branches: the heading wanders, the width tapers to nothing at the end."""
    x, y = start
    count = max(3, round(length / _STEP))
    branches = set(
        rng.choice(np.arange(1, count), size=min(count - 1, int(rng.integers(1, 4))), replace=False).tolist()
    )
    aside, uneven = 0.0, 1.0
    for number in range(count):
        heading += rng.normal(0, 0.06)
        aside = 0.80 * aside + rng.normal(0, 0.28)  # it zigzags around its heading
        wider = float(np.clip(0.8 * uneven + 0.2 + rng.normal(0, 0.16), 0.55, 1.5))
        at, to = (half * np.sqrt(1 - (number + ahead) / count) for ahead in (0, 1))
        to_x, to_y = x + _STEP * np.cos(heading + aside), y + _STEP * np.sin(heading + aside)
        yield _Piece(x, y, to_x, to_y, at * uneven, to * wider)
        if level < _LEVELS and number in branches:
            side = heading + rng.choice((-1, 1)) * rng.uniform(0.4, 1.0)
            rest = length * (1 - number / count) * rng.uniform(0.25, 0.6)
            yield from _grown(rng, (to_x, to_y), side, rest, 0.75 * to, level + 1)
        x, y, uneven = to_x, to_y, wider


def _inside(pieces: list[_Piece], size: int, reach: float) -> Field:
    """How far each pixel lies inside the nearest piece's edge; negative outside, at least ``-reach``."""
    inside = np.full((size, size), -reach)
    for piece in pieces:
        margin = reach + max(piece.half, piece.to_half)
        columns, rows = (
            slice(max(0, int((min(ends) - margin) * size)), max(0, int((max(ends) + margin) * size) + 2))
            for ends in ((piece.x, piece.to_x), (piece.y, piece.to_y))
        )
        x, y = (coordinate[rows, columns] for coordinate in grid(size))
        if not x.size:
            continue
        along_x, along_y = piece.to_x - piece.x, piece.to_y - piece.y
        share = ((x - piece.x) * along_x + (y - piece.y) * along_y) / (along_x**2 + along_y**2)
        share = np.clip(share, 0, 1)
        distance = np.hypot(x - piece.x - share * along_x, y - piece.y - share * along_y)
        edge = piece.half + share * (piece.to_half - piece.half) - distance
        inside[rows, columns] = np.maximum(inside[rows, columns], edge)
    return inside
