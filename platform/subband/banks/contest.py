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
        self._frame = Frame.around(self.vectors)
        plain = self._frame.block(self.vectors)
        self._double = not float32_suffices(plain.norms, self.vectors.shape[1], self.leader())
        self._block = self._frame.block(self.vectors, double=True) if self._double else plain
        self._products, self._share = products(self._block, self._block)
        self.work = len(self.ids) * (len(self.ids) + READING)
        while len(self._picked) < limit:
            first = int(np.argmax(farthest))
            if not self.bounds[np.array([first])].settled[0]:
                self._settle_near()
                continue
            distance = farthest[first]
            outside_is_next = distance < self._level or (distance == self._level and self.ids[first] > self._level_id)
            if distance <= 0 or outside_is_next:
                return
            self._pick(first, float(distance))

    def _pick(self, first: int, squared: float) -> None:
        position = self._count + len(self._picked)
        self._picked.append(first)
        self._squared.append(squared)
        norms = self._block.norms
        upper = self._products[first].numpy() + self._share[first]
        lower = np.maximum(
            upper - interval_width(norms, norms[first], self.vectors.shape[1], self._double),
            0,
        )
        near = np.flatnonzero(lower <= self.bounds.farthest)
        new = Bounds.unknown(len(near))
        new.upper[:, 0], new.lower[:, 0], new.pick[:, 0] = np.maximum(upper[near], 0), lower[near], position
        self.bounds[near] = merged(self.bounds[near], new)
        self.bounds.retire(np.array([first]))

    def _settle_near(self) -> None:
        """Exact distances of all rows that may be the farthest."""
        least = self.bounds.least
        near = np.flatnonzero((self.bounds.farthest >= least.max()) & ~self.bounds.settled)
        count = self._count + len(self._picked)
        self.bounds[near] = settle(
            self.bounds[near], torch.from_numpy(self.vectors.numpy()[near]), self._lookup, count, self._frame
        )

    def _lookup(self, positions: np.ndarray) -> Tensor:
        old = positions < self._count
        found = np.empty((len(positions), self.vectors.shape[1]), np.float32)
        if old.any():
            found[old] = self._old_lookup(positions[old]).numpy()
        if not old.all():
            own = np.array(self._picked, np.int64)[positions[~old] - self._count]
            found[~old] = self.vectors.numpy()[own]
        return torch.from_numpy(found)
