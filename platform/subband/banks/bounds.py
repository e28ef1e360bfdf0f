"""Certain bounds on squared Euclidean distances that were computed by matrix products in rounded arithmetic.

Legend: N rows, P picks, D width; u the unit roundoff of the product's type.

A squared distance computed as |x|^2 + |z|^2 - 2 x.z loses its small digits where the distance is small beside the norms. The
loss is bounded: a dot product of D terms in any order of summation is wrong by at most D u / (1 - D u) |x| |z| (Higham, Accuracy
and Stability of Numerical Algorithms, section 3.1), so that every product gives an interval. A decision that the intervals leave
open is taken by `exact_squared`, the sum of squared differences in float64: this number is what "distance" means in this room, on
any machine, with any number of threads or workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

Lookup = Callable[[np.ndarray], Tensor]
"""Vectors (n, D) of the picks at these positions (n,) of the order of picking."""

INITIAL = -1
"""Position of the starting criterion, which acts as a pick that is no row."""

_PICKS_AT_ONCE = 1024
# Long dot products are summed in groups of so many terms: the bound falls by D / 256, the product is as fast.
_TERMS = 256
_NONE = -2
_PICKED = -1.0


def exact_squared(first: Tensor, second: Tensor) -> np.ndarray:
    """Squared distances (n,) between the rows of two float32 matrices (n, D): float64 sums of squared differences.

    Each row's sum depends on that row alone, not on how many rows are given.
    """
    difference = first.numpy().astype(np.float64)
    difference -= second.numpy()
    difference *= difference
    return np.asarray(difference.sum(axis=1))


@contextmanager
def full_precision() -> Iterator[None]:
    """float32 products in float32: the bounds would be wrong for TF32 or bfloat16, which a caller may have allowed."""
    before = torch.get_float32_matmul_precision()
    if before != "highest":
        torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        if before != "highest":
            torch.set_float32_matmul_precision(before)


@dataclass(frozen=True)
class Block:
    """Vectors minus a common origin (n, D), in the product's type, and their squared norms (n,) in float64."""

    vectors: Tensor
    norms: np.ndarray


@dataclass(frozen=True)
class Frame:
    """An origin (D,) near the data, which is subtracted before products because it makes the norms, hence the bounds, small."""

    origin: Tensor

    @classmethod
    def around(cls, vectors: Tensor) -> Frame:
        """The frame whose origin is the mean of these vectors (n, D)."""
        return cls(vectors.double().mean(0).float())

    def block(self, vectors: Tensor, double: bool = False, norms: np.ndarray | None = None) -> Block:
        """The block of vectors (n, D), for products in float32 or `double`; `norms` of a float32 block if they are known."""
        if double:
            moved = vectors.double() - self.origin.double()
            return Block(moved, squared_norms(moved))
        moved = vectors - self.origin
        return Block(moved, squared_norms(moved) if norms is None else norms)


def squared_norms(vectors: Tensor) -> np.ndarray:
    """Squared norms (n,) of (n, D), summed in float64."""
    return np.asarray(np.einsum("nd,nd->n", vectors.numpy(), vectors.numpy(), dtype=np.float64))


def relative_error(width: int, double: bool) -> float:
    """K such that a squared distance by `products` is wrong by at most k (|x|^2 + |z|^2), x and z relative to the origin.

    A term of the dot product takes part in at most `_TERMS` additions and one for each group of terms, the picks' share in one for
    each group; twelve roundings stand for the origin's subtraction, the scaling and the last additions. In float64 the norms are
    sums of D terms too.
    """
    unit = 2.0**-53 if double else 2.0**-24
    groups = -(-width // _TERMS)
    additions = min(width, _TERMS) + 2 * groups + (width if double else 0) + 12
    return additions * unit / (1 - additions * unit)


def float32_suffices(norms: np.ndarray, width: int, squared: float) -> bool:
    """Whether float32 products of rows of these squared norms (N,) tell distances of about this square apart, without overflow."""
    error = 2 * relative_error(width, double=False) * float(np.median(norms)) + _underflow(width, double=False)
    return squared >= 16 * error and float(norms.max()) < 1e36


def _underflow(width: int, double: bool) -> float:
    """Absolute error by products that vanish; float64 products of float32 numbers never do."""
    return 0.0 if double else 2 * width * 2.0**-126


def products(rows: Block, picks: Block) -> tuple[Tensor, np.ndarray]:
    """Upper bounds of squared distances without the rows' share, (N, P), and that share (N,), to be added in float64."""
    double = rows.vectors.dtype == torch.float64
    width = rows.vectors.shape[1]
    factor = 1 + relative_error(width, double)
    picks_share = torch.from_numpy(factor * picks.norms).to(rows.vectors.dtype)
    found = picks_share.repeat(len(rows.vectors), 1)
    with full_precision():
        for some in range(0, width, _TERMS):
            part = slice(some, some + _TERMS)
            found.addmm_(rows.vectors[:, part], picks.vectors[:, part].T, alpha=-2)
    return found, factor * rows.norms + _underflow(width, double)


def interval_width(rows: np.ndarray, picks: np.ndarray | float, width: int, double: bool) -> np.ndarray:
    """Upper minus lower bound of a squared distance, from the squared norms of both sides (broadcast)."""
    return np.asarray(2 * relative_error(width, double) * (rows + picks) + 2 * _underflow(width, double))


@dataclass
class Bounds:
    """What is known of the squared distance of n rows to the nearest of some picks.

    Attributes:
        upper: (n, 2) upper bounds for the two picks that may be the nearest, ascending; inf where there is none.
        lower: (n, 2) their lower bounds; equal to `upper` where the distance is exact.
        pick: (n, 2) their positions in the order of picking, `INITIAL` for the starting criterion.
        others: (n,) lower bound for all other picks that may be the nearest.
    """

    upper: np.ndarray
    lower: np.ndarray
    pick: np.ndarray
    others: np.ndarray

    FIELDS: ClassVar = ("upper", "lower", "pick", "others")

    @classmethod
    def unknown(cls, count: int) -> Bounds:
        """No pick was seen."""
        far = np.full((count, 2), np.inf)
        return cls(far, far.copy(), np.full((count, 2), _NONE), np.full(count, np.inf))

    @classmethod
    def single(cls, upper: np.ndarray, lower: np.ndarray, pick: np.ndarray | int) -> Bounds:
        """Bounds (n,) to picks beside which no other comes into question."""
        known = cls.unknown(len(upper))
        known.upper[:, 0], known.lower[:, 0], known.pick[:, 0] = upper, lower, pick
        return known

    @classmethod
    def exact(cls, squared: np.ndarray, pick: np.ndarray | int) -> Bounds:
        """Known squared distances (n,) to known nearest picks."""
        return cls.single(squared, squared, pick)

    @classmethod
    def joined(cls, parts: Sequence[Bounds]) -> Bounds:
        """Bounds of several groups of rows, one group after the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.FIELDS))

    def retire(self, index: np.ndarray) -> None:
        """These rows were picked and are out of the race."""
        self.upper[index] = self.lower[index] = _PICKED
        self.others[index] = np.inf

    def __getitem__(self, index: np.ndarray) -> Bounds:
        return Bounds(self.upper[index], self.lower[index], self.pick[index], self.others[index])

    def __setitem__(self, index: np.ndarray, value: Bounds) -> None:
        self.upper[index], self.lower[index] = value.upper, value.lower
        self.pick[index], self.others[index] = value.pick, value.others

    def __len__(self) -> int:
        return len(self.others)

    @property
    def farthest(self) -> np.ndarray:
        """The upper bounds (n,); picked rows, which are out of the race, have -1."""
        return self.upper[:, 0]

    @property
    def least(self) -> np.ndarray:
        """Lower bounds (n,)."""
        return np.asarray(np.minimum(self.lower.min(axis=1), self.others))

    def is_settled(self, row: int) -> bool:
        """`settled` of one row."""
        best = self.upper[row, 0]
        return bool(self.lower[row, 0] == best and self.lower[row, 1] >= best and self.others[row] >= best)

    @property
    def settled(self) -> np.ndarray:
        """(n,) whether the upper bound is the distance itself."""
        best = self.upper[:, 0]
        return np.asarray((self.lower[:, 0] == best) & (self.lower[:, 1] >= best) & (self.others >= best))


def merged(first: Bounds, second: Bounds) -> Bounds:
    """Bounds of the same rows to the picks of both, none of which is in both."""
    upper, lower, pick = (
        np.concatenate([getattr(first, name), getattr(second, name)], axis=1) for name in ("upper", "lower", "pick")
    )
    order = np.argsort(upper, axis=1, kind="stable")
    upper, lower, pick = (np.take_along_axis(part, order, axis=1) for part in (upper, lower, pick))
    others = np.minimum(np.minimum(first.others, second.others), lower[:, 2:].min(axis=1))
    # A pick that cannot be the nearest now never will be, for the upper bound only falls.
    out = lower[:, :2] > upper[:, :1]
    for part, nothing in ((upper, np.inf), (lower, np.inf), (pick, _NONE)):
        part[:, :2][out] = nothing
    return Bounds(upper[:, :2].copy(), lower[:, :2].copy(), pick[:, :2].copy(), others)


def bounds_to(rows: Block, picks: Block, first: int, seen: np.ndarray | None = None) -> Bounds:
    """Bounds of rows (N) to picks (P, at least one) that stand at positions `first`, `first` + 1, ...

    Args:
        rows: block of rows.
        picks: block of picks.
        first: position of the first of these picks.
        seen: (N,) how many picks each row has seen already; they are left out.
    """
    double = rows.vectors.dtype == torch.float64
    found, share = products(rows, picks)
    if seen is not None and (seen > first).any():
        known = torch.arange(first, first + found.shape[1]) < torch.from_numpy(seen)[:, None]
        found.masked_fill_(known, np.inf)
    kept = min(3, found.shape[1])
    nearest = found.topk(kept, dim=1, largest=False)
    upper = nearest.values.double().numpy() + share[:, None]
    which = nearest.indices.numpy()
    lower = upper - interval_width(rows.norms[:, None], picks.norms[which], rows.vectors.shape[1], double)
    if kept == 3:
        rest = upper[:, 2] - interval_width(rows.norms, picks.norms.max(), rows.vectors.shape[1], double)
    else:
        rest = np.full(len(upper), np.inf)
    bounds = Bounds.unknown(len(upper))
    count = min(2, kept)
    bounds.upper[:, :count] = np.maximum(upper[:, :count], 0)
    bounds.lower[:, :count] = np.maximum(lower[:, :count], 0)
    bounds.pick[:, :count] = np.where(np.isfinite(upper[:, :count]), which[:, :count] + first, _NONE)
    bounds.others = np.maximum(rest, 0)
    return bounds


def settle(bounds: Bounds, vectors: Tensor, lookup: Lookup, count: int, frame: Frame) -> Bounds:
    """The exact distances of rows whose bounds leave something open.

    Args:
        bounds: of n rows to `count` picks.
        vectors: these rows (n, D).
        lookup: gives the picks' vectors.
        count: picks so far.
        frame: origin for the products that find which picks come into question, where these are more than two.
    """
    best, pick = np.full(len(bounds), np.inf), np.full(len(bounds), _NONE)
    clear = bounds.others > bounds.farthest
    for slot in (0, 1):
        asked = np.flatnonzero(clear & (bounds.pick[:, slot] >= 0))
        exact = np.where(clear & (bounds.pick[:, slot] == INITIAL), bounds.upper[:, slot], np.inf)
        if len(asked):
            exact[asked] = exact_squared(_chosen(vectors, asked), lookup(bounds.pick[asked, slot]))
        better = (exact < best) | ((exact == best) & (bounds.pick[:, slot] < pick))
        best, pick = np.where(better, exact, best), np.where(better, bounds.pick[:, slot], pick)
    crowded = np.flatnonzero(~clear)
    if len(crowded):
        best[crowded], pick[crowded] = _search(bounds[crowded], _chosen(vectors, crowded), lookup, count, frame)
    return Bounds.exact(best, pick)


def _chosen(vectors: Tensor, index: np.ndarray) -> Tensor:
    # numpy's copy of a few rows does not wait for torch's threads
    return torch.from_numpy(vectors.numpy()[index])


def _search(bounds: Bounds, vectors: Tensor, lookup: Lookup, count: int, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Exact squared distance to the nearest of all picks, and its position: float64 products, then differences where close."""
    rows = frame.block(vectors, double=True)
    first_is_start = bounds.pick[:, 0] == INITIAL
    best = np.where(first_is_start, bounds.farthest, np.inf)
    pick = np.where(first_is_start, INITIAL, _NONE)
    limit = bounds.farthest.copy()
    for start in range(0, count, _PICKS_AT_ONCE):
        positions = np.arange(start, min(start + _PICKS_AT_ONCE, count))
        candidates = lookup(positions)
        block = frame.block(candidates, double=True)
        found, share = products(rows, block)
        upper = found.numpy() + share[:, None]
        lower = upper - interval_width(rows.norms[:, None], block.norms, vectors.shape[1], double=True)
        limit = np.minimum(limit, upper.min(axis=1))
        row, column = np.nonzero(lower <= limit[:, None])
        for some in range(0, len(row), _PICKS_AT_ONCE):
            r, c = row[some : some + _PICKS_AT_ONCE], column[some : some + _PICKS_AT_ONCE]
            exact = exact_squared(_chosen(vectors, r), _chosen(candidates, c))
            # The nearest of each row, among equals the earliest pick.
            order = np.lexsort((c, exact, r))
            leader = order[np.unique(r[order], return_index=True)[1]]
            leader = leader[exact[leader] < best[r[leader]]]
            best[r[leader]], pick[r[leader]] = exact[leader], positions[c[leader]]
    return best, pick
