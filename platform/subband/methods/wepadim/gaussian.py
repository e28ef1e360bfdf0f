"""One Gaussian per grid position, and squared Mahalanobis distances for every regularisation from one factorisation.

Shapes: P grid positions, N fitted images, M scored images, D channels, R kept directions (at most min(N, D)).

With X the centred training vectors of a position (N x D) and e the regularisation, the covariance is X^T X / N + e I.
Split a centred test vector z into its part in the span of X, with coordinates c_j along the eigenvectors of the covariance
(variances v_j), and the residual outside::

    d2 = sum_j c_j^2 / (v_j + e)  +  |residual|^2 / e

Both terms are positive, and neither the coordinates nor the residual depend on e. They follow from N x N inner
products alone (dual form, Woodbury's identity) or from the D x D covariance (primal form), whichever is smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from subband.errors import DataError

_RANK_TOLERANCE = 1e-12
_BLOCK_BYTES = 256e6


@dataclass(frozen=True)
class Spectrum:
    """What the distances of every regularisation follow from (float64).

    Attributes:
        variances_PR: eigenvalues of the covariance without regularisation, 0 where a direction is not used.
        energies_PRM: squared coordinates of the test vectors along the eigenvectors.
        residual_PM: squared length of what lies outside the span.
    """

    variances_PR: Tensor
    energies_PRM: Tensor
    residual_PM: Tensor

    def squared_distances(self, regularisation: float) -> Tensor:
        """Squared Mahalanobis distances (M, P) under ``covariance + regularisation * I``."""
        inside = (self.energies_PRM / (self.variances_PR + regularisation).unsqueeze(-1)).sum(dim=1)
        return (inside + self.residual_PM / regularisation).T


def inner_products(fit_PND: Tensor, query_PMD: Tensor) -> tuple[Tensor, Tensor]:
    """Inner products after centring on the training mean: sums over channels, hence additive over layers and subbands.

    Args:
        fit_PND: training vectors.
        query_PMD: test vectors.

    Returns:
        (P, N, N + M) products of the centred training vectors with themselves and with the centred test vectors, and (P, M)
        squared lengths of the centred test vectors; float64.
    """
    count, queries = fit_PND.shape[1], query_PMD.shape[1]
    gram = torch.empty(len(fit_PND), count, count + queries, dtype=torch.float64)
    energy = torch.empty(len(fit_PND), queries, dtype=torch.float64)
    for block in position_blocks(len(fit_PND), (count + queries) * fit_PND.shape[2] * 8):
        fit, query = _contiguous(fit_PND[block]), _contiguous(query_PMD[block])
        mean = fit.mean(dim=1, keepdim=True)
        fit -= mean
        query -= mean
        gram[block, :, :count] = fit @ fit.mT
        gram[block, :, count:] = fit @ query.mT
        energy[block] = query.square().sum(dim=2)
    return gram, energy


def dual_spectrum(gram_PNK: Tensor, energy_PM: Tensor) -> Spectrum:
    """Spectrum from the inner products of `inner_products` (dual form, N x N)."""
    count = gram_PNK.shape[1]
    values, vectors = torch.linalg.eigh(gram_PNK[:, :, :count])
    used = values > _RANK_TOLERANCE * values[:, -1:].clamp_min(torch.finfo(torch.float64).tiny)
    projections = vectors.mT @ gram_PNK[:, :, count:]
    energies = projections.square() / torch.where(used, values, torch.inf).unsqueeze(-1)
    residual = (energy_PM - energies.sum(dim=1)).clamp_min(0)
    return Spectrum(torch.where(used, values, 0) / count, energies, residual)


def primal_spectrum(fit_PND: Tensor, query_PMD: Tensor) -> Spectrum:
    """Spectrum from the vectors themselves through the D x D covariance (primal form, for N > D)."""
    mean = fit_PND.double().mean(dim=1, keepdim=True)
    fit = fit_PND.double() - mean
    values, vectors = torch.linalg.eigh(fit.mT @ fit / fit.shape[1])
    energies = (vectors.mT @ (query_PMD.double() - mean).mT).square()
    return Spectrum(values.clamp_min(0), energies, energies.new_zeros(energies.shape[0], energies.shape[2]))


def spectrum(fit_PND: Tensor, query_PMD: Tensor) -> Spectrum:
    """Spectrum in whichever form is smaller, some positions at a time."""
    count, channels = fit_PND.shape[1:]
    parts = []
    for block in position_blocks(
        len(fit_PND), (count + query_PMD.shape[1]) * channels * 8 + 3 * min(count, channels) ** 2 * 8
    ):
        if count > channels:
            parts.append(primal_spectrum(fit_PND[block], query_PMD[block]))
        else:
            parts.append(dual_spectrum(*inner_products(fit_PND[block], query_PMD[block])))
    return Spectrum(
        torch.cat([part.variances_PR for part in parts]),
        torch.cat([part.energies_PRM for part in parts]),
        torch.cat([part.residual_PM for part in parts]),
    )


@dataclass(frozen=True)
class Gaussians:
    """The fitted Gaussians of all positions, ready to score.

    Attributes:
        mean_PD: training means; float64, because features may lie far from 0 compared with how little they vary.
        basis_PRD: orthonormal directions in which the training vectors vary (float32).
        variances_PR: variance along each (float32).
    """

    mean_PD: Tensor
    basis_PRD: Tensor
    variances_PR: Tensor

    def squared_distances(self, query_PMD: Tensor, regularisation: float) -> Tensor:
        """Squared Mahalanobis distances (M, P) of test vectors."""
        centred = (query_PMD.double() - self.mean_PD.unsqueeze(1)).to(self.basis_PRD.dtype)
        coordinates = centred @ self.basis_PRD.mT
        residual = (centred - coordinates @ self.basis_PRD).square().sum(dim=2)
        inside = (coordinates.square() / (self.variances_PR + regularisation).unsqueeze(1)).sum(dim=2)
        return (inside + residual / regularisation).T


def fit_gaussians(fit_PND: Tensor, regularisation: float, groups: Sequence[int] = ()) -> tuple[Gaussians, Tensor]:
    """Fit every position, and score every training image by the fit to all the others.

    Leaving image i out changes the mean and removes one rank-one term from the covariance, so the left-out distance has a closed
    form. With a = x_i^T M^-1 x_i for the centred x_i and M = X^T X / N + e (N - 1) / N I (Sherman-Morrison)::

        d2 = N / (N - 1) * a / (1 - a / (N - 1))

    which is exactly what a fit to the N - 1 others with regularisation e would give. No image is scored by a fit that has seen it,
    and no good image is spent on a separate calibration set. Images of one group are left out together, see `_groups_left_out`.

    Args:
        fit_PND: training vectors, N >= 2.
        regularisation: e, above 0.
        groups: N numbers, equal for images that belong together; empty where each stands alone.

    Returns:
        The Gaussians, and (N, P) left-out squared distances (float64).

    Raises:
        DataError: all images belong together.
    """
    together = _together(groups)
    positions, count, channels = fit_PND.shape
    reduced = regularisation * (count - 1) / count
    means, bases, variances, left_out = [], [], [], []
    for block in position_blocks(positions, count * channels * 8 + 3 * min(count, channels) ** 2 * 8):
        fit = fit_PND[block].double()
        mean = fit.mean(dim=1, keepdim=True)
        fit = fit - mean
        if count > channels:
            values, vectors = torch.linalg.eigh(fit.mT @ fit)
            basis = vectors.mT
        else:
            values, vectors = torch.linalg.eigh(fit @ fit.mT)
            floor = _RANK_TOLERANCE * values[:, -1:].clamp_min(torch.finfo(torch.float64).tiny)
            scale = torch.where(values > floor, values, torch.inf).rsqrt()
            basis = scale.unsqueeze(-1) * (vectors.mT @ fit)
            values = torch.where(values > floor, values, 0)
        spread = values.clamp_min(0) / count
        coordinates = fit @ basis.mT
        outside = (fit - coordinates @ basis).square().sum(dim=2)
        leverage = (coordinates.square() / (spread + reduced).unsqueeze(1)).sum(dim=2) + outside / reduced
        remaining = (1 - leverage / (count - 1)).clamp_min(torch.finfo(torch.float64).eps)
        distances = count / (count - 1) * leverage / remaining
        for members in together:
            rest = fit[:, members] - coordinates[:, members] @ basis
            distances[:, members] = _group_left_out(coordinates[:, members], rest, spread, regularisation, count)
        left_out.append(distances)
        means.append(mean.squeeze(1))
        bases.append(basis.float())
        variances.append(spread.float())
    return Gaussians(torch.cat(means), torch.cat(bases), torch.cat(variances)), torch.cat(left_out).T


def _together(groups: Sequence[int]) -> list[list[int]]:
    """Places of the images of each group of more than one."""
    members: dict[int, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    if len(members) == 1 and len(groups) > 1:
        raise DataError(
            f"all {len(groups)} training images belong together (copies, near copies or one group), so none can be scored by a fit "
            "that has not seen it; add images of other pieces"
        )
    return [places for places in members.values() if len(places) > 1]


def _group_left_out(
    coordinates_PgR: Tensor, rest_PgD: Tensor, spread_PR: Tensor, regularisation: float, count: int
) -> Tensor:
    """Squared distances (P, g) of a group's g images by the fit to the N - g others, in closed form.

    With X_G the centred vectors of the group, A = X^T X and M = A + e (N - g) I, the covariance of the others about their own mean
    is (M - X_G^T B X_G) / (N - g) with B = I + 1 1^T / (N - g), and image i lies at X_G^T B e_i from that mean. With the g x g
    matrix K = X_G M^-1 X_G^T, Woodbury's identity gives

        d2_i = (N - g) [B K (I - B K)^-1 B]_ii

    of which the formula in `fit_gaussians` is the case g = 1.
    """
    size = coordinates_PgR.shape[1]
    others = count - size
    reduced = regularisation * others / count
    scaled = coordinates_PgR / (spread_PR + reduced).unsqueeze(1)
    inner = (scaled @ coordinates_PgR.mT + rest_PgD @ rest_PgD.mT / reduced) / count
    identity = torch.eye(size, dtype=inner.dtype, device=inner.device)
    weights = identity + 1 / others
    product = weights @ inner
    removed = torch.linalg.solve(identity - product, product, left=False)
    distances: Tensor = others * (removed @ weights).diagonal(dim1=1, dim2=2)
    return distances.clamp_min(0)


def _contiguous(vectors: Tensor) -> Tensor:
    """A float64 copy with channels last in memory, in one pass."""
    return vectors.to(torch.float64, memory_format=torch.contiguous_format, copy=True)


def position_blocks(positions: int, bytes_each: float) -> list[slice]:
    """Slices of positions whose working memory stays near 256 MB."""
    step = max(1, int(_BLOCK_BYTES / max(bytes_each, 1)))
    return [slice(start, min(start + step, positions)) for start in range(0, positions, step)]
