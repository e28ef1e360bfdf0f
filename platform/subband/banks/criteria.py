"""PatchCore's two starting criteria for the greedy selection: what counts as far before anything is picked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from subband.banks.bounds import exact_squared
from subband.banks.rows import Rows
from subband.errors import ParamsError


def mean_distances(rows: Rows, starts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Mean Euclidean distance (N,) float64 of every row to some starting rows, which are no picks.

    The criterion of the approximate coreset sampler in the official PatchCore code, which draws ten starting rows at random.

    Args:
        rows: N vectors.
        starts: indices of the starting rows, at least one.

    Raises:
        ParamsError: no start, or one that is no row.
    """
    chosen = np.asarray(starts, np.int64)
    if not len(chosen) or chosen.min() < 0 or chosen.max() >= len(rows):
        raise ParamsError(f"starts must be indices of at least one row, from 0 to {len(rows) - 1}")
    points = rows.take(chosen)
    found = np.zeros(len(rows))
    for first, block in rows.blocks():
        for point in points:
            found[first : first + len(block)] += np.sqrt(exact_squared(block, point[None]))
    return np.asarray(found / len(chosen))


def matrix_norms(rows: Rows) -> np.ndarray:
    """Norm (N,) float64 of every row of the N x N matrix of Euclidean distances, which is never formed.

    The criterion of the exact coreset sampler in the official PatchCore code. With S = sum of x_j and Q = sum of |x_j|^2, the
    squared norm of row i is N |x_i|^2 - 2 x_i.S + Q, relative to any origin; relative to the mean S is 0 and no digits cancel.
    """
    total = np.zeros(rows.shape[1])
    for _, block in rows.blocks():
        total += block.numpy().sum(axis=0, dtype=np.float64)
    mean = total / len(rows)
    squares = np.concatenate([np.square(block.numpy() - mean).sum(axis=1) for _, block in rows.blocks()])
    return np.asarray(np.sqrt(len(rows) * squares + squares.sum()))


def starting_rows(count: int, points: int, seed: int) -> np.ndarray:
    """Random starting rows for `mean_distances`: at most `points` different indices below `count`."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:points])
