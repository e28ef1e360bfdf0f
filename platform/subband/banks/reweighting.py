"""PatchCore's re-weighting: an image's score counts for more where its nearest bank row is itself a rare one."""

from __future__ import annotations

import torch
from torch import Tensor

from subband.banks.neighbours import Vectors, nearest
from subband.banks.rows import Rows
from subband.banks.search import Neighbours
from subband.banks.served import NearestNeighbours
from subband.errors import ParamsError


def reweighted_scores(
    queries: Tensor, found: Neighbours, bank: Vectors | NearestNeighbours, support: int = 9
) -> Tensor:
    """Image scores of PatchCore's equation 7, on unsquared distances: float32 (N,).

    With q the position of an image farthest from the bank, m* its nearest bank row, and m the `support` rows nearest to m* (m*
    among them): ``(1 - exp |q - m*| / sum_m exp |q - m|) |q - m*|``. A bank of one row has nothing to weigh by: its scores stay.

    Args:
        queries: (N, P, D) vectors of the P positions of N images.
        found: their nearest rows; of distances and indices (N, P) or (N * P, K) the first neighbour counts.
        bank: (M, D), or a bank that is served, prepared for `support` neighbours.
        support: b, from 2; fewer rows are used if the bank has fewer.

    Raises:
        ParamsError: `support` is below 2, or shapes do not fit.
    """
    if support < 2:
        raise ParamsError(
            f"re-weighting by {support} bank rows makes every score 0; use at least 2 (PatchCore: 9), or none"
        )
    images, positions, _ = queries.shape
    vectors = bank.bank if isinstance(bank, NearestNeighbours) else bank
    if found.indices.numel() % (images * positions):
        raise ParamsError(
            f"found has shape {tuple(found.indices.shape)}, which is not one result for each of {images} x {positions} positions"
        )
    distances, indices = (part.reshape(images, positions, -1)[:, :, 0] for part in found)
    scores, position = distances.max(dim=1)
    if len(vectors) < 2:
        return scores
    every = torch.arange(images, device=queries.device)
    farthest, winner = queries[every, position].float(), indices[every, position]
    rows = _take(vectors, winner)
    wanted = min(support, len(vectors))
    around = (
        bank.search(rows, wanted) if isinstance(bank, NearestNeighbours) else nearest(rows, bank, neighbours=wanted)
    )
    others = _take(vectors, around.indices.flatten()).view(images, -1, rows.shape[1]).to(queries.device)
    to_others = torch.linalg.vector_norm(farthest.double()[:, None] - others.double(), dim=2)
    to_winner = torch.linalg.vector_norm(farthest.double() - rows.to(queries.device).double(), dim=1)
    weighted: Tensor = -torch.expm1(to_winner - torch.logsumexp(to_others, dim=1)) * to_winner
    return weighted.float()


def _take(vectors: Vectors, indices: Tensor) -> Tensor:
    if isinstance(vectors, Rows):
        return vectors.take(indices.cpu())
    matrix = torch.as_tensor(vectors)
    found: Tensor = matrix[indices.to(matrix.device)].float()
    return found
