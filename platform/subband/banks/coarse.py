"""Scores from half-precision products, with a proven bound on how wrong they may be.

Accelerators, and some processors, multiply half-precision numbers several times as fast as float32. Vectors are centred, scaled by
a power of two and rounded; what rounding took away is measured, not estimated, for a bound tighter than the format's worst case.
Half squared norms travel as extra columns, three numbers each, so that the product is half the squared distance itself and a
rounded output costs least where it matters, at the nearest rows.

Suffixes: N vectors, Q queries, M rows of a block, D numbers of a vector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from subband.banks.distances import FLOAT32_ROUNDING
from subband.errors import ParamsError, unknown_name

Coarse = Literal["auto", "bfloat16", "float16", "none"]

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_EXTRA_COLUMNS = 8  # three of each norm, and two of zeros to keep rows aligned
_LARGEST_SCALED = 2.0**7  # half its square, doubled twice, is still below float16's 65504
_ROUNDING = {torch.float32: 0.0, torch.bfloat16: 2.0**-8}
_FLOOR = 2.0**-20


class Rounding(NamedTuple):
    """How vectors are brought to half precision.

    Attributes:
        dtype: the half-precision format.
        scale: power of two that vectors are multiplied by first, so that they lie well inside its range.
    """

    dtype: torch.dtype
    scale: float


def choose_rounding(coarse: Coarse, rows_MD: Tensor, centre_D: Tensor) -> Rounding | None:
    """The half precision of a bank, or None for float32 at once.

    Args:
        coarse: ``auto`` takes half precision where the machine multiplies it faster than float32: float16 on CUDA, bfloat16 on
            processors with AVX512-BF16 or AMX.
        rows_MD: some of the bank's rows, where products are computed.
        centre_D: the centre.

    Raises:
        ParamsError: unknown name.
    """
    legal = ("auto", *_DTYPES, "none")
    if coarse not in legal:
        raise ParamsError(unknown_name("coarse precision", coarse, legal))
    dtype = _DTYPES.get(coarse)
    if coarse == "auto" and rows_MD.device.type == "cuda":
        dtype = torch.float16
    if coarse == "auto" and rows_MD.device.type == "cpu" and _processor_has_bfloat16():
        dtype = torch.bfloat16
    if dtype is None:
        return None
    largest = max(torch.linalg.vector_norm(rows_MD - centre_D, dim=1).amax().item(), 2.0**-60)
    return Rounding(dtype, 2.0 ** (5 - math.floor(math.log2(largest))))  # lengths of up to 64


def _processor_has_bfloat16() -> bool:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check is not None and check() for check in checks)


@dataclass(frozen=True)
class RoundedRows:
    """Centred vectors in half precision.

    Attributes:
        numbers: (N, D + 8) in half precision: scaled vectors, then the columns that carry half squared norms.
        norms_N: float32, scaled lengths.
        residuals_N: float32, scaled lengths of what rounding took away.
        rounding: how they were rounded.
    """

    numbers: Tensor
    norms_N: Tensor
    residuals_N: Tensor
    rounding: Rounding

    @classmethod
    def of_queries(cls, centred_QD: Tensor, rounding: Rounding) -> RoundedRows:
        """Round queries."""
        return cls._of(centred_QD, rounding, sign=1.0)

    @classmethod
    def of_bank(cls, centred_MD: Tensor, rounding: Rounding, barred_M: Tensor) -> RoundedRows:
        """Round rows of a bank; those in `barred_M` (bool) get infinite scores."""
        rounded = cls._of(centred_MD, rounding, sign=-1.0)
        rounded.numbers[barred_M, centred_MD.shape[1] + 3] = torch.inf
        return rounded

    @classmethod
    def _of(cls, centred_ND: Tensor, rounding: Rounding, sign: float) -> RoundedRows:
        scaled_ND = centred_ND * (sign * rounding.scale)
        width = scaled_ND.shape[1]
        numbers = torch.zeros(len(scaled_ND), width + _EXTRA_COLUMNS, dtype=rounding.dtype, device=scaled_ND.device)
        numbers[:, :width] = scaled_ND
        norms_N = torch.linalg.vector_norm(scaled_ND, dim=1)
        rest_N = norms_N.double().square() / 2
        residuals_N = torch.linalg.vector_norm(scaled_ND.sub_(numbers[:, :width]), dim=1)
        own, other = (width, width + 3) if sign > 0 else (width + 3, width)
        for column in range(3):
            numbers[:, own + column] = rest_N
            rest_N = rest_N - numbers[:, own + column]
        numbers[:, other : other + 3] = 1
        return cls(numbers, norms_N, residuals_N, rounding)

    def __getitem__(self, some: slice) -> RoundedRows:
        return RoundedRows(self.numbers[some], self.norms_N[some], self.residuals_N[some], self.rounding)

    def scores(self, bank: RoundedRows) -> Tensor:
        """Scaled half squared distances (Q, M) to rows of a bank, as float32 or rounded to bfloat16."""
        if self.numbers.device.type == "cuda":
            return torch.mm(self.numbers, bank.numbers.T, out_dtype=torch.float32)
        if self.numbers.dtype == torch.bfloat16 and _processor_has_bfloat16():
            return self.numbers @ bank.numbers.T
        # The same products, exact in float32, where the machine has no such unit or rounds its sums.
        return self.numbers.float() @ bank.numbers.float().T

    def errors(self, bank: RoundedRows) -> Tensor:
        """No score, before its own rounding, is further than this from its true value: float64 (Q,)."""
        norms_Q, residuals_Q = self.norms_N.double(), self.residuals_N.double()
        largest, residual = bank.norms_N.amax().double(), bank.residuals_N.amax().double()
        operations = self.numbers.shape[1] + 24
        rate = operations * FLOAT32_ROUNDING / (1 - operations * FLOAT32_ROUNDING)
        rounding_Q = residuals_Q * largest + (norms_Q + residuals_Q) * residual
        found_Q = 1.001 * (rounding_Q + rate * 1.02 * (norms_Q + largest).square() / 2) + _FLOOR
        return torch.where((norms_Q > _LARGEST_SCALED) | (largest > _LARGEST_SCALED), torch.inf, found_Q)


def score_rounding(scores: Tensor) -> float:
    """Largest relative error of a score's own format."""
    return _ROUNDING[scores.dtype]
