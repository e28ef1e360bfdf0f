"""How many rows a coreset keeps."""

from __future__ import annotations

import math

from subband.errors import ParamsError


def coreset_size(rows: int, ratio: float | None = None, count: int | None = None, *, at_least_one: bool = False) -> int:
    """Rows that a coreset of `rows` rows keeps.

    A ratio keeps trunc(rows x ratio) in double precision, as the published WEDGE-Net and PatchCore do (29 % of 800 is 231, because
    800 * 0.29 is 231.99...).

    Args:
        rows: N, at least 1.
        ratio: above 0, at most 1.
        count: 1 to N, instead of a ratio.
        at_least_one: keep one row where the ratio leaves none, as WEDGE-Net's published code does; by default an error.

    Raises:
        ParamsError: a value out of range, both or neither given, or a ratio that leaves no row.
    """
    if rows < 1:
        raise ParamsError(f"a coreset needs at least one row to choose from, not {rows}")
    if (ratio is None) == (count is None):
        raise ParamsError("the size of a coreset is given either as a ratio or as a count")
    if count is not None:
        if not 1 <= count <= rows:
            raise ParamsError(f"count: {count} of {rows} rows cannot be kept; 1 to {rows} can")
        return count
    if ratio is None or not 0 < ratio <= 1:
        raise ParamsError(
            f"ratio: {ratio:g} is not a share of the rows; it must be above 0 and at most 1 (1 keeps all)"
        )
    size = math.trunc(rows * ratio)
    if size < 1 and not at_least_one:
        smallest = 1.001 / rows
        raise ParamsError(
            f"ratio: {ratio:g} of {rows} rows leaves none; about {smallest:.4g} keeps one, as does count=1"
        )
    return max(size, 1)
