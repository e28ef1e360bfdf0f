"""Exact nearest neighbours in a bank, for every prefix of it in one pass, in bounded memory.

Rows are ordered by (distance, index), where the distance is the float64 value of the difference rounded once to float32. This order
does not depend on how the work is divided, and the best rows of two parts of a bank are the best of the best: so results of chunks,
of prefixes and of a search that goes on from an earlier one are the same bit for bit.

Suffixes: Q queries, M rows of the bank, D numbers of a vector, K neighbours, P pairs of a query and a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from subband.banks.coarse import Coarse, choose_coarse, power_of_two_scale, score_rounding
from subband.banks.distances import check_vectors, pair_distances
from subband.banks.rows import Rows
from subband.banks.scores import BankBlock, QueryBlock
from subband.errors import ParamsError

Vectors = Tensor | np.ndarray | Rows

MEMORY = 256_000_000
"""Default working memory in bytes, beside queries, bank and results."""

# A tile of scores of this side is large enough for a fast product and small enough to be read back from a cache.
_TILE = 2048

# Comparing a pair by differences costs as much as scoring this many in half precision; so many blocks in a row may fail to save work.
_PRODUCTS_PER_COMPARISON = 256
_COARSE_FAILURES = 2

# With fewer queries, rounding the bank costs more than it saves.
_COARSE_QUERIES = 2048


class Neighbours(NamedTuple):
    """The nearest rows of each query, nearest first, equal distances by index.

    Attributes:
        distances: float32 (Q, K), Euclidean; infinite where fewer than K rows were allowed.
        indices: int64 (Q, K), numbers of the rows; -1 where the distance is infinite.
    """

    distances: Tensor
    indices: Tensor


def nearest(
    queries: Vectors,
    bank: Vectors,
    *,
    neighbours: int = 1,
    initial: Neighbours | None = None,
    offset: int = 0,
    query_group: Tensor | None = None,
    bank_group: Tensor | None = None,
    device: torch.device | str | None = None,
    coarse: Coarse = "auto",
    memory: int = MEMORY,
) -> Neighbours:
    """The nearest rows of a bank; `nearest_in_prefixes` with the whole bank as the only prefix."""
    (found,) = nearest_in_prefixes(
        queries,
        bank,
        (offset + len(bank),),
        neighbours=neighbours,
        initial=initial,
        offset=offset,
        query_group=query_group,
        bank_group=bank_group,
        device=device,
        coarse=coarse,
        memory=memory,
    )
    return found


def nearest_in_prefixes(
    queries: Vectors,
    bank: Vectors,
    prefixes: Sequence[int],
    *,
    neighbours: int = 1,
    initial: Neighbours | None = None,
    offset: int = 0,
    query_group: Tensor | None = None,
    bank_group: Tensor | None = None,
    device: torch.device | str | None = None,
    coarse: Coarse = "auto",
    memory: int = MEMORY,
) -> list[Neighbours]:
    """The nearest rows among the first k of a bank, for every k of `prefixes`, at the cost of the largest alone.

    Args:
        queries: (Q, D), read as float32.
        bank: (M, D) in the order of selection, read as float32; a `Rows` may lie on disk and be larger than memory.
        prefixes: numbers of rows, each from 1 to M (with `offset`: up to offset + M), in any order.
        neighbours: K, how many rows of each query are wanted.
        initial: what an earlier search found for these queries; its rows take part as if they came first.
        offset: number of the bank's first row, for a bank whose earlier rows `initial` has seen. Prefixes count them too.
        query_group: int64 (Q,). A row of the query's own group is left out, for instance the rows of its own picture.
        bank_group: int64 (M,), given together with `query_group`.
        device: where to compute; by default where a tensor bank or query lies, else the processor.
        coarse: precision of a first look at all pairs (see `choose_coarse`); it changes the time, never the result.
        memory: working memory in bytes, beside queries, bank and results.

    Returns:
        One result a prefix, on the device of the queries (for `Rows`: in main memory).

    Raises:
        ParamsError: empty bank; widths that differ; prefixes, neighbours, groups or `initial` that do not fit.
        DataError: NaN, infinite or absurdly large (above 2^60) vectors.
    """
    query_source, bank_source = _Source(queries, "query"), _Source(bank, "bank")
    check_widths(query_source.width, bank_source.width)
    ends = _check_prefixes(prefixes, offset, len(bank_source))
    if neighbours < 1:
        raise ParamsError(f"neighbours = {neighbours} is out of range; ask for at least 1")
    _check_groups(query_group, bank_group, len(query_source), len(bank_source))
    _check_initial(initial, len(query_source), neighbours)
    where = torch.device(device) if device is not None else bank_source.device or query_source.device or _CPU
    home = query_source.device or _CPU
    results = {
        end: Neighbours(
            torch.empty(len(query_source), neighbours, dtype=torch.float32, device=home),
            torch.empty(len(query_source), neighbours, dtype=torch.int64, device=home),
        )
        for end in ends
    }
    sizes = _Sizes.within(memory, query_source.width)
    first_rows = bank_source.read(0, min(sizes.bank_rows, len(bank_source)), where)
    centre_D = first_rows.mean(dim=0)
    dtype = choose_coarse(coarse, where)
    if coarse == "auto" and len(query_source) < _COARSE_QUERIES:
        dtype = None
    rounding = None
    if dtype is not None:
        rounding = (dtype, power_of_two_scale(torch.linalg.vector_norm(first_rows - centre_D, dim=1).amax().item()))
    del first_rows
    for start, stop in spans(0, len(query_source), sizes.query_rows):
        search = Search(
            query_source.read(start, stop, where),
            centre_D,
            neighbours,
            None if initial is None else Neighbours(*(part[start:stop].to(where) for part in initial)),
            None if query_group is None else query_group[start:stop].to(where),
        )
        if offset in results:
            _store(results[offset], start, search.best)
        done = offset
        for end in ends:
            for first, last in spans(done - offset, end - offset, sizes.bank_rows):
                groups = None if bank_group is None else bank_group[first:last].to(where)
                rows = bank_source.read(first, last, where)
                search.add(BankBlock.of(rows, centre_D, neighbours, groups, rounding), offset + first, groups)
            done = end
            _store(results[end], start, search.best)
    return [results[prefix] for prefix in prefixes]


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
        for start, stop in spans(0, len(self.queries_QD), _TILE):
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
        size = (some.stop - some.start) * len(bank.rows_MD)
        if self._tile.numel() < size:
            self._tile = torch.empty(size, device=self.queries_QD.device)
        scores_QM = self.block.scores(bank, some, out=self._tile[:size].view(-1, len(bank.rows_MD)))
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
        limits_Q = self._limits(some, number) * bank.rounded.scale**2 + errors_Q
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


_CPU = torch.device("cpu")


class _Source:
    """Queries or a bank, read block by block as checked float32."""

    def __init__(self, vectors: Vectors, kind: str) -> None:
        if not isinstance(vectors, Rows):
            vectors = torch.as_tensor(vectors)
            if vectors.ndim != 2:
                raise ParamsError(
                    f"{kind} vectors must be a matrix (count, width), not of shape {tuple(vectors.shape)}"
                )
        self.vectors, self.kind = vectors, kind
        self.width = vectors.shape[1]
        self.device = vectors.device if isinstance(vectors, Tensor) else None

    def __len__(self) -> int:
        return len(self.vectors)

    def read(self, start: int, stop: int, device: torch.device) -> Tensor:
        block = self.vectors.slice(start, stop) if isinstance(self.vectors, Rows) else self.vectors[start:stop].detach()
        block = block.to(device, torch.float32)
        check_vectors(block, self.kind, start)
        return block


class _Sizes(NamedTuple):
    query_rows: int
    bank_rows: int

    @classmethod
    def within(cls, memory: int, width: int) -> _Sizes:
        # A quarter for centred queries, an eighth for a block of the bank; the rest for a tile of scores and its candidates.
        return cls(
            max(1, memory // 4 // (4 * width)), max(1, min(memory // 8 // (4 * width), memory // 16 // (4 * _TILE)))
        )


def spans(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    """Spans of nearly equal length, at most `step`."""
    count = -(-(stop - start) // step)
    for number in range(count):
        yield start + number * (stop - start) // count, start + (number + 1) * (stop - start) // count


def _store(result: Neighbours, start: int, found: Neighbours) -> None:
    for whole, part in zip(result, found, strict=True):
        whole[start : start + len(part)] = part


def check_bank(rows: int) -> None:
    """Refuse a bank without rows."""
    if rows == 0:
        raise ParamsError("the bank is empty; it needs at least one vector")


def check_widths(queries: int, bank: int) -> None:
    """Refuse queries that are not as wide as the bank."""
    if queries != bank:
        raise ParamsError(
            f"the queries are {queries} numbers wide, the bank {bank}: they were not made by the same features. Use for both the "
            "same backbone and layers, the same semantic flag and encoder seed: a bank is of use only with the params it was fitted with"
        )


def _check_prefixes(prefixes: Sequence[int], offset: int, rows: int) -> list[int]:
    check_bank(rows)
    if offset < 0 or not prefixes or min(prefixes) < max(offset, 1) or max(prefixes) > offset + rows:
        raise ParamsError(
            f"prefixes {tuple(prefixes)} do not fit a bank with rows {offset} to {offset + rows - 1}; "
            f"each must be from {max(offset, 1)} to {offset + rows}"
        )
    return sorted(set(prefixes))


def _check_groups(query_group: Tensor | None, bank_group: Tensor | None, queries: int, rows: int) -> None:
    if (query_group is None) != (bank_group is None):
        raise ParamsError("query_group and bank_group go together: give both, or neither")
    if query_group is None or bank_group is None:
        return
    if tuple(query_group.shape) != (queries,) or tuple(bank_group.shape) != (rows,):
        raise ParamsError(
            f"groups are one label a vector: query_group must be of shape ({queries},) and bank_group ({rows},), "
            f"not {tuple(query_group.shape)} and {tuple(bank_group.shape)}"
        )


def _check_initial(initial: Neighbours | None, queries: int, neighbours: int) -> None:
    if initial is None:
        return
    shapes = [tuple(part.shape) for part in initial]
    if shapes != [(queries, neighbours)] * 2:
        raise ParamsError(
            f"initial must hold {neighbours} neighbours of each of {queries} queries, two arrays of shape "
            f"({queries}, {neighbours}), not {shapes[0]} and {shapes[1]}"
        )
