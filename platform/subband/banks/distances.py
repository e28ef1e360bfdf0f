"""Distances between given pairs of vectors, computed by differences: what every search here reports in the end.

``|q|^2 + |b|^2 - 2 q.b`` in float32 gives a vector a distance of up to 8e-4 to itself at 2,048 numbers, because it subtracts
large numbers that are nearly equal. Differences have no such error, but cost too much for all pairs; so products choose and
differences decide.
"""

from __future__ import annotations

import torch
from torch import Tensor

from subband.errors import DataError

FLOAT32_ROUNDING = 2.0**-24
"""Largest relative error of one float32 operation."""

LARGEST_NORM = 2.0**60
"""Above it, squared norms and their products would leave float32's range."""

# Numbers in one block of pairs. On a processor its float64 copies stay in the cache, and torch does not split such small blocks
# over threads, whose meetings would cost more than the work wherever processors are shared. An accelerator it fills.
_CPU_BLOCK, _DEVICE_BLOCK = 2**15, 2**25


def pair_distances(queries: Tensor, rows: Tensor, at_query: Tensor, at_row: Tensor) -> Tensor:
    """Euclidean distance of each pair: float32 (P,), the float64 value rounded once.

    A pair's value depends on its two vectors alone, never on which other pairs are asked for, and is exactly 0 for equal vectors.

    Args:
        queries: (Q, D) float32.
        rows: (M, D) float32, on the same device.
        at_query: (P,) int64, the query of each pair.
        at_row: (P,) int64, the row of each pair.
    """
    found = torch.empty(len(at_query), dtype=torch.float32, device=queries.device)
    step = max(1, (_CPU_BLOCK if queries.device.type == "cpu" else _DEVICE_BLOCK) // queries.shape[1])
    for start in range(0, len(at_query), step):
        pairs = slice(start, start + step)
        difference = queries.index_select(0, at_query[pairs]).double().sub_(rows.index_select(0, at_row[pairs]))
        found[pairs] = difference.square_().sum(dim=1).sqrt_().float()
    return found


def squared_norms(rows: Tensor, centre: Tensor | None = None) -> Tensor:
    """Squared length of each row, or of its difference from a centre: float64 (N,).

    Args:
        rows: (N, D) float32.
        centre: (D,) float32.
    """
    found = torch.empty(len(rows), dtype=torch.float64, device=rows.device)
    step = max(1, (_CPU_BLOCK if rows.device.type == "cpu" else _DEVICE_BLOCK) // rows.shape[1])
    for start in range(0, len(rows), step):
        block = rows[start : start + step].double()
        if centre is not None:
            block.sub_(centre)
        found[start : start + step] = block.square_().sum(dim=1)
    return found


def check_vectors(rows: Tensor, kind: str, start: int = 0) -> None:
    """Refuse vectors that have no distances.

    Args:
        rows: (N, D) float32.
        kind: what they are, for the message ("query", "bank").
        start: number of the first row, for the message.

    Raises:
        DataError: NaN, infinite or absurdly large numbers.
    """
    norms = torch.linalg.vector_norm(rows, dim=1)
    if len(norms) == 0 or norms.amax() <= LARGEST_NORM:  # NaN compares as false
        return
    bad = int((~(norms <= LARGEST_NORM)).nonzero()[0])
    what = "NaN or infinite numbers" if not rows[bad].isfinite().all() else f"a length above {LARGEST_NORM:.1g}"
    raise DataError(
        f"{kind} vector {start + bad} has {what}; the features are broken: look at the images and weights they were made from"
    )
