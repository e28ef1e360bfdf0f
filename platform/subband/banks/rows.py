"""Rows: many vectors that need not lie in one array, read without copying them all."""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import numpy as np
import torch
from torch import Tensor

from subband.errors import ParamsError

# Mapped files are read-only, which torch warns of; nothing in this room writes into what it is given.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")

BLOCK_BYTES = 32_000_000
"""Default size of a block: large enough for a fast matrix product, small beside any bank."""


class Rows:
    """N vectors of D float32 numbers, held as column parts side by side, each part in chunks of rows.

    A stage's result on disk is a list of mapped chunks, and a vector may be put together from two results (gated features and the
    semantic block of WEDGE-Net). `Rows` gives blocks and single rows of the whole, so that a bank larger than memory stays mapped.

    Args:
        parts: one list of chunks a column part; a chunk is a float32 array (n, D_part) or (..., D_part), whose leading axes are
            flattened. Every part has N rows in all.

    Raises:
        ParamsError: no part, no row, or parts of different lengths or widths.
    """

    def __init__(self, parts: Sequence[Sequence[np.ndarray]]) -> None:
        self._parts = [
            [chunk.reshape(-1, chunk.shape[-1]) for chunk in part if chunk.size or chunk.shape[-1]] for part in parts
        ]
        counts = {sum(map(len, part)) for part in self._parts}
        widths = [{chunk.shape[1] for chunk in part} for part in self._parts]
        if len(counts) != 1 or any(len(width) != 1 for width in widths):
            raise ParamsError(
                f"the parts of a bank must have as many rows and each one width, not {sorted(counts)} rows and "
                f"widths {[sorted(width) for width in widths]}"
            )
        self.shape = (counts.pop(), sum(width.pop() for width in widths))
        self._starts = [[0, *accumulate(map(len, part))] for part in self._parts]

    @classmethod
    def of(cls, array: np.ndarray | Tensor) -> Rows:
        """The rows of one array (N, D)."""
        return cls([[array.numpy() if isinstance(array, Tensor) else array]])

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, indices: Sequence[int] | np.ndarray | Tensor) -> Tensor:
        """The rows of these indices in their order, copied: float32 (len(indices), D)."""
        wanted = np.asarray(indices, dtype=np.int64)
        found = np.empty((len(wanted), self.shape[1]), np.float32)
        left = 0
        for part, starts in zip(self._parts, self._starts, strict=True):
            width = part[0].shape[1]
            which = np.searchsorted(starts, wanted, side="right") - 1
            for number in np.unique(which):
                here = which == number
                found[here, left : left + width] = part[number][wanted[here] - starts[number]]
            left += width
        return torch.from_numpy(found)

    def slice(self, start: int, stop: int) -> Tensor:
        """Rows from `start` up to `stop`: float32 (stop - start, D); a view where they lie in one chunk of one part."""
        columns = [
            _between(part, starts, start, min(stop, len(self)))
            for part, starts in zip(self._parts, self._starts, strict=True)
        ]
        return torch.from_numpy(columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1))

    def part(self, start: int, stop: int) -> Rows:
        """Rows from `start` up to `stop` as rows of their own, which are views.

        Raises:
            ParamsError: no row lies there.
        """
        if not 0 <= start < min(stop, len(self)):
            raise ParamsError(f"rows {start} to {stop} of {len(self)} are none")
        return Rows(
            [
                _pieces(part, starts, start, min(stop, len(self)))
                for part, starts in zip(self._parts, self._starts, strict=True)
            ]
        )

    def blocks(self, rows: int | None = None) -> Iterator[tuple[int, Tensor]]:
        """(first row, block (n, D)) from first to last.

        Args:
            rows: of a block; by default as many as fill `BLOCK_BYTES`.
        """
        step = rows or max(1, BLOCK_BYTES // (4 * self.shape[1]))
        for start in range(0, len(self), step):
            yield start, self.slice(start, min(start + step, len(self)))


def _between(part: list[np.ndarray], starts: list[int], start: int, stop: int) -> np.ndarray:
    pieces = _pieces(part, starts, start, stop)
    if not pieces:
        return np.empty((0, part[0].shape[1]), np.float32)
    joined = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    return np.asarray(joined, np.float32)


def _pieces(part: list[np.ndarray], starts: list[int], start: int, stop: int) -> list[np.ndarray]:
    first = min(bisect_right(starts, start) - 1, len(part) - 1)
    pieces = []
    for chunk, (low, high) in zip(part[first:], list(pairwise(starts))[first:], strict=True):
        if low >= stop:
            break
        pieces.append(chunk[max(start - low, 0) : min(stop, high) - low])
    return pieces
