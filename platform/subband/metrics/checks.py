"""Early, clear errors for arrays that no metric can use."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from subband.errors import DataError


def as_scores(name: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    """The values as float32 or float64, whichever holds them exactly.

    Raises:
        DataError: not real numbers.
    """
    array = np.asarray(values)
    if array.dtype in (np.float32, np.float64):
        return array
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.kind not in "iuf":
        raise DataError(f"{name} must be real numbers, not {array.dtype}")
    return array.astype(np.float64)


def as_labels(name: str, values: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Labels (0 good, 1 defective) as bool.

    Raises:
        DataError: anything else than 0 and 1, or False and True.
    """
    array = np.asarray(values)
    if array.dtype == np.bool_:
        return array
    if array.dtype.kind not in "iuf" or not np.isin(array, (0, 1)).all():
        raise DataError(f"{name} must be 0 (good) or 1 (defective)")
    return array.astype(np.bool_)


def as_masks(values: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Masks (N, H, W) as bool; in integer masks every non-zero pixel is defective.

    Raises:
        DataError: another number of axes, or fractional masks.
    """
    array = np.asarray(values)
    if array.ndim != 3:
        raise DataError(f"masks must have shape (N, H, W), not {array.shape}")
    if array.dtype == np.bool_:
        return array
    if array.dtype.kind not in "iu":
        raise DataError(
            f"masks must be bool or integers (non-zero is defective), not {array.dtype}; apply a threshold first"
        )
    defective: npt.NDArray[np.bool_] = array != 0
    return defective


def same_shape(name: str, shape: tuple[int, ...], other_name: str, other: tuple[int, ...]) -> None:
    """Raise DataError unless the two shapes are equal."""
    if shape != other:
        raise DataError(f"{name} has shape {shape} but {other_name} has shape {other}; they must be equal")


def finite(name: str, values: npt.NDArray[Any]) -> None:
    """Raise DataError, with the first place, if any value is NaN or infinite."""
    good = np.isfinite(values)
    if good.all():
        return
    first = np.unravel_index(int(np.argmin(good)), values.shape)
    place = ", ".join(str(int(i)) for i in first)
    bad = values.size - int(good.sum())
    raise DataError(f"{name}[{place}] is {values[first]}: {bad} of {values.size} values are NaN or infinite")
