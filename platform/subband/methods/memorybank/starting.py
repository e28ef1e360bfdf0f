"""How a greedy selection starts, by the param `coreset_start`."""

from __future__ import annotations

import numpy as np

from subband.banks import Rows, matrix_norms, mean_distances, starting_rows
from subband.methods.memorybank.params import CoresetStart

STARTING_ROWS = 10


def starting_point(rows: Rows, start: CoresetStart, seed: int) -> tuple[int | None, np.ndarray | None]:
    """The first pick, or the criterion (N,) that stands for distances before there is one.

    Args:
        rows: N vectors.
        start: ``first`` picks vector 0; ``approximate`` and ``norms`` are PatchCore's two samplers.
        seed: of the ten random vectors of ``approximate``.
    """
    if start == "first":
        return 0, None
    if start == "approximate":
        return None, mean_distances(rows, starting_rows(len(rows), STARTING_ROWS, seed))
    return None, matrix_norms(rows)
