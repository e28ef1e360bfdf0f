"""Two objects on a background: a hexagonal steel nut and a two-coloured capsule.

Poses vary a little, as in a fixture under a camera: a few degrees, a few per cent of the side, and a little light.
"""

from __future__ import annotations

import numpy as np

from subband.data.embedded.drawing.canvas import (
    Colours,
    Field,
    Generator,
    blend,
    grid,
    rgb,
    smooth_noise,
    step,
    white_noise,
)
from subband.data.embedded.drawing.scene import Scene


def nut(rng: Generator, size: int) -> Scene:
    """A brushed steel nut seen from above on a dark conveyor: chamfered hexagon, threaded bore, soft shadow."""
    pixel = 1 / size
    x, y, light = _pose(rng, size, turn=0.10, shift=0.012)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    lit = np.cos(angle - light)
    sector = np.pi / 3
    folded = np.mod(angle, sector) - sector / 2
    flat = radius * np.cos(folded)  # distance from the centre towards the nearest side of the hexagon
    edge = np.minimum(0.355 - flat, 0.397 - radius)
    bore = 0.158 + rng.normal(0, 0.002)
    support = step(edge, pixel) * step(radius - bore, pixel)

    brushed = 0.030 * smooth_noise(rng, size, 0.012, 0.0012) + 0.010 * white_noise(rng, size)
    steel = 0.62 + brushed + 0.05 * lit + 0.02 * smooth_noise(rng, size, 0.12)
    side_light = np.cos(np.round((angle - sector / 2) / sector) * sector + sector / 2 - light)
    chamfer = step(0.035 - edge, 0.006)
    steel = steel + chamfer * (0.20 * side_light - 0.06)
    crown = step(radius - 0.335, 0.004) * (1 - chamfer)
    steel = steel + crown * (0.09 * lit - 0.05)
    lip = step(bore + 0.030 - radius, 0.005)
    steel = steel - lip * (0.20 * lit + 0.08)
    rim = np.exp(-(((edge - 0.036) / 0.004) ** 2)) * 0.13 + np.exp(-(((radius - bore - 0.031) / 0.003) ** 2)) * 0.13
    metal = (steel + rim) * rgb(0.97, 0.99, 1.03)

    under = _belt(rng, size)
    shadow = step(0.375 - np.hypot(x - 0.022, y - 0.026), 0.05)
    under = under * (1 - 0.55 * shadow)
    turns = 0.5 + 0.5 * np.sin(2 * np.pi * (radius * 52 + angle / (2 * np.pi)))
    wall = step(bore - radius, pixel) * step(radius - bore + 0.045, 0.02)
    under = blend(under, (0.14 + 0.20 * turns * (0.65 - 0.35 * lit)), wall)
    colours = blend(under, metal, support) * (1 + rng.normal(0, 0.015))
    return Scene(colours, under=under, scratch=(0.93, 0.94, 0.96), stain=(0.40, 0.19, 0.07), support=support)


def capsule(rng: Generator, size: int) -> Scene:
    """A glossy capsule lying on white paper: an orange cap over a cream body, with a lock ring and a highlight."""
    pixel = 1 / size
    x, y, light = _pose(rng, size, turn=0.10, shift=0.022)
    tilt = -0.62  # it lies along the diagonal, where it is largest in the image
    u, v = np.cos(tilt) * x + np.sin(tilt) * y, -np.sin(tilt) * x + np.cos(tilt) * y
    seam = 0.02 + rng.normal(0, 0.004)
    cap = step(u - seam, pixel)
    thickness = 0.150 + 0.006 * cap
    beyond = np.maximum(np.abs(u) - 0.235, 0)
    distance = np.hypot(beyond, v)
    support = step(thickness - distance, pixel)

    across = np.clip(distance / thickness, 0, 1)
    round_shade = 0.42 + 0.58 * np.sqrt(1 - 0.93 * across**2)
    facing = 1 + 0.16 * np.clip(-v / thickness, -1, 1) * np.cos(light + 2.2) - 0.12 * np.clip(v / thickness, -1, 1)
    body, orange = rgb(0.95, 0.91, 0.80), rgb(0.90, 0.43, 0.12)
    gelatine = blend(body, orange * (1 + rng.normal(0, 0.012, (3, 1, 1))), cap)
    shade = round_shade * facing + 0.008 * white_noise(rng, size) + 0.012 * smooth_noise(rng, size, 0.05)
    ring = np.exp(-(((u - seam) / 0.004) ** 2)) * 0.30 + np.exp(-(((u - seam - 0.085) / 0.006) ** 2)) * 0.10
    shade = shade * (1 - ring)
    gloss = np.exp(-(((v + 0.40 * thickness) / 0.018) ** 2)) * step(0.245 - np.abs(u), 0.03)
    glossy = blend(gelatine * shade, rgb(1.0, 0.99, 0.97), 0.62 * gloss * (1 - 0.5 * ring / 0.3))

    paper = rgb(0.90, 0.90, 0.89) * (1 + 0.02 * smooth_noise(rng, size, 0.3))
    paper = paper + 0.006 * white_noise(rng, size)
    below = np.hypot(np.maximum(np.abs(u - 0.010) - 0.235, 0), v - 0.045)
    under = paper * (1 - 0.42 * step(0.150 - below, 0.06))
    colours = blend(under, glossy, support) * (1 + rng.normal(0, 0.012))
    return Scene(colours, under=under, scratch=(0.99, 0.97, 0.92), stain=(0.30, 0.16, 0.10), support=support)


def _pose(rng: Generator, size: int, turn: float, shift: float) -> tuple[Field, Field, float]:
    """Coordinates centred on the object in its own frame, and the direction of the light."""
    x, y = grid(size)
    angle = rng.uniform(-turn, turn)
    x = x - 0.5 - rng.uniform(-shift, shift)
    y = y - 0.5 - rng.uniform(-shift, shift)
    scale = 1 + rng.normal(0, 0.008)
    return (
        (np.cos(angle) * x + np.sin(angle) * y) * scale,
        (-np.sin(angle) * x + np.cos(angle) * y) * scale,
        -2.2 + rng.normal(0, 0.15),
    )


def _belt(rng: Generator, size: int) -> Colours:
    """A dark rubber belt."""
    shade = 0.17 + 0.012 * smooth_noise(rng, size, 0.006) + 0.010 * white_noise(rng, size)
    shade = shade + 0.015 * smooth_noise(rng, size, 0.3)
    return np.asarray(shade * rgb(0.96, 1.0, 1.06))
