"""Coresets that need no sight of all rows at once: greedy per shard and merged, or at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from subband.banks.kcenter import GreedyKCenter, Progress, distances_to
from subband.banks.rows import Rows
from subband.errors import ParamsError


@dataclass(frozen=True)
class MergedSelection:
    """Picks of `merged_selection`, and how good they surely are.

    Attributes:
        picks: (k,) row indices in the order of picking; shorter selections are prefixes.
        radius: true covering radius: largest distance of any of the N rows to its nearest pick.
        shard_radius: largest covering radius of a shard by the rows that it sent.
        merge_radius: covering radius of all sent rows by the picks.
    """

    picks: np.ndarray
    radius: float
    shard_radius: float
    merge_radius: float

    @property
    def bound(self) -> float:
        """What `radius` could at most have been: shard radius plus merge radius."""
        return self.shard_radius + self.merge_radius

    @property
    def factor(self) -> float:
        """The true radius is at most so many times that of the best k rows; infinite if only the merge radius is 0."""
        if self.radius == 0:
            return 1.0
        return 2 * self.radius / self.merge_radius if self.merge_radius else float("inf")


def merged_selection(
    rows: Rows, count: int, shards: int, per_shard: int | None = None, start: int = 0, progress: Progress | None = None
) -> MergedSelection:
    """Greedy k-center in every shard alone, then among the rows that the shards sent.

    How good this is. Let m rows be sent by each shard, s the largest covering radius of a shard by its own, and r that of the sent
    rows by the k picks. Any row is within s of a sent row of its shard, which is within r of a pick: the covering radius R is at
    most r + s. Compare with the smallest radius R* that k rows, or any k points, can have:

    - The k picks and the sent row farthest from them are k + 1 points, any two of which are at least r apart, for each was at least
      r from all before it when it was picked. Two of them share a nearest one of the k best centres, which is within R* of both, so
      r <= 2 R*. Hence R <= (2 R / r) R*: `factor` is known after the fact, whatever m was.
    - With m >= k the same argument in each shard gives s <= 2 R*, hence R <= 4 R* beforehand. The exact greedy selection has
      R <= 2 R*.

    Args:
        rows: N vectors, divided into shards of consecutive rows.
        count: k picks, at most N.
        shards: how many, at most N.
        per_shard: m rows that each shard sends (all of its rows if it has fewer); by default k, which the factor of 4 needs. Fewer
            cost less: N m products of vectors instead of N k.
        start: index of the first pick.
        progress: called as (rows sent so far, rows to send, radius of the shard just done).

    Raises:
        ParamsError: sizes that cannot be.
        DataError: a row that is not finite.
    """
    if not 1 <= shards <= len(rows):
        raise ParamsError(f"shards: {len(rows)} rows cannot be divided into {shards}; 1 to {len(rows)} are possible")
    if not 1 <= count <= len(rows):
        raise ParamsError(f"count: {count} of {len(rows)} rows cannot be picked; 1 to {len(rows)} can")
    if not 0 <= start < len(rows):
        raise ParamsError(f"start: row {start} does not exist; 0 to {len(rows) - 1} do")
    wanted = count if per_shard is None else per_shard
    edges = shard_edges(len(rows), shards)
    sizes = [min(wanted, stop - first) for first, stop in edges]
    if wanted < 1 or sum(sizes) < count:
        raise ParamsError(f"per_shard: {shards} shards that send {wanted} rows each cannot give {count}; send more")
    sent, shard_radius = [], 0.0
    for (first, stop), size in zip(edges, sizes, strict=True):
        own = GreedyKCenter(rows.part(first, stop), start - first if first <= start < stop else 0)
        sent.append(first + own.extend(size))
        shard_radius = max(shard_radius, float(own.radii[-1]))
        if progress is not None:
            progress(sum(map(len, sent)), sum(sizes), float(own.radii[-1]))
    union = np.concatenate(sent)
    merge = GreedyKCenter(Rows.of(rows.take(union)), int(np.flatnonzero(union == start)[0]))
    picks = union[merge.extend(count)]
    return MergedSelection(picks, float(distances_to(rows, picks).max()), shard_radius, float(merge.radii[-1]))


def shard_edges(rows: int, shards: int) -> list[tuple[int, int]]:
    """First row and end of each of so many shards of consecutive rows, whose sizes differ by at most one."""
    return [(number * rows // shards, (number + 1) * rows // shards) for number in range(shards)]


def random_order(rows: int, seed: int) -> np.ndarray:
    """One permutation (N,) of the rows; its prefixes are the random coresets of every size, each in the next larger one."""
    if rows < 1:
        raise ParamsError(f"a coreset needs at least one row to choose from, not {rows}")
    return np.random.default_rng(seed).permutation(rows)
