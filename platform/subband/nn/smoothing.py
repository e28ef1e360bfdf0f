"""Upsampling and smoothing of anomaly maps as two small matrices.

Bilinear upsampling and separable smoothing are linear along each axis, so a whole chain of them is
``rows @ map @ columns.T`` with one matrix an axis: exact, and hundreds of times cheaper than filtering every pixel.
"""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np
import torch
from scipy.linalg import toeplitz
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

Smoothing = Literal["gaussian", "reference"]


def upsampling_matrix(size: int, length: int) -> np.ndarray:
    """(length, size) float64 matrix of bilinear resizing with half-pixel centres (align_corners=False)."""
    unit = torch.eye(size, dtype=torch.float64).view(1, size, size, 1)
    resized = torch.nn.functional.interpolate(unit, size=(length, 1), mode="bilinear", align_corners=False)
    return np.asarray(resized[0, :, :, 0].T.contiguous())


def gaussian_taps(sigma: float) -> np.ndarray:
    """Normalised samples of a Gaussian, cut off at 4 sigma: length 2 * int(4 * sigma + 0.5) + 1."""
    radius = int(4 * sigma + 0.5)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return np.asarray(taps / taps.sum())


def _zero_padded(taps: np.ndarray, length: int) -> np.ndarray:
    """Matrix of a symmetric filter that sees zeros beyond the border and keeps the length."""
    radius = len(taps) // 2
    column = np.zeros(max(length, radius + 1))
    column[: radius + 1] = taps[radius:]
    return np.asarray(toeplitz(column[:length]))


@functools.lru_cache(maxsize=256)
def smoothing_matrices(
    grid: tuple[int, int], size: tuple[int, int], sigma: float, smoothing: Smoothing
) -> tuple[Tensor, Tensor]:
    """Matrices (rows, columns) that take a map from `grid` to `size` and smooth it.

    Args:
        grid: height and width of the map.
        size: height and width of the image.
        sigma: standard deviation in pixels of the image, above 0.
        smoothing: ``gaussian`` is a Gaussian with mirrored borders. ``reference`` is what the published WE-PaDiM code
            computes in its place (specification 1.5): the Gaussian times a box of the same length, zeros beyond the border.

    Returns:
        float32 tensors (size[0], grid[0]) and (size[1], grid[1]).
    """
    operators = []
    for axis in (0, 1):
        up = upsampling_matrix(grid[axis], size[axis])
        if smoothing == "gaussian":
            smoothed = gaussian_filter1d(up, sigma, axis=0, mode="reflect", truncate=4.0)
        else:
            taps = gaussian_taps(sigma)
            gauss, box = _zero_padded(taps, size[axis]), _zero_padded(np.ones_like(taps), size[axis])
            # The published filter crops to the image after each of its two passes: Gaussian then box along the
            # height, box then Gaussian along the width. At the borders the order matters.
            smoothed = (box @ gauss if axis == 0 else gauss @ box) @ up
        operators.append(torch.from_numpy(np.ascontiguousarray(smoothed, dtype=np.float32)))
    return operators[0], operators[1]


def smooth_maps(maps_NHW: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Maps (N, h, w) taken to (N, H, W) by the two matrices of `smoothing_matrices`."""
    return rows @ maps_NHW.to(rows.dtype) @ columns.T
