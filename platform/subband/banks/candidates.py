"""One shard of rows in a farthest-first selection: what it knows of its rows, and which of them it proposes next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from subband.banks.bounds import (
    Block,
    Bounds,
    Frame,
    Lookup,
    bounds_to,
    float32_suffices,
    merged,
    settle,
    squared_norms,
)
from subband.banks.rows import Rows
from subband.errors import DataError, ParamsError

_PICKS_AT_ONCE = 1024
_LARGEST_CHUNK = 4096
_SAMPLE = 256
# Reading a row costs about as much as so many of its dot products.
READING = 24


@dataclass
class Candidates:
    """The rows of a shard that may be picked next, and a level that no other row of it exceeds.

    Attributes:
        ids: (B,) row numbers in the whole, ascending.
        vectors: (B, D) float32.
        bounds: of their squared distances to all picks so far.
        level: upper bound of every other unpicked row of the shard; -1 if there is none.
        level_id: lowest row number in the whole that has this bound.
        work: pairs of row and pick that the shard has evaluated for this proposal.
    """

    ids: np.ndarray
    vectors: Tensor
    bounds: Bounds
    level: float
    level_id: int
    work: int


class Shard:
    """Bounds of the distances of N rows to a growing list of picks; stale bounds stay upper bounds, since distances only fall.

    Args:
        rows: the shard's rows.
        offset: number of its first row in the whole.
        lookup: gives the vectors of picks by position; picks may be rows of other shards.
        initial: (N,) starting criterion in units of distance, or None.
        name: of the whole in messages.

    Raises:
        DataError: a row that is not finite.
        ParamsError: an initial criterion of wrong length, or one that is negative or not finite.
    """

    def __init__(
        self, rows: Rows, offset: int, lookup: Lookup, initial: np.ndarray | None = None, name: str = "features"
    ) -> None:
        self.rows = rows
        self.offset = offset
        self._lookup = lookup
        self.count = 0
        self.seen = np.zeros(len(rows), np.int64)
        if initial is None:
            self.bounds = Bounds.unknown(len(rows))
        else:
            self.bounds = Bounds.exact(_criterion(initial, len(rows)) ** 2, -1)
        self.frame = Frame.around(rows.take(np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).astype(np.int64)))
        self._norms = np.concatenate([squared_norms(block - self.frame.origin) for _, block in rows.blocks()])
        if not np.isfinite(self._norms).all():
            self._refuse_unless_finite(name)
        self.double = not float32_suffices(self._norms, rows.shape[1], np.inf)
        self._work = 0

    def _refuse_unless_finite(self, name: str) -> None:
        for start, block in self.rows.blocks():
            finite = np.isfinite(block.numpy()).all(axis=1)
            if not finite.all():
                wrong = self.offset + start + int(np.argmin(finite))
                raise DataError(
                    f"row {wrong} of the {name} is not finite (NaN or infinity); a bank needs finite features"
                )

    def absorb(self, ids: np.ndarray) -> None:
        """Take note of new picks (row numbers in the whole), whose vectors `lookup` must know by now."""
        self.count += len(ids)
        own = ids[(ids >= self.offset) & (ids < self.offset + len(self.rows))] - self.offset
        self.bounds.retire(own)

    def write_back(self, ids: np.ndarray, bounds: Bounds) -> None:
        """Bounds to all picks so far that were computed elsewhere, for these rows of the shard (numbers in the whole)."""
        self.bounds[ids - self.offset] = bounds
        self.seen[ids - self.offset] = self.count

    def propose(self, wanted: int) -> Candidates:
        """The `wanted` rows that are farthest from all picks; the first of the very farthest has its exact distance."""
        wanted = min(wanted, len(self.rows))
        farthest = self.bounds.farthest
        while True:
            self._refresh_top(wanted)
            first = int(np.argmax(farthest))
            if farthest[first] < 0:
                break
            if self.seen[first] < self.count:
                self.refresh(np.array([first]))
            elif not self.bounds.settled[first]:
                self._settle_near(first)
            else:
                break
        top = np.argpartition(farthest, len(farthest) - wanted)[len(farthest) - wanted :]
        if first not in top:
            top[np.argmin(farthest[top])] = first
        top = np.sort(top[(farthest[top] >= 0) & (self.seen[top] == self.count)])
        outside = farthest.copy()
        outside[top] = -1
        level_id = int(np.argmax(outside))
        work, self._work = self._work, 0
        return Candidates(
            top + self.offset,
            self.rows.take(top),
            self.bounds[top],
            float(outside[level_id]),
            level_id + self.offset,
            work,
        )

    def distances(self) -> np.ndarray:
        """Exact distance (N,) of every row to the nearest pick; 0 for picked rows."""
        unpicked = np.flatnonzero(self.bounds.farthest >= 0)
        self.refresh(unpicked[self.seen[unpicked] < self.count])
        self.settle(unpicked[~self.bounds.settled[unpicked]])
        return np.asarray(np.sqrt(np.maximum(self.bounds.farthest, 0)))

    def refresh(self, indices: np.ndarray) -> None:
        """Let these rows see all picks, by matrix products."""
        unseen = self.count - self.seen[indices]
        # Rows that have missed about as many picks go together, so that at most half of a product is wasted.
        size = np.frexp(unseen)[1]
        for group in np.unique(size[unseen > 0]):
            members = np.sort(indices[size == group])
            for some in range(0, len(members), _LARGEST_CHUNK):
                self._refresh(members[some : some + _LARGEST_CHUNK])

    def _refresh(self, chunk: np.ndarray) -> None:
        seen = self.seen[chunk]
        norms = None if self.double else self._norms[chunk]
        block = self.frame.block(self.rows.take(chunk), self.double, norms)
        bounds = self.bounds[chunk]
        for start in range(int(seen.min()), self.count, _PICKS_AT_ONCE):
            picks = self._picks(np.arange(start, min(start + _PICKS_AT_ONCE, self.count)))
            bounds = merged(bounds, bounds_to(block, picks, start, seen))
            self._work += len(chunk) * (len(picks.norms) + READING)
        self.bounds[chunk] = bounds
        self.seen[chunk] = self.count

    def _picks(self, positions: np.ndarray) -> Block:
        return self.frame.block(self._lookup(positions), self.double)

    def _refresh_top(self, wanted: int) -> None:
        """Refresh from the top until the `wanted` rows of largest bounds are all fresh."""
        chunk = int(np.clip(2 * wanted, 512, _LARGEST_CHUNK))
        farthest = self.bounds.farthest
        while True:
            fresh = (self.seen == self.count) & (farthest >= 0)
            known = farthest[fresh]
            level = -1.0 if len(known) < wanted else np.partition(known, len(known) - wanted)[len(known) - wanted]
            stale = np.flatnonzero(~fresh & (farthest > level))
            if not len(stale):
                return
            if len(stale) > chunk:
                stale = stale[np.argpartition(farthest[stale], len(stale) - chunk)[len(stale) - chunk :]]
            self.refresh(stale)

    def _settle_near(self, first: int) -> None:
        """Settle the row of largest bound, and all fresh ones that may be as far as the farthest."""
        fresh = np.flatnonzero((self.seen == self.count) & (self.bounds.farthest >= 0) & ~self.bounds.settled)
        surely = self.bounds[fresh].least.max()
        near = fresh[self.bounds.farthest[fresh] >= max(surely, 0.999 * self.bounds.farthest[first])]
        self.settle(near[:_LARGEST_CHUNK] if first in near[:_LARGEST_CHUNK] else np.array([first]))

    def settle(self, indices: np.ndarray) -> None:
        """Exact distances of these rows, which must be fresh."""
        for some in range(0, len(indices), _LARGEST_CHUNK):
            chunk = indices[some : some + _LARGEST_CHUNK]
            self.bounds[chunk] = settle(self.bounds[chunk], self.rows.take(chunk), self._lookup, self.count, self.frame)

    def choose_precision(self, squared: float) -> None:
        """Decide by the last squared radius whether products are in float32 or float64."""
        self.double = self.double or not float32_suffices(self._norms, self.rows.shape[1], squared)


def _criterion(initial: np.ndarray, count: int) -> np.ndarray:
    found = np.asarray(initial, np.float64)
    if found.shape != (count,):
        raise ParamsError(f"the initial criterion must be one number a row, shape ({count},), not {found.shape}")
    if not np.isfinite(found).all() or (found < 0).any():
        raise ParamsError("the initial criterion must be finite and not negative: it is a distance")
    return found
