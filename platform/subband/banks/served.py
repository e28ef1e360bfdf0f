"""The bank inside a deployed detector: a torch module that is ready for the next image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from subband.banks.coarse import Coarse, choose_rounding
from subband.banks.distances import check_vectors
from subband.banks.neighbours import check_bank, check_widths
from subband.banks.scores import BankBlock
from subband.banks.search import Neighbours, Search, spans, tile_side
from subband.errors import ParamsError

_COARSE_ROWS = 512


class NearestNeighbours(nn.Module):
    """Distances to the nearest row of a fixed bank, with the results of `nearest`.

    The bank is the only saved buffer; what is derived from it is made again when it is loaded. Traced by ``torch.export`` it runs
    without the second comparison, since the number of near ties would depend on the data: distances are still computed by
    differences, but of rows that are equally near up to float32 rounding any may be taken.

    Args:
        bank: (M, D), kept as float32.
        neighbours: the most that `search` will be asked for.
        coarse: precision of a first look, as for `nearest`; half precision keeps half as much memory again as the bank.

    Raises:
        ParamsError: empty bank.
        DataError: NaN, infinite or absurdly large rows.
    """

    bank: Tensor
    centre: Tensor
    half_norms: Tensor

    def __init__(self, bank: Tensor, neighbours: int = 1, coarse: Coarse = "auto") -> None:
        super().__init__()
        self.neighbours = neighbours
        self._coarse: Coarse = coarse
        check_bank(len(bank))
        self.register_buffer("bank", bank.detach().float())
        self.register_buffer("centre", torch.empty(0), persistent=False)
        self.register_buffer("half_norms", torch.empty(0), persistent=False)
        self._prepare()
        self.register_load_state_dict_post_hook(_prepare_again)  # type: ignore[no-untyped-call]

    def forward(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Distances float32 (N, P) and row numbers int64 (N, P) of vectors (N, P, D).

        Raises:
            ParamsError: vectors of another width than the bank's.
            DataError: NaN, infinite or absurdly large vectors.
        """
        check_widths(queries.shape[-1], self.bank.shape[1])
        flat = queries.detach().reshape(-1, queries.shape[-1]).float()
        if torch.compiler.is_exporting():
            distances, indices = self._without_second_comparison(flat)
        else:
            distances, indices = self.search(flat)
        return distances.view(queries.shape[:-1]), indices.view(queries.shape[:-1])

    def search(self, queries: Tensor, neighbours: int = 1) -> Neighbours:
        """The nearest rows of vectors (Q, D).

        Raises:
            ParamsError: more neighbours than the bank was prepared for.
            DataError: NaN, infinite or absurdly large vectors.
        """
        if not 1 <= neighbours <= self.neighbours:
            raise ParamsError(
                f"neighbours = {neighbours} is out of range; this bank was prepared for 1 to {self.neighbours}"
            )
        check_vectors(queries, "query")
        found = Search(queries, self.centre, neighbours)
        for start, block in self._blocks:
            found.add(block, start)
        return found.best

    def _without_second_comparison(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        indices = torch.addmm(self.half_norms, queries - self.centre, self.bank.T, alpha=-1).argmin(dim=1)
        difference = queries.double() - self.bank[indices].double()
        return difference.square().sum(dim=1).sqrt().float(), indices

    def _prepare(self) -> None:
        check_vectors(self.bank, "bank")
        side = tile_side(self.bank.device)
        self.centre = self.bank[:side].mean(dim=0)
        # Rounding the queries of one image costs more than a small bank's products save.
        coarse = "none" if self._coarse == "auto" and len(self.bank) < _COARSE_ROWS else self._coarse
        rounding = choose_rounding(coarse, self.bank[:side], self.centre)
        self._blocks = [
            (start, BankBlock.of(self.bank[start:stop], self.centre, self.neighbours, rounding=rounding))
            for start, stop in spans(0, len(self.bank), side)
        ]
        self.half_norms = torch.cat([block.half_norms_M for _, block in self._blocks])

    def _apply(self, *arguments: Any, **options: Any) -> NearestNeighbours:
        # A move to another device replaces the buffers, of which the blocks are views.
        super()._apply(*arguments, **options)  # type: ignore[no-untyped-call]
        self._prepare()
        return self


def _prepare_again(module: nn.Module, _: Any) -> None:
    assert isinstance(module, NearestNeighbours)
    module._prepare()
