"""Random projections: fewer numbers a vector, so that choosing a coreset costs less. Distances are searched in full width.

PatchCore's published code maps to 128 numbers by an untrained linear layer; later ports use a sparse Johnson-Lindenstrauss map
whose width depends on the number of vectors.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from sklearn.random_projection import SparseRandomProjection, johnson_lindenstrauss_min_dim
from torch import Tensor, nn

from subband.banks.distances import check_vectors
from subband.banks.rows import Rows
from subband.errors import ParamsError

Projection = Literal["linear128", "sparse_jl", "none"]

LINEAR_WIDTH = 128
JL_DISTORTION = 0.9
"""eps of the Johnson-Lindenstrauss bound: squared distances change by at most this share, with high probability."""


def projected_width(projection: Projection, rows: int, width: int) -> int:
    """Width of vectors after a projection.

    Args:
        projection: which.
        rows: number of vectors, on which the Johnson-Lindenstrauss bound depends: 4 ln N / (eps^2 / 2 - eps^3 / 3).
        width: of a vector before.
    """
    if projection == "none":
        return width
    if projection == "linear128":
        return LINEAR_WIDTH
    return max(1, int(johnson_lindenstrauss_min_dim(rows, eps=JL_DISTORTION)))


def check_projection(projection: Projection, rows: int, width: int) -> None:
    """Refuse a projection of N = `rows` vectors of D = `width` numbers that does not make them narrower.

    Raises:
        ParamsError: it maps to more numbers than there are.
    """
    narrow = projected_width(projection, rows, width)
    if width < narrow:
        raise ParamsError(
            f"projection {projection!r} maps to {narrow} numbers, but the vectors have only {width}: choose projection 'none'"
            + (f", or 'linear128' ({LINEAR_WIDTH})" if projection == "sparse_jl" and width >= LINEAR_WIDTH else "")
        )


def projection_matrix(projection: Projection, rows: int, width: int, seed: int) -> Tensor | None:
    """The map (d, D) float32, or None where vectors stay as they are.

    Args:
        projection: ``linear128``: the weight of ``nn.Linear(D, 128, bias=False)`` right after ``torch.manual_seed(seed)``;
            ``sparse_jl``: scikit-learn's SparseRandomProjection with eps 0.9; ``none``.
        rows: number of vectors N, for ``sparse_jl``.
        width: D.
        seed: of the random numbers; no global generator is touched.

    Raises:
        ParamsError: the map would not make vectors narrower.
    """
    if projection == "none":
        return None
    check_projection(projection, rows, width)
    narrow = projected_width(projection, rows, width)
    if projection == "linear128":
        weight = torch.empty(narrow, width)
        return nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=torch.Generator().manual_seed(seed))
    sparse = SparseRandomProjection(narrow, random_state=seed).fit(np.zeros((1, width), np.float32))
    return torch.from_numpy(sparse.components_.toarray().astype(np.float32))


def project(vectors: Rows | Tensor, matrix: Tensor | None) -> np.ndarray:
    """Vectors (N, D) after a map (d, D): float32 (N, d), read block by block.

    Raises:
        ParamsError: the map is for vectors of another width.
        DataError: NaN, infinite or absurdly large vectors.
    """
    rows = vectors if isinstance(vectors, Rows) else Rows.of(vectors)
    if matrix is not None and matrix.shape[1] != rows.shape[1]:
        raise ParamsError(f"the projection is for vectors of {matrix.shape[1]} numbers, these have {rows.shape[1]}")
    found = np.empty((len(rows), rows.shape[1] if matrix is None else len(matrix)), np.float32)
    for start, block in rows.blocks():
        check_vectors(block, "feature", start)
        found[start : start + len(block)] = block if matrix is None else block @ matrix.T
    return found
