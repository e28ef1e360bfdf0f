"""Ten flat shapes that stay different however they are turned: where each covers the plane.

A shape is a function of coordinates in its own frame (origin at its middle, reach about 1) that is positive inside and falls
towards the outline about as fast as the distance to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from subband.data.embedded.drawing.canvas import Field

Shape = Callable[[Field, Field], Field]


def disc(u: Field, v: Field) -> Field:
    """A filled circle."""
    return np.asarray(0.86 - np.hypot(u, v))


def ring(u: Field, v: Field) -> Field:
    """A circle with a wide hole."""
    return np.asarray(0.20 - np.abs(np.hypot(u, v) - 0.72))


def square(u: Field, v: Field) -> Field:
    """A square."""
    return np.asarray(0.76 - np.maximum(np.abs(u), np.abs(v)))


def triangle(u: Field, v: Field) -> Field:
    """An equilateral triangle."""
    return np.asarray(0.5 - np.maximum(v, np.abs(u) * np.sqrt(0.75) - 0.5 * v))


def star(u: Field, v: Field) -> Field:
    """A star with five points."""
    radius, sector = np.hypot(u, v), 2 * np.pi / 5
    folded = np.abs(np.mod(np.arctan2(v, u) + sector / 2, sector) - sector / 2)
    # The edge from a point at (1, 0) to the notch at radius 0.4, half a sector further.
    notch = 0.4 * np.exp(0.5j * sector)
    normal = np.array([notch.imag, 1 - notch.real]) / abs(1 - notch)
    return np.asarray(normal[0] * (1 - radius * np.cos(folded)) - normal[1] * radius * np.sin(folded))


def cross(u: Field, v: Field) -> Field:
    """A plus sign."""
    u, v = np.abs(u), np.abs(v)
    return np.asarray(np.minimum(0.92 - np.maximum(u, v), 0.26 - np.minimum(u, v)))


def crescent(u: Field, v: Field) -> Field:
    """A disc out of which another is cut."""
    return np.asarray(np.minimum(0.92 - np.hypot(u, v), np.hypot(u - 0.45, v) - 0.70))


def half(u: Field, v: Field) -> Field:
    """Half a disc."""
    return np.asarray(np.minimum(0.95 - np.hypot(u, v + 0.4), v + 0.4))


def bars(u: Field, v: Field) -> Field:
    """Three parallel bars."""
    across = np.abs(np.mod(u + 0.3, 0.6) - 0.3)
    return np.asarray(np.minimum(np.minimum(0.15 - across, 0.75 - np.abs(u)), 0.82 - np.abs(v)))


def corner(u: Field, v: Field) -> Field:
    """Two arms at a right angle."""
    inside = 0.82 - np.maximum(np.abs(u), np.abs(v))
    return np.asarray(np.minimum(inside, np.maximum(-0.30 - u, -0.30 - v)))


SHAPES: Mapping[str, Shape] = {
    "disc": disc,
    "square": square,
    "triangle": triangle,
    "star": star,
    "ring": ring,
    "cross": cross,
    "crescent": crescent,
    "half": half,
    "bars": bars,
    "corner": corner,
}
