"""From distances to the bank to maps and image scores; the stages and the deployed detector use the same functions.

Shapes: Q cells or N images of P cells each on a grid of h x w, K nearest bank vectors a cell.
"""

from __future__ import annotations

import torch
from torch import Tensor

from subband.nn.smoothing import smooth_maps, smoothing_matrices


def cell_scores(distances_QK: Tensor, distance: str) -> Tensor:
    """Scores (Q,) of cells from Euclidean distances to their K nearest bank vectors, ascending: the mean of the distances or of
    their squares (PatchCore's official index returns squares).
    """
    return (distances_QK.square() if distance == "squared" else distances_QK).mean(dim=1)


def operators(side: int, image_size: int, sigma: float) -> tuple[Tensor, Tensor]:
    """The two matrices that upsample a grid of `side` cells to `image_size` pixels and smooth by `sigma` pixels."""
    return smoothing_matrices((side, side), (image_size, image_size), sigma, "gaussian")


def maps_and_scores(
    cells_NP: Tensor, rows: Tensor, columns: Tensor, image_score: str, reweighted_N: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Anomaly maps (N, S, S) and image scores (N,).

    Args:
        cells_NP: scores of the cells.
        rows: from `operators`.
        columns: from `operators`.
        image_score: ``map`` takes the maximum of the smoothed map, ``cell`` that of the cells.
        reweighted_N: image scores that replace it.
    """
    side = round(cells_NP.shape[1] ** 0.5)
    maps = smooth_maps(cells_NP.reshape(-1, side, side), rows, columns)
    if reweighted_N is not None:
        return maps, reweighted_N
    return maps, maps.amax(dim=(1, 2)) if image_score == "map" else cells_NP.amax(dim=1)


def highest_cells(cells_NP: Tensor) -> Tensor:
    """Index (N,) of each image's highest cell, counted over all N x P cells."""
    return torch.arange(len(cells_NP), device=cells_NP.device) * cells_NP.shape[1] + cells_NP.argmax(dim=1)
