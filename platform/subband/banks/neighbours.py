"""Exact nearest neighbours in a bank, for every prefix of it in one pass, in bounded memory.

Suffixes: Q queries, M rows of the bank, D numbers of a vector, K neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from subband.banks.coarse import Coarse, choose_rounding
from subband.banks.distances import check_vectors
from subband.banks.rows import Rows
from subband.banks.scores import BankBlock
from subband.banks.search import Neighbours, Search, spans, tile_side
from subband.errors import ParamsError

Vectors = Tensor | np.ndarray | Rows

_CPU_MEMORY, _DEVICE_MEMORY = 2**28, 2**33

# With fewer queries, rounding the bank costs more than it saves.
_COARSE_QUERIES = 512


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
    memory: int | None = None,
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
    memory: int | None = None,
) -> list[Neighbours]:
    """The nearest rows among the first k of a bank, for every k of `prefixes`, at the cost of the largest alone.

    Args:
        queries: (Q, D), read as float32.
        bank: (M, D) in the order of selection, read as float32; a `Rows` may lie on disk and be larger than memory.
        prefixes: numbers of rows, each from 1 to M (with `offset`: up to offset + M), in any order.
        neighbours: K, how many rows of each query are wanted.
        initial: what an earlier search found for these queries; its rows take part as if they came first.
        offset: number of the bank's first row, for a bank whose earlier rows `initial` has seen. Prefixes count them too.
        query_group: int64 (Q,). A row of the query's own group is left out, for instance the rows of its own image.
        bank_group: int64 (M,), given together with `query_group`.
        device: where to compute; by default where a tensor bank or query lies, else the processor.
        coarse: precision of a first look at all pairs (see `choose_rounding`); it changes the time, never the result.
        memory: working memory in bytes, beside queries, bank and results; by default 256 MiB, on an accelerator 8 GiB.

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
    sizes = _Sizes.within(memory, query_source.width, where)
    first_rows = bank_source.read(0, min(sizes.bank_rows, len(bank_source)), where)
    centre_D = first_rows.mean(dim=0)
    few = coarse == "auto" and len(query_source) < _COARSE_QUERIES
    rounding = choose_rounding("none" if few else coarse, first_rows, centre_D)
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
    def within(cls, memory: int | None, width: int, device: torch.device) -> _Sizes:
        if memory is None:
            memory = _CPU_MEMORY if device.type == "cpu" else _DEVICE_MEMORY
        # Queries and their centred and rounded copies; a block of the bank and the same; the rest for a tile and its candidates.
        vectors, side = memory // (4 * width), tile_side(device)
        return cls(max(1, vectors // 4), max(1, min(vectors // 12, memory // 16 // (4 * side), side)))


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
            f"the queries are {queries} numbers wide, the bank {bank}: they are other features. A bank is of use only with "
            "the params it was fitted with: the same backbone, layers and semantic flag (and encoder seed, which no width shows)"
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
