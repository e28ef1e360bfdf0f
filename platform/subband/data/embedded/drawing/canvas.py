"""The plane on which everything is drawn, and its noise.

Coordinates are in units of the image's side, x to the right and y downwards, both in [0, 1], so that a drawing
looks the same at every size. Arrays are float64 of shape (S, S) or (3, S, S) with colours in [0, 1]: in double
precision, the last-digit differences between math libraries do not reach the 8-bit image. Randomness comes only
from the generator that is passed in.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float64]  # (S, S)
Colours: TypeAlias = NDArray[np.float64]  # (3, S, S)
Generator: TypeAlias = np.random.Generator


@lru_cache(maxsize=4)
def grid(size: int) -> tuple[Field, Field]:
    """Coordinates (x, y) of the pixel centres; read-only, shared between drawings."""
    line = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(line, line)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def smooth_noise(rng: Generator, size: int, scale_x: float, scale_y: float | None = None) -> Field:
    """Gaussian noise of mean 0 and standard deviation 1, smoothed by a Gaussian, periodic at the borders.

    The noise is drawn on the coarsest lattice that holds its spectrum and is then interpolated by zero-padding that
    spectrum, so smooth noise is cheap, and the same at every image size.

    Args:
        rng: where the noise comes from.
        size: S, pixels per side.
        scale_x: standard deviation of the smoothing along x, in sides.
        scale_y: the same along y; by default as along x.
    """
    low, narrow = _lattice(scale_x if scale_y is None else scale_y, size), _lattice(scale_x, size)
    spectrum = np.fft.rfft2(rng.standard_normal((low, narrow)))
    spectrum *= _transfer(low, narrow, scale_x, scale_x if scale_y is None else scale_y)
    if low < size:
        padded = np.zeros((size, spectrum.shape[1]), np.complex128)
        padded[: low // 2], padded[-(low // 2) :] = spectrum[: low // 2], spectrum[-(low // 2) :]
        spectrum = padded
    noise = np.fft.irfft(np.fft.ifft(spectrum, axis=0), n=size, axis=1)
    return np.asarray(noise / max(float(noise.std()), 1e-12))


def _lattice(scale: float, size: int) -> int:
    """Points per side that hold noise of a scale: a power of two with at least 1.3 points a standard deviation."""
    points = 8
    while points * scale < 1.3:
        points *= 2
    return min(points, size)


@lru_cache(maxsize=64)
def _transfer(rows: int, columns: int, scale_x: float, scale_y: float) -> Field:
    """The Gaussian's transfer function in the layout of `numpy.fft.rfft2`, without the mean."""
    fx = np.fft.rfftfreq(columns, 1 / columns)[None, :]
    fy = np.fft.fftfreq(rows, 1 / rows)[:, None]
    transfer = np.exp(-2 * np.pi**2 * ((scale_x * fx) ** 2 + (scale_y * fy) ** 2))
    transfer[0, 0] = 0
    transfer.flags.writeable = False
    return np.asarray(transfer)


def white_noise(rng: Generator, size: int) -> Field:
    """Independent standard normal values per pixel."""
    return rng.standard_normal((size, size))


def step(field: Field, width: float) -> Field:
    """Soft step from 0 to 1 across zero, within +-width."""
    t = np.clip(field * (0.5 / width) + 0.5, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def rgb(red: float, green: float, blue: float) -> Colours:
    """One colour, shape (3, 1, 1), so that it combines with fields and images."""
    return np.array([red, green, blue]).reshape(3, 1, 1)


def blend(below: Colours, above: Colours, alpha: Field) -> Colours:
    """``above`` over ``below``, each a colour or an image, with opacity alpha (S, S)."""
    return np.asarray(below + (above - below) * alpha)


def cells(rng: Generator, size: int, count: int, jitter: float = 0.9) -> tuple[Field, Field, NDArray[np.int64]]:
    """Voronoi cells around the jittered points of a count x count lattice (Worley 1996).

    Args:
        rng: places the points.
        size: S, pixels per side.
        count: cells per side.
        jitter: 0 leaves the points on the lattice, 1 moves each anywhere in its square.

    Returns:
        Distance to the nearest point and to the second nearest, in units of a lattice square, and the number of the
        nearest point; each (S, S).
    """
    padded = count + 2
    points = 0.5 + jitter * (rng.random((2, padded * padded)) - 0.5)
    first, second = np.empty((2, size, size))
    nearest = np.empty((size, size), np.int64)
    for top in range(0, size, _BAND):  # bands that stay in the processor's cache: four times faster than the whole
        band = slice(top, top + _BAND)
        _nearest_two(points, count, size, band, first[band], second[band], nearest[band])
    return np.sqrt(first, out=first), np.sqrt(second, out=second), nearest


_BAND = 16


def _nearest_two(
    points: Field, count: int, size: int, band: slice, first: Field, second: Field, nearest: NDArray[np.int64]
) -> None:
    """Fill one band of rows with the two smallest squared distances and the number of the nearest point."""
    padded = count + 2
    x, y = (coordinate[band] * count + 1 for coordinate in grid(size))
    column, row = x.astype(np.int64), y.astype(np.int64)
    number = row * padded + column
    x, y = x - column, y - row
    first.fill(np.inf)
    second.fill(np.inf)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            neighbour = number + (down * padded + right)
            dx = points[0].take(neighbour)
            dx += right - x
            dy = points[1].take(neighbour)
            dy += down - y
            dx *= dx
            dy *= dy
            dx += dy
            np.copyto(nearest, neighbour, where=dx < first)
            np.minimum(second, np.maximum(first, dx, out=dy), out=second)
            np.minimum(first, dx, out=first)


def relief(height: Field, light_angle: float) -> Field:
    """Shading of a height map lit from a direction: the slope towards the light, in height per pixel."""
    down, right = np.gradient(height)
    return np.asarray(np.cos(light_angle) * right + np.sin(light_angle) * down)
