"""S-measure: how alike the structures of a map and a mask are (Fan et al., ICCV 2017, alpha 0.5).

Two corner cases have no value in the published evaluation code, which lets NaN through and reports 0: an object or a background of
one pixel (it has no standard deviation), and a foreground centroid in the last row or column (two of the four blocks are empty).
Here a single pixel has deviation 0 and an empty block has weight 0, unless the published 0 is asked for.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

EPSILON = float(np.spacing(1.0))


def s_measure(values: Floats, mask: Mask, strict_reference: bool = False) -> float:
    """Half the object score plus half the region score, at least 0.

    Args:
        values: (H, W) in [0, 1].
        mask: (H, W), True on the foreground.
        strict_reference: give 0 in the corner cases named above, as published figures do.

    Returns:
        In [0, 1]; of an empty mask 1 minus the mean of the map, of a full one the mean.
    """
    share = float(mask.mean())
    if share == 0:
        return 1 - float(values.mean())
    if share == 1:
        return float(values.mean())
    pieces = values[mask], 1 - values[~mask]
    row, column = _cut(mask)
    blocks = [
        (values[rows, columns], mask[rows, columns])
        for rows in (slice(0, row), slice(row, None))
        for columns in (slice(0, column), slice(column, None))
    ]
    if strict_reference and (any(len(piece) == 1 for piece in pieces) or any(block.size <= 1 for block, _ in blocks)):
        return 0.0
    object_score = share * _uniformity(pieces[0]) + (1 - share) * _uniformity(pieces[1])
    region_score = sum(block.size / mask.size * _similarity(block, part) for block, part in blocks if block.size)
    return max(0.0, 0.5 * object_score + 0.5 * region_score)


def _cut(mask: Mask) -> tuple[int, int]:
    """Rows above and columns left of the cut: the rounded centroid of the foreground belongs to the first block."""
    by_row, by_column = mask.sum(axis=1), mask.sum(axis=0)
    total = by_row.sum()
    centre = (float(counts @ np.arange(len(counts)) / total) for counts in (by_row, by_column))
    row, column = (round(place) + 1 for place in centre)
    return row, column


def _uniformity(values: Floats) -> float:
    """How high and even the values are: 2 m / (m^2 + 1 + s)."""
    mean = float(values.mean())
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return 2 * mean / (mean**2 + 1 + deviation + EPSILON)


def _similarity(values: Floats, mask: Mask) -> float:
    """Structural similarity of one block, without stabilising constants; 1 where both are constant."""
    x, y = float(values.mean()), float(mask.mean())
    from_x, from_y = values - x, mask - y
    degrees = max(values.size - 1, 1)
    above = 4 * x * y * float((from_x * from_y).sum() / degrees)
    below = (x**2 + y**2) * float((from_x**2).sum() / degrees + (from_y**2).sum() / degrees)
    if above != 0:
        return above / (below + EPSILON)
    return 1.0 if below == 0 else 0.0
