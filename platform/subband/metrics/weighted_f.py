"""Weighted F-measure: errors count by where they lie (Margolin et al., CVPR 2014, beta^2 = 1)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

EPSILON = float(np.spacing(1.0))

_OFFSETS = np.arange(-3, 4)
_GAUSSIAN: Floats = np.exp(-(_OFFSETS**2) / (2 * 5.0**2))
_GAUSSIAN /= _GAUSSIAN.sum()  # 7 x 7, sigma 5, as a product of two
_DECAY = np.log(0.5) / 5


def weighted_f(values: Floats, mask: Mask) -> float:
    """Weighted F-measure of a map.

    Args:
        values: (H, W) in [0, 1].
        mask: (H, W), True on the foreground.

    Returns:
        In [0, 1]; 0 for an empty mask.
    """
    if not mask.any():
        return 0.0
    background = ~mask
    distance, nearest = ndimage.distance_transform_edt(background, return_indices=True)
    error = np.abs(values - mask)
    # A missed pixel is forgiven as far as its neighbours are hit; beyond the object, the error of its nearest pixel goes on.
    continued = error.copy()
    continued[background] = error[nearest[0][background], nearest[1][background]]
    smoothed = ndimage.convolve1d(continued, _GAUSSIAN, axis=0, mode="constant")
    smoothed = ndimage.convolve1d(smoothed, _GAUSSIAN, axis=1, mode="constant")
    missed = np.minimum(error[mask], smoothed[mask])
    # A false alarm counts from once, beside the object, up to twice, far from it.
    false_alarm = error[background] * (2 - np.exp(_DECAY * distance[background]))
    hits = len(missed) - missed.sum()
    recall = 1 - missed.mean()
    precision = hits / (hits + false_alarm.sum() + EPSILON)
    return float(2 * recall * precision / (recall + precision + EPSILON))
