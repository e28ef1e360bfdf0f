"""The greedy choice among a block of candidate rows, as long as nobody outside the block can be farther."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from subband.banks.bounds import Bounds, Frame, Lookup, float32_suffices, interval_width, merged, products, settle
from subband.banks.candidates import READING, Candidates


@dataclass(frozen=True)
class Picked:
    """Rows picked in one contest.

    Attributes:
        ids: (p,) row numbers in the whole, in the order of picking.
        vectors: (p, D).
        squared: (p,) squared distance to the picks before, when it was picked.
    """

    ids: np.ndarray
    vectors: Tensor
    squared: np.ndarray


class Contest:
    """Candidates of all shards, of which the farthest is picked again and again.

    Args:
        proposals: of the shards, in the order of their rows; the first farthest row of each has its exact distance.
        lookup: vectors of the picks made before.
        count: how many these are.
    """

    def __init__(self, proposals: Sequence[Candidates], lookup: Lookup, count: int) -> None:
        self.ids = np.concatenate([proposal.ids for proposal in proposals])
        self.vectors = torch.cat([proposal.vectors for proposal in proposals])
        self.bounds = Bounds.joined([proposal.bounds for proposal in proposals])
        self.work = 0
        # Of equal levels the lower row number, which would win.
        self._level, below = max((proposal.level, -proposal.level_id) for proposal in proposals)
        self._level_id = -below
        self._old_lookup = lookup
        self._count = count
        self._picked: list[int] = []
        self._squared: list[float] = []
        self._open: dict[int, Bounds] = {}

    @property
    def picked(self) -> Picked:
        """What was picked so far."""
        return Picked(self.ids[self._picked], self.vectors[self._picked], np.array(self._squared))

    def leader(self) -> float:
        """Squared distance of the farthest row of all, before anything is picked here; -1 if there is no row left."""
        return float(self.bounds.farthest.max(initial=-1.0))

    def run(self, limit: int) -> None:
        """Pick at most `limit` rows, at least one; stops when a row outside, or one that equals a pick, might be next."""
        farthest = self.bounds.farthest
        width = self.vectors.shape[1]
        self._frame = Frame.around(self.vectors)
        block = self._frame.block(self.vectors)
        double = not float32_suffices(block.norms, width, self.leader())
        if double:
            block = self._frame.block(self.vectors, double=True)
        self._products, self._share = products(block, block)
        # An interval's width is a sum of one share of either row.
        self._width = interval_width(block.norms, 0.0, width, double)
        self.work = len(self.ids) * (len(self.ids) + READING)
        while len(self._picked) < limit:
            first = int(np.argmax(farthest))
            if self._is_beyond_doubt(first):
                self._open[len(self._picked)] = self.bounds[np.array([first])]
            elif not self.bounds.is_settled(first):
                self._settle_near(first)
                continue
            else:
                distance = farthest[first]
                outside_is_next = distance < self._level or (
                    distance == self._level and self.ids[first] > self._level_id
                )
                if distance <= 0 or outside_is_next:
                    break
            self._pick(first)
        self._settle_open()

    def _is_beyond_doubt(self, first: int) -> bool:
        """Whether every other row is surely nearer; then the exact distance is only wanted for the radius, and can wait."""
        bounds = self.bounds
        least = min(bounds.lower[first, 0], bounds.lower[first, 1])
        return bool(
            least > max(self._level, 0.0)
            and bounds.others[first] > bounds.upper[first, 0]
            and np.count_nonzero(bounds.farthest >= least) == 1
        )

    def _settle_open(self) -> None:
        """The exact distances that could wait, all at once."""
        if self._open:
            which = np.fromiter(self._open, np.int64)
            vectors = torch.from_numpy(self.vectors.numpy()[np.array(self._picked)[which]])
            bounds = Bounds.joined(list(self._open.values()))
            exact = settle(bounds, vectors, self._lookup, self._count, self._frame).farthest
            for place, squared in zip(which, exact, strict=True):
                self._squared[place] = float(squared)
            self._open.clear()

    def _pick(self, first: int) -> None:
        position = self._count + len(self._picked)
        bounds = self.bounds
        self._picked.append(first)
        self._squared.append(float(bounds.farthest[first]))
        upper = self._products[first].numpy() + self._share[first]
        lower = upper - (self._width + self._width[first])
        near = np.flatnonzero(lower <= bounds.farthest)
        upper, lower = np.maximum(upper[near], 0), np.maximum(lower[near], 0)
        # For most rows the new pick is nearer beyond doubt, and replaces what was known.
        clear = upper < bounds[near].least
        bounds[near[clear]] = Bounds.single(upper[clear], lower[clear], position)
        unclear = near[~clear]
        if len(unclear):
            bounds[unclear] = merged(bounds[unclear], Bounds.single(upper[~clear], lower[~clear], position))
        bounds.retire(np.array([first]))

    def _settle_near(self, first: int) -> None:
        """Exact distances of all rows that may be the farthest; `first` has the largest upper bound."""
        near = np.flatnonzero(self.bounds.farthest >= self.bounds[np.array([first])].least)
        bounds = self.bounds[near]
        wanted = (bounds.farthest >= bounds.least.max()) & ~bounds.settled
        near = near[wanted]
        count = self._count + len(self._picked)
        vectors = torch.from_numpy(self.vectors.numpy()[near])
        self.bounds[near] = settle(bounds[wanted], vectors, self._lookup, count, self._frame)

    def _lookup(self, positions: np.ndarray) -> Tensor:
        old = positions < self._count
        found = np.empty((len(positions), self.vectors.shape[1]), np.float32)
        if old.any():
            found[old] = self._old_lookup(positions[old]).numpy()
        if not old.all():
            own = np.array(self._picked, np.int64)[positions[~old] - self._count]
            found[~old] = self.vectors.numpy()[own]
        return torch.from_numpy(found)
