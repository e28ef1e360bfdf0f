"""Search: queries meet a bank block by block, and keep the best rows they have met.

Rows are ordered by (distance, index), where the distance is the float64 value of the difference rounded once to float32. This order
does not depend on how the work is divided, and the best rows of two parts of a bank are the best of the best: so results of blocks,
of prefixes and of a search that goes on from an earlier one are the same bit for bit.

Suffixes: Q queries, M rows of a block, D numbers of a vector, K neighbours, P pairs of a query and a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from subband.banks.coarse import score_rounding
from subband.banks.distances import pair_distances
from subband.banks.scores import BankBlock, QueryBlock

# Side of a tile of scores. On a processor it is large enough for a fast product and small enough to be read back from a cache; on
# an accelerator a tile must outweigh the time to start its dozen kernels.
_CPU_TILE, _DEVICE_TILE = 2048, 16384

# Products into rows that do not start at multiples of this take half as long again.
_ALIGNMENT = 64

# Comparing a pair by differences costs as much as scoring this many in half precision.
_PRODUCTS_PER_COMPARISON = 256

# After so many blocks in a row where half precision left too much to compare, it is not tried again.
_COARSE_FAILURES = 2


class Neighbours(NamedTuple):
    """The nearest rows of each query, nearest first, equal distances by index.

    Attributes:
        distances: float32 (Q, K), Euclidean; infinite where fewer than K rows were allowed.
        indices: int64 (Q, K), numbers of the rows; -1 where the distance is infinite.
    """

    distances: Tensor
    indices: Tensor


class Search:
    """Queries on their way through a bank, and the best rows they have met so far.

    Args:
        queries_QD: float32, finite.
        centre_D: float32, near the middle of the bank.
        neighbours: K.
        initial: rows met already, (Q, K).
        group_Q: int64; rows of a query's own group are left out.
    """

    def __init__(
        self,
        queries_QD: Tensor,
        centre_D: Tensor,
        neighbours: int = 1,
        initial: Neighbours | None = None,
        group_Q: Tensor | None = None,
    ) -> None:
        self.queries_QD, self.group_Q, self.neighbours = queries_QD, group_Q, neighbours
        self.block = QueryBlock(queries_QD, centre_D)
        shape, device = (len(queries_QD), neighbours), queries_QD.device
        self.best = Neighbours(
            torch.full(shape, torch.inf, device=device) if initial is None else initial.distances.float().clone(),
            torch.full(shape, -1, dtype=torch.int64, device=device) if initial is None else initial.indices.clone(),
        )
        self._met_rows = initial is not None
        self._tile = torch.empty(0, device=device)
        self._coarse_failures = 0

    def add(self, bank: BankBlock, number: int, group_M: Tensor | None = None) -> None:
        """Let every query meet a block of rows.

        Args:
            bank: the rows.
            number: of the block's first row.
            group_M: int64 groups of the rows, if the queries have groups.
        """
        coarse = bank.rounded is not None and self._coarse_failures < _COARSE_FAILURES
        for start, stop in spans(0, len(self.queries_QD), tile_side(self.queries_QD.device)):
            some = slice(start, stop)
            same_group = None
            if self.group_Q is not None and group_M is not None:
                same_group = self.group_Q[some, None] == group_M
            pairs = self._coarse_pairs(bank, number, some, same_group) if coarse else None
            if pairs is None:
                coarse = False
                pairs = self._pairs(bank, number, some, same_group)
            at_query, at_row = pairs
            if len(at_query):
                distances = pair_distances(self.queries_QD[some], bank.rows_MD, at_query, at_row)
                merge(self.best, at_query + start, at_row + number, distances)
        self._coarse_failures = 0 if coarse else self._coarse_failures + 1
        self._met_rows = True

    def _pairs(self, bank: BankBlock, number: int, some: slice, same_group: Tensor | None) -> tuple[Tensor, Tensor]:
        columns = -(-len(bank.rows_MD) // _ALIGNMENT) * _ALIGNMENT
        size = (some.stop - some.start) * columns
        if self._tile.numel() < size:
            self._tile = torch.empty(size, device=self.queries_QD.device)
        out = self._tile[:size].view(-1, columns)[:, : len(bank.rows_MD)]
        with _full_precision():
            scores_QM = self.block.scores(bank, some, out)
        errors_Q = self.block.errors(bank, some)
        limits_Q = self._limits(some, number)
        if self._met_rows:
            limits_Q += errors_Q - self.block.offsets_Q[some]
        if same_group is not None:
            scores_QM.masked_fill_(same_group, torch.inf)
        found = contenders(scores_QM, errors_Q, limits_Q, self.neighbours)
        assert found is not None
        return found

    def _coarse_pairs(
        self, bank: BankBlock, number: int, some: slice, same_group: Tensor | None
    ) -> tuple[Tensor, Tensor] | None:
        """As `_pairs`, or None if so many pairs may be nearest that float32 scores cost less than comparing them."""
        assert bank.rounded is not None
        queries = self.block.rounded(bank.rounded)[some]
        errors_Q = queries.errors(bank.rounded)
        if errors_Q.isinf().any():
            return None
        limits_Q = self._limits(some, number) * bank.rounded.rounding.scale**2 + errors_Q
        with _full_precision():
            scores_QM = queries.scores(bank.rounded)
        if same_group is not None:
            scores_QM.masked_fill_(same_group, torch.inf)
        most = max(len(scores_QM), scores_QM.numel() // _PRODUCTS_PER_COMPARISON)
        return contenders(scores_QM, errors_Q, limits_Q, self.neighbours, score_rounding(scores_QM), most)

    def _limits(self, some: slice, number: int) -> Tensor:
        """Half the squared distance that a row must not exceed to be among the nearest: float64."""
        reached_Q = self.best.distances[some, -1].double()
        # A row that ties with one of a lower number loses: after a distance of 0 nothing can win.
        open_Q = (reached_Q > 0) | (self.best.indices[some, -1] >= number)
        return torch.where(open_Q, reached_Q.square() / 2, -torch.inf)


def contenders(
    scores_QM: Tensor,
    errors_Q: Tensor,
    limits_Q: Tensor,
    neighbours: int,
    rounding: float = 0.0,
    most: int | None = None,
) -> tuple[Tensor, Tensor] | None:
    """Every pair that may be among the nearest: queries (P,) and rows (P,), int64. May overwrite `scores_QM`.

    Args:
        scores_QM: infinite for a row that is left out.
        errors_Q: float64, bound on a score's error.
        limits_Q: float64, scores above this (with their error) cannot win against rows met earlier.
        neighbours: K.
        rounding: largest relative error of the scores' own format, beside `errors_Q`.
        most: with more pairs than this, give None.
    """
    rows = scores_QM.shape[1]
    limits_Q = _raised(limits_Q, rounding)
    least_Q = scores_QM.amin(dim=1).double()
    active = ((least_Q <= limits_Q) & (least_Q < torch.inf)).nonzero().squeeze(1)
    scores_QM = (scores_QM if len(active) == len(scores_QM) else scores_QM[active]).float()
    if len(active) == 0:
        return active, active
    kth_Q = least_Q[active]
    if neighbours > 1:
        few = scores_QM.topk(min(neighbours, rows), dim=1, largest=False).values
        kth_Q = few[:, -1].double() if rows >= neighbours else torch.full_like(kth_Q, torch.inf)
    reach_Q = _raised(_raised(kth_Q, rounding) + 2 * errors_Q[active], rounding)
    reach_Q = torch.minimum(limits_Q[active], reach_Q)
    # Infinite scores are left out, so the largest finite number stands for no limit.
    reach_Q = reach_Q.clamp_max(torch.finfo(torch.float32).max).float()
    if neighbours == 1:
        # Often one row is ahead of the others by more than the bound; a second look at the rest costs less than a list of all.
        first_Q = _argmin(scores_QM)
        scores_QM.scatter_(1, first_Q[:, None], torch.inf)
        shared = (scores_QM.amin(dim=1) <= reach_Q).nonzero().squeeze(1)
        if len(shared) == 0:
            return active, first_Q
        scores_QM, reach_Q = scores_QM[shared], reach_Q[shared]
    inside_QM = scores_QM <= reach_Q[:, None]
    if most is not None and int(inside_QM.sum()) > most:
        return None
    at_query, at_row = inside_QM.nonzero(as_tuple=True)
    if neighbours == 1:
        return torch.cat([active, active[shared[at_query]]]), torch.cat([first_Q, at_row])
    return active[at_query], at_row


def merge(best: Neighbours, at_query: Tensor, at_row: Tensor, distances: Tensor) -> None:
    """Let pairs (P,) take their places among the best rows (Q, K), by distance, then index; writes into `best`."""
    touched = torch.unique(at_query)  # type: ignore[no-untyped-call]
    neighbours = best.indices.shape[1]
    query = torch.cat([touched.repeat_interleave(neighbours), at_query])
    distance = torch.cat([best.distances[touched].flatten(), distances])
    row = torch.cat([best.indices[touched].flatten(), at_row])
    order = row.argsort(stable=True)
    order = order[distance[order].argsort(stable=True)]
    order = order[query[order].argsort(stable=True)]
    rank = torch.arange(len(order), device=order.device)
    rank = rank - torch.searchsorted(query[order], query[order])
    kept = order[rank < neighbours]
    best.distances[touched] = distance[kept].view(-1, neighbours)
    best.indices[touched] = row[kept].view(-1, neighbours)


def _raised(scores_Q: Tensor, rounding: float) -> Tensor:
    return torch.maximum(scores_Q * (1 + rounding), scores_Q * (1 - rounding))


def _argmin(scores_QM: Tensor) -> Tensor:
    # numpy's argmin is vectorised on processors, torch's is not: 4 times as fast on 2,000 columns.
    if scores_QM.device.type == "cpu":
        return torch.from_numpy(scores_QM.numpy().argmin(axis=1))
    return scores_QM.argmin(dim=1)


def tile_side(device: torch.device) -> int:
    """How many queries meet how many rows at once."""
    return _CPU_TILE if device.type == "cpu" else _DEVICE_TILE


def spans(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    """Spans of nearly equal length, at most `step`."""
    count = -(-(stop - start) // step)
    for number in range(count):
        yield start + number * (stop - start) // count, start + (number + 1) * (stop - start) // count


@contextmanager
def _full_precision() -> Iterator[None]:
    """Float32 products as such: a process may have allowed TF32 or bfloat16 inside them, which the bound does not cover."""
    allowed = torch.get_float32_matmul_precision()
    if allowed == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(allowed)
