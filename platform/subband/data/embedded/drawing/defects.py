"""Kinds of defect, each with its exact mask.

A defect is an image of the damaged material and a coverage in [0, 1] that says how much of each pixel is damaged.
The mask is where the coverage passes `COVERED`; outside the mask the good drawing is left exactly as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from subband.data.embedded.drawing.canvas import Colours, Field, Generator, blend, grid, rgb, smooth_noise, step
from subband.data.embedded.drawing.cracks import crack
from subband.data.embedded.drawing.scene import Scene

COVERED = 0.12

_WIDEST = 1.5  # largest radius of an uneven disc, in units of its mean radius

_Damage: TypeAlias = tuple[Colours, Field]

_FOREIGN_COLOURS = ((0.10, 0.22, 0.55), (0.62, 0.08, 0.10), (0.07, 0.07, 0.08), (0.10, 0.40, 0.22), (0.93, 0.93, 0.95))


def damage(
    scene: Scene, kind: str, rng: Generator, difficulty: float, larger: float = 1.0
) -> tuple[Colours, NDArray[np.bool_]]:
    """Damage a good piece.

    Args:
        scene: the good piece.
        kind: one of `DEFECTS` or `SURFACE_DEFECTS`.
        rng: places and shapes the defect.
        difficulty: 0 draws large defects of full contrast, 1 small and faint ones.
        larger: how many times larger the defect is than on a product of the same size.

    Returns:
        The damaged colours (3, S, S) and the mask (S, S), which is never empty. Outside the mask the colours are the
        scene's own.
    """
    draw, fading = _DRAWN[kind]
    damaged, coverage = draw(scene, rng, (1.4 - 0.9 * difficulty) * larger)
    contrast = 1 - fading * difficulty
    mask = coverage > COVERED
    blended = blend(scene.colours, damaged, contrast * coverage)
    return np.where(mask, blended, scene.colours), mask


def scratch(scene: Scene, rng: Generator, scale: float) -> _Damage:
    """A long thin score, slightly bent, tapering to its ends, with a light ridge and a dark furrow."""
    size = scene.size
    along, across = _bent_line(rng, scene, length := rng.uniform(0.20, 0.36) * scale)
    width = max(rng.uniform(0.0040, 0.0065) * (0.4 + 0.6 * scale), 0.6 / size)
    taper = np.sqrt(np.clip(1 - (2 * along / length) ** 2, 0, 1))
    coverage = step(width * taper - np.abs(across), 0.8 / size) * (taper > 0)
    ridge = step(across, 0.5 * width)
    light, dark = rgb(*scene.scratch), scene.colours * 0.40
    return blend(dark, light, ridge), _on_piece(scene, coverage)


def hole(scene: Scene, rng: Generator, scale: float) -> _Damage:
    """A punched hole with an uneven edge: dark inside, one inner wall lit."""
    size = scene.size
    radius = max(rng.uniform(0.024, 0.040) * scale, 1.2 / size)
    centre = _place(scene, rng, radius)
    inside = _rough_disc(rng, size, centre, radius, roughness=0.12)
    wall = step(0.30 * radius - inside, 0.25 * radius) * np.clip(0.5 + 0.7 * _downhill(size, centre) / radius, 0, 1)
    depth = 0.045 + scene.colours * (0.08 + 0.55 * wall)
    return depth, _on_piece(scene, step(inside, 0.9 / size))


def stain(scene: Scene, rng: Generator, scale: float) -> _Damage:
    """A dried spill: tinted, blotchy, darker along its rim."""
    size = scene.size
    radius = max(rng.uniform(0.055, 0.090) * scale, 1.5 / size)
    centre = _place(scene, rng, 0.6 * radius)
    inside = _rough_disc(rng, size, centre, radius, roughness=0.22, tear=rng.uniform(0.6, 1.7))
    rim = np.exp(-((inside / (0.13 * radius)) ** 2))
    blotches = 0.62 + 0.10 * smooth_noise(rng, size, 0.015)
    tinted = (1.15 * scene.colours + 0.10) * rgb(*scene.stain)
    coverage = step(inside, max(0.06 * radius, 0.9 / size)) * np.clip(blotches + 0.35 * rim, 0.3, 1)
    return tinted, _on_piece(scene, coverage)


def missing(scene: Scene, rng: Generator, scale: float) -> _Damage:
    """Missing material: a thread drawn out of a weave, a piece off an object's edge, a part torn out of a surface."""
    if scene.thread is not None:
        return _missing_thread(scene, scene.thread, rng, scale)
    size = scene.size
    radius = max(rng.uniform(0.050, 0.070) * scale, 1.5 / size)
    if scene.support is None:
        centre = _place(scene, rng, radius)
        inside = _rough_disc(rng, size, centre, radius, roughness=0.30, tear=scene.tear)
        hollow = step(0.28 * radius - inside, 0.22 * radius) * np.clip(-_downhill(size, centre) / radius, -0.5, 1)
        return scene.under * (1 - 0.55 * hollow), step(inside, 0.9 / size)
    inside = _rough_disc(rng, size, _edge_point(scene.support, rng), 1.2 * radius, roughness=0.25)
    return scene.under, _on_piece(scene, step(inside, 0.9 / size))


def contamination(scene: Scene, rng: Generator, scale: float) -> _Damage:
    """Foreign matter lying on the piece: a coloured fibre and a few grains, each with a small shadow."""
    size = scene.size
    colour = rgb(*_FOREIGN_COLOURS[int(rng.integers(len(_FOREIGN_COLOURS)))])
    if np.abs(colour - scene.colours.mean(axis=(1, 2), keepdims=True)).sum() < 0.6:
        colour = 1 - colour
    along, across = _bent_line(rng, scene, length := rng.uniform(0.14, 0.24) * scale)
    half = 0.5 * length
    across = across + 0.02 * scale * np.sin(along * (np.pi * rng.uniform(0.6, 1.2) / half) + rng.uniform(0, 6))
    width = max(rng.uniform(0.0045, 0.0060) * (0.4 + 0.6 * scale), 0.6 / size)
    fibre = step(width - np.abs(across), 0.9 / size) * step(half - np.abs(along), 0.9 / size)
    shadow = step(1.8 * width - np.abs(across - 1.2 * width), width) * step(half - np.abs(along), 0.9 / size)
    for _ in range(int(rng.integers(2, 5))):
        radius = max(rng.uniform(0.008, 0.015) * scale, 0.9 / size)
        x, y = _place(scene, rng, radius)
        grain = step(_rough_disc(rng, size, (x, y), radius, roughness=0.25), 0.9 / size)
        below = _rough_disc(rng, size, (x + 0.4 * radius, y + 0.4 * radius), 1.1 * radius, roughness=0.0)
        fibre, shadow = np.maximum(fibre, grain), np.maximum(shadow, step(below, 0.5 * radius))
    lit = colour * (0.85 + 0.30 * np.clip(-across / width, -0.6, 0.6))
    return blend(scene.colours * 0.45, lit, fibre), np.maximum(fibre, 0.7 * shadow)


# Each kind with the share of its contrast that difficulty 1 takes away: a gap or a hole that faded further would look
# like glass.
_DRAWN: dict[str, tuple[Callable[[Scene, Generator, float], _Damage], float]] = {
    "scratch": (scratch, 0.70),
    "hole": (hole, 0.45),
    "stain": (stain, 0.72),
    "missing": (missing, 0.30),
    "contamination": (contamination, 0.60),
    "crack": (crack, 0.55),
}
DEFECTS = ("scratch", "hole", "stain", "missing", "contamination")
"""Kinds on products, in the order of the embedded categories' test images."""
SURFACE_DEFECTS = ("crack", "scratch", "stain")
"""Kinds on surfaces."""


def _missing_thread(scene: Scene, thread: Field, rng: Generator, scale: float) -> _Damage:
    size = scene.size
    x, y = _place(scene, rng, 0.12)
    number = thread[int(y * size), int(x * size)]
    half = 0.5 * rng.uniform(0.26, 0.40) * scale
    ends = step(half - np.abs(grid(size)[1] - y), max(0.006, 0.9 / size))
    return scene.under, (thread == number) * ends


def _on_piece(scene: Scene, coverage: Field) -> Field:
    return coverage if scene.support is None else coverage * (scene.support > 0.5)


def _place(scene: Scene, rng: Generator, margin: float) -> tuple[float, float]:
    """A point on the piece that keeps a margin to its edge, as far as one is found."""
    size = scene.size
    ring = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    best, best_supported = (0.5, 0.5), -1.0
    for x, y in rng.uniform(0.14, 0.86, (256, 2)):
        if scene.support is None:
            return float(x), float(y)
        columns = np.append(x + margin * np.cos(ring), np.full(8, x))
        rows = np.append(y + margin * np.sin(ring), np.full(8, y))
        supported = scene.support[
            np.clip(rows * size, 0, size - 1).astype(int), np.clip(columns * size, 0, size - 1).astype(int)
        ].sum()
        if supported > best_supported:
            best, best_supported = (float(x), float(y)), float(supported)
        if best_supported > 15.5:
            break
    return best


def _edge_point(support: Field, rng: Generator) -> tuple[float, float]:
    """A point on the outer edge of an object, found by going from outside towards the centre of the image."""
    size = len(support)
    angle = rng.uniform(0, 2 * np.pi)
    for distance in np.arange(0.70, 0.0, -0.25 / size):
        x, y = 0.5 + distance * np.cos(angle), 0.5 + distance * np.sin(angle)
        if 0 <= x < 1 and 0 <= y < 1 and support[int(y * size), int(x * size)] > 0.5:
            return float(x), float(y)
    return 0.5, 0.5


def _downhill(size: int, centre: tuple[float, float]) -> Field:
    """Distance from a point away from the light, which comes from the top left, times the square root of 2."""
    x, y = grid(size)
    return x + y - (centre[0] + centre[1])


def _rough_disc(
    rng: Generator, size: int, centre: tuple[float, float], radius: float, roughness: float, tear: float = 1.0
) -> Field:
    """How far each pixel lies inside the edge of a disc whose radius varies with the direction; negative outside.

    Only the window around the disc is computed; beyond it the value is ``-radius``. ``tear`` stretches the disc along
    y.
    """
    inside = np.full((size, size), -radius)
    half_x, half_y = _WIDEST * radius / np.sqrt(tear), _WIDEST * radius * np.sqrt(tear)
    columns = slice(max(0, int((centre[0] - half_x) * size) - 1), max(0, int((centre[0] + half_x) * size) + 2))
    rows = slice(max(0, int((centre[1] - half_y) * size) - 1), max(0, int((centre[1] + half_y) * size) + 2))
    x, y = (coordinate[rows, columns] for coordinate in grid(size))
    x, y = (x - centre[0]) * np.sqrt(tear), (y - centre[1]) / np.sqrt(tear)
    angle = np.arctan2(y, x)
    edge = np.ones_like(x)
    for wave in (1, 2, 3, 5, 7):
        edge = edge + roughness * rng.normal() / wave * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    inside[rows, columns] = radius * np.clip(edge, 0.5, _WIDEST) - np.hypot(x, y)
    return inside


def _bent_line(rng: Generator, scene: Scene, length: float) -> tuple[Field, Field]:
    """Coordinates along and across a line of a length that bends a little around a point on the piece."""
    centre_x, centre_y = _place(scene, rng, 0.30 * length)
    x, y = grid(scene.size)
    angle = rng.uniform(0, np.pi)
    along = np.cos(angle) * (x - centre_x) + np.sin(angle) * (y - centre_y)
    across = -np.sin(angle) * (x - centre_x) + np.cos(angle) * (y - centre_y)
    bend = rng.normal(0, 0.10) / max(length, 0.05)
    wobble = 0.004 * np.sin(along * rng.uniform(15, 30) + rng.uniform(0, 6))
    return along, across - bend * (along**2 - 0.08 * length**2) * 2 - wobble
