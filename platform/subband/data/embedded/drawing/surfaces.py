"""Two surfaces without a pattern: cast concrete and rolled steel."""

from __future__ import annotations

import numpy as np

from subband.data.embedded.drawing.canvas import Generator, grid, rgb, smooth_noise, step, white_noise
from subband.data.embedded.drawing.scene import Scene


def concrete(rng: Generator, size: int) -> Scene:
    """Cast concrete: fine sand, cloudy patches, small air holes."""
    brightness, tint = rng.uniform(0.50, 0.66), rng.normal(1, 0.012, (3, 1, 1))
    light = _falling_light(rng, size)
    patches = 0.045 * smooth_noise(rng, size, 0.12) + 0.025 * smooth_noise(rng, size, 0.03)
    sand = 0.030 * smooth_noise(rng, size, 0.0025) + 0.022 * white_noise(rng, size)
    holes = step(smooth_noise(rng, size, 0.007) - 2.7, 0.4)
    colours = brightness * (1 + patches + sand + light) * (1 - 0.35 * holes) * (rgb(1.0, 0.985, 0.955) * tint)
    return Scene(colours, under=colours, scratch=(0.86, 0.85, 0.82), stain=(0.34, 0.24, 0.16))


def steel(rng: Generator, size: int) -> Scene:
    """Rolled steel: fine lines along the rolling direction, faint bands, a soft reflection."""
    brightness, tint = rng.uniform(0.52, 0.68), rng.normal(1, 0.006, (3, 1, 1))
    light = _falling_light(rng, size)
    lines = 0.045 * smooth_noise(rng, size, 0.10, 0.0016) + 0.020 * smooth_noise(rng, size, 0.03, 0.0030)
    bands = 0.035 * smooth_noise(rng, size, 0.45, 0.035)
    shade = brightness * (1 + lines + bands + 0.010 * white_noise(rng, size) + light)
    colours = shade * (rgb(0.965, 0.985, 1.01) * tint)
    return Scene(colours, under=colours, scratch=(0.95, 0.96, 0.97), stain=(0.46, 0.26, 0.12))


def _falling_light(rng: Generator, size: int) -> np.ndarray:
    """Light that falls off across the image in some direction, by up to a tenth on either side."""
    x, y = grid(size)
    angle = rng.uniform(0, 2 * np.pi)
    return np.asarray(rng.uniform(0.03, 0.2) * (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5)))
