"""Which examples a figure shows."""

from __future__ import annotations

from collections.abc import Sized

import numpy as np

ROWS = 8


def spread(examples: Sized, rows: int) -> list[int]:
    """Indices of up to so many examples, evenly spread."""
    return [int(row) for row in np.unique(np.linspace(0, len(examples) - 1, rows).astype(int))]
