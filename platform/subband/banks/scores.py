"""Scores: fast products that order the rows of a bank by distance, with a proven bound on how wrong they may be.

For a query q, a row b and any centre c, ``|q - b|^2 / 2 = |b - c|^2 / 2 - (q - c).b + (terms of q alone)``: one matrix product and
stored half norms order all rows. Centring makes the numbers, and with them the rounding error, small where vectors share a large
offset, as features after a relu do. A row whose score is above the best by more than twice the bound cannot be the nearest; the few
others are compared by differences. So the answer is exact whatever precision the product runs in: precision only decides how many
rows are compared twice.

Error bound in float32 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1): a sum of n products, in any order,
with or without fused operations, errs by at most ``n u / (1 - n u)`` times the sum of absolute products, here bounded by norms.

Suffixes: Q queries, M rows of a block, D numbers of a vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from subband.banks.coarse import RoundedRows, Rounding
from subband.banks.distances import FLOAT32_ROUNDING, squared_norms

# Beside the D products: the half norm, the roundings of centre, norms, limits and of the reported distance, which may tie.
_SLACK_OPERATIONS = 24
_UNDERFLOW = 2.0**-120


@dataclass(frozen=True)
class BankBlock:
    """Consecutive rows of a bank, made ready for scoring.

    Attributes:
        rows_MD: float32.
        half_norms_M: float32, ``|b - c|^2 / 2``; infinite for a row that cannot win, since enough earlier rows equal it.
        largest_norm: of any row, or of the centre.
        largest_centred: norm of any row's difference from the centre.
        rounded: the rows in half precision, if coarse scores are wanted.
    """

    rows_MD: Tensor
    half_norms_M: Tensor
    largest_norm: float
    largest_centred: float
    rounded: RoundedRows | None

    @classmethod
    def of(
        cls,
        rows_MD: Tensor,
        centre_D: Tensor,
        keep: int,
        groups_M: Tensor | None = None,
        rounding: Rounding | None = None,
    ) -> BankBlock:
        """Prepare rows.

        Args:
            rows_MD: float32, finite.
            centre_D: float32.
            keep: so many equal rows (of one group) may win, the first ones.
            groups_M: int64 labels; rows of different groups are not interchangeable.
            rounding: half precision of coarse scores.
        """
        norms_M = squared_norms(rows_MD, centre_D)
        half_norms_M = (norms_M / 2).float()
        half_norms_M[_repeated(rows_MD, norms_M, keep, groups_M)] = torch.inf
        rounded = None
        if rounding is not None:
            rounded = RoundedRows.of_bank(rows_MD - centre_D, rounding, half_norms_M.isinf())
        largest = torch.linalg.vector_norm(rows_MD, dim=1).amax().item()
        largest = max(largest, torch.linalg.vector_norm(centre_D).item())
        return cls(rows_MD, half_norms_M, largest, norms_M.amax().sqrt().item(), rounded)


def _repeated(rows_MD: Tensor, norms_M: Tensor, keep: int, groups_M: Tensor | None) -> Tensor:
    """Rows that at least `keep` earlier rows equal; a constant background repeats its vector thousands of times."""
    order = torch.arange(len(norms_M), device=norms_M.device) if groups_M is None else groups_M.argsort(stable=True)
    order = order[norms_M[order].argsort(stable=True)]
    alike = norms_M[order[1:]] == norms_M[order[:-1]]
    if groups_M is not None:
        alike &= groups_M[order[1:]] == groups_M[order[:-1]]
    places = alike.nonzero().squeeze(1)
    if len(places) == 0:
        return order[:0]
    alike[places] = (rows_MD[order[places + 1]] == rows_MD[order[places]]).all(dim=1)
    position = torch.arange(1, len(order), device=order.device)
    start = torch.where(alike, 0, position).cummax(dim=0).values
    return order[1:][position - start >= keep]


class QueryBlock:
    """Queries made ready for scoring.

    Args:
        queries_QD: float32, finite.
        centre_D: float32.
    """

    def __init__(self, queries_QD: Tensor, centre_D: Tensor) -> None:
        self.centred_QD = queries_QD - centre_D
        self.norms_Q = torch.linalg.vector_norm(self.centred_QD, dim=1).double()
        self._centre_D = centre_D
        self._rounded: RoundedRows | None = None

    @cached_property
    def offsets_Q(self) -> Tensor:
        """What a score lacks to be half the squared distance, float64; needed from a bank's second block on."""
        return squared_norms(self.centred_QD) / 2 + self.centred_QD.double() @ self._centre_D.double()

    def rounded(self, bank: RoundedRows) -> RoundedRows:
        """The queries in half precision, rounded as a bank is."""
        if self._rounded is None or self._rounded.rounding != bank.rounding:
            self._rounded = RoundedRows.of_queries(self.centred_QD, bank.rounding)
        return self._rounded

    def scores(self, bank: BankBlock, some: slice, out: Tensor) -> Tensor:
        """Half squared distances less `offsets_Q` for some queries: float32 (Q, M), written into `out`."""
        return torch.addmm(bank.half_norms_M, self.centred_QD[some], bank.rows_MD.T, alpha=-1, out=out)

    def errors(self, bank: BankBlock, some: slice) -> Tensor:
        """No score of this block is further than this from its true value: float64 (Q,)."""
        operations = bank.rows_MD.shape[1] + _SLACK_OPERATIONS
        rate = operations * FLOAT32_ROUNDING / (1 - operations * FLOAT32_ROUNDING)
        norms_Q = self.norms_Q[some]
        magnitudes_Q = norms_Q * bank.largest_norm + (norms_Q + bank.largest_centred).square() / 2
        errors_Q: Tensor = rate * 1.02 * magnitudes_Q + operations * _UNDERFLOW
        return errors_Q
