"""Exact greedy k-center (farthest-first) selection: the same picks as one distance pass a pick, at the cost of matrix products.

Gonzalez (1985): start somewhere, then repeatedly take the row that is farthest from all rows taken so far. The covering radius (the
largest distance of a row to its nearest pick) is at most twice that of the best possible choice of as many rows.

Done literally, every pick reads all rows once and is limited by memory. Here picks are made many at a time:

1. A row's distance only falls while picks are added, so a distance computed long ago is an upper bound. Only the B rows with the
   largest bounds are brought up to date, by one matrix product with the picks they have not seen.
2. Inside this block, with its B x B distances, the greedy choice runs on as long as the farthest row of the block is farther than
   every bound outside.
3. Products are in float32, and each gives an interval that surely holds the distance (`subband.banks.bounds`). Rows whose
   intervals overlap at the top are compared by float64 sums of squared differences; once the radius sinks to the rounding of
   float32 products, products are in float64.

So the picks are those of a float64 loop over all rows: the farthest row, among rows of equal float64 distance the one with the
lowest index. They depend on no block size, thread count or machine, and a longer selection continues a shorter one. Rows that
equal a pick come last, by index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from subband.banks.bounds import Bounds
from subband.banks.candidates import Candidates, Shard
from subband.banks.contest import Contest
from subband.banks.rows import Rows
from subband.errors import ParamsError

Progress = Callable[[int, int, float], None]
"""Called as (picked so far, wanted, covering radius)."""

FIRST_BLOCK = 256
_BLOCKS = (32, 4096)


class Source(Protocol):
    """Where the rows are: in this process, or with several workers."""

    def propose(self, wanted: int, squared_radius: float) -> list[Candidates]:
        """Of each shard the rows that may be next, about `wanted` in all."""
        ...

    def absorb(self, ids: np.ndarray, vectors: Tensor, contest: Contest | None) -> None:
        """New picks and their vectors, and the contest's rows with their bounds to all picks."""
        ...

    def lookup(self, positions: np.ndarray) -> Tensor:
        """Vectors of picks by position."""
        ...


class FarthestFirst:
    """The greedy choice over a source of candidate rows; users call `GreedyKCenter` or `subband.compute.kcenter`.

    Args:
        source: gives candidates and takes note of picks.
        count: rows in all.
        picks: made before, in order; the source must know them.
        radii: after each of these picks.
    """

    def __init__(self, source: Source, count: int, picks: Sequence[int] = (), radii: Sequence[float] = ()) -> None:
        self._source = source
        self._rows = count
        self._picks = [int(pick) for pick in picks]
        self._radii = [float(radius) for radius in radii]
        self._block = FIRST_BLOCK

    @property
    def picks(self) -> np.ndarray:
        """Row indices (k,) int64 in the order of picking."""
        return np.array(self._picks, np.int64)

    @property
    def radii(self) -> np.ndarray:
        """Covering radius (k,) float64 after each pick; it never grows."""
        return np.array(self._radii)

    def begin(self, start: int, vector: Tensor) -> None:
        """Make the first pick."""
        self._picks.append(start)
        self._source.absorb(np.array([start]), vector, None)

    def extend(self, count: int, progress: Progress | None = None) -> np.ndarray:
        """Go on until there are `count` picks in all; nothing happens if there are as many.

        Args:
            count: picks in all, 1 to N.
            progress: called after each block of picks. It may raise to interrupt: what was picked remains, and the next call
                goes on.

        Returns:
            The first `count` picks.

        Raises:
            ParamsError: a count outside its range.
        """
        if not 1 <= count <= self._rows:
            raise ParamsError(f"count: {count} of {self._rows} rows cannot be picked; 1 to {self._rows} can")
        while len(self._radii) < count:
            self._advance(count)
            if progress is not None and self._radii:
                progress(min(len(self._radii), count), count, self._radii[-1])
        return self.picks[:count]

    def _advance(self, count: int) -> None:
        if self._radii and self._radii[-1] == 0:
            self._take_copies(count)
            return
        squared_radius = self._radii[-1] ** 2 if self._radii else np.inf
        missing = count - len(self._picks)
        wanted = min(self._block, max(4 * missing, _BLOCKS[0]))
        proposals = self._source.propose(wanted, squared_radius)
        contest = Contest(proposals, self._source.lookup, len(self._picks))
        # The farthest row's distance is the covering radius of what was picked before it.
        if len(self._radii) < len(self._picks):
            self._radii.append(float(np.sqrt(max(contest.leader(), 0.0))))
        if missing <= 0:
            return
        if contest.leader() <= 0:
            self._take_copies(count)
            return
        contest.run(missing)
        made = contest.picked
        self._picks += made.ids.tolist()
        self._radii += np.sqrt(made.squared[1:]).tolist()
        self._source.absorb(made.ids, made.vectors, contest)
        self._balance(contest.work, sum(proposal.work for proposal in proposals))

    def _balance(self, contest: int, refresh: int) -> None:
        """A larger block makes more picks a round, but its own distances cost its square."""
        if contest < refresh:
            self._block = min(2 * self._block, _BLOCKS[1])
        elif contest > 4 * refresh:
            self._block = max(self._block // 2, _BLOCKS[0])

    def _take_copies(self, count: int) -> None:
        """Every row left equals a pick: the rows left, by index. The source need not know."""
        left = np.setdiff1d(np.arange(self._rows), self._picks)[: count - len(self._picks)]
        self._picks += left.tolist()
        self._radii += [0.0] * (len(self._picks) - len(self._radii))


class _Local:
    """All rows in this process."""

    def __init__(self, rows: Rows, initial: np.ndarray | None) -> None:
        self.picks: list[int] = []
        self.rows = rows
        self.shard = Shard(rows, 0, self.lookup, initial)

    def lookup(self, positions: np.ndarray) -> Tensor:
        return self.rows.take(np.array(self.picks, np.int64)[positions])

    def propose(self, wanted: int, squared_radius: float) -> list[Candidates]:
        self.shard.choose_precision(squared_radius)
        return [self.shard.propose(wanted)]

    def absorb(self, ids: np.ndarray, vectors: Tensor, contest: Contest | None) -> None:
        self.picks += ids.tolist()
        self.shard.absorb(ids)
        if contest is not None:
            self.shard.write_back(contest.ids, contest.bounds)


class GreedyKCenter(FarthestFirst):
    """Exact greedy k-center over rows that this process can read; memory grows with N, not with N x D.

    >>> import numpy as np
    >>> greedy = GreedyKCenter(Rows.of(np.array([[0.0], [1.0], [4.0], [9.0]], np.float32)))
    >>> greedy.extend(3).tolist(), greedy.radii.tolist()
    ([0, 3, 2], [9.0, 4.0, 1.0])

    Args:
        rows: N vectors.
        start: index of the first pick. The published WEDGE-Net code starts at 0.
        initial: (N,) a starting criterion in units of distance instead of a start (`subband.banks.criteria`): the first pick is
            the row where it is largest, and it counts for each row like the distance to one more pick. Then `radii` are the
            largest values of this criterion, and `covering_radius` is the true one.

    Raises:
        DataError: a row that is not finite; the message has its index.
        ParamsError: a start outside the rows, both start and initial, or a criterion that is not (N,), finite and not negative.
    """

    def __init__(self, rows: Rows, start: int | None = None, initial: np.ndarray | Tensor | None = None) -> None:
        if start is not None and initial is not None:
            raise ParamsError("a selection begins either at a start row or with an initial criterion, not with both")
        start = 0 if start is None else start
        if not 0 <= start < len(rows):
            raise ParamsError(f"start: row {start} does not exist; 0 to {len(rows) - 1} do")
        self._has_criterion = initial is not None
        self._local = _Local(rows, None if initial is None else np.asarray(initial))
        super().__init__(self._local, len(rows))
        if initial is None:
            self.begin(start, rows.take([start]))

    @property
    def distances(self) -> np.ndarray:
        """Exact distance (N,) float64 of every row to its nearest pick."""
        if self._has_criterion:
            return distances_to(self._local.rows, self.picks)
        return self._local.shard.distances()

    @property
    def covering_radius(self) -> float:
        """Largest distance of a row to its nearest pick."""
        return float(self.distances.max())

    def state(self) -> dict[str, np.ndarray]:
        """Everything a later process needs to go on, as plain arrays of N or k numbers."""
        shard = self._local.shard
        return {
            "picks": self.picks,
            "radii": self.radii,
            "known": np.array([len(self._local.picks), self._has_criterion], np.int64),
            "seen": shard.seen.copy(),
            **{name: getattr(shard.bounds, name).copy() for name in Bounds.FIELDS},
        }

    @classmethod
    def from_state(cls, rows: Rows, state: Mapping[str, np.ndarray]) -> GreedyKCenter:
        """Go on where `state` was taken; the rows must be the same.

        Args:
            rows: the same as before.
            state: a `state`; where the selection had a start and no initial criterion, picks and radii suffice, and the bounds
                are computed anew, which costs k products a row.

        Raises:
            ParamsError: a state of another number of rows.
            DataError: a row that is not finite.
        """
        if "seen" not in state:
            return cls._from_picks(rows, state)
        if len(state["seen"]) != len(rows):
            raise ParamsError(f"the state is of a selection among {len(state['seen'])} rows, not {len(rows)}")
        found = cls.__new__(cls)
        known, has_criterion = (int(number) for number in state["known"])
        found._has_criterion = bool(has_criterion)
        found._local = _Local(rows, None)
        found._local.picks = [int(pick) for pick in state["picks"][:known]]
        found._local.shard.count = known
        found._local.shard.seen = np.array(state["seen"], np.int64)
        found._local.shard.bounds = Bounds(*(np.array(state[name]) for name in Bounds.FIELDS))
        FarthestFirst.__init__(found, found._local, len(rows), state["picks"].tolist(), state["radii"].tolist())
        return found

    @classmethod
    def _from_picks(cls, rows: Rows, state: Mapping[str, np.ndarray]) -> GreedyKCenter:
        picks = np.asarray(state["picks"], np.int64)
        found = cls(rows, int(picks[0]))
        if len(picks) > 1:
            found._local.absorb(picks[1:], rows.take([]), None)
        FarthestFirst.__init__(found, found._local, len(rows), picks.tolist(), np.asarray(state["radii"]).tolist())
        return found


def distances_to(rows: Rows, picks: Sequence[int] | np.ndarray) -> np.ndarray:
    """Exact distance (N,) float64 of every row to the nearest of some of them, whoever chose them.

    Args:
        rows: N vectors.
        picks: indices of at least one row.

    Raises:
        ParamsError: no pick, or an index that is no row.
        DataError: a row that is not finite.
    """
    chosen = np.asarray(picks, np.int64)
    if not len(chosen) or chosen.min() < 0 or chosen.max() >= len(rows):
        raise ParamsError(f"picks must be indices of at least one row, from 0 to {len(rows) - 1}")
    local = _Local(rows, None)
    local.absorb(chosen, rows.take([]), None)
    return local.shard.distances()
