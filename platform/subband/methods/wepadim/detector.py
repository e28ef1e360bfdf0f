"""The deployable WE-PaDiM detector: backbone, fitted Gaussians and smoothing in one torch module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from subband.methods.detector import Calibration, Detector
from subband.methods.wepadim.embedding import layer_positions
from subband.methods.wepadim.gaussian import Gaussians
from subband.methods.wepadim.params import WEPaDiMParams
from subband.nn.backbones import Backbone
from subband.nn.smoothing import smooth_maps, smoothing_matrices


def vectors(layers: Iterable[Iterable[np.ndarray | Tensor]], params: WEPaDiMParams) -> Tensor:
    """Embedding vectors (P, N, D), from batches of feature maps (n, C, H, W) of every tap."""
    kept = params.subbands.split("+")
    parts: list[Tensor] = []
    for batches in layers:
        bands = layer_positions(
            batches, params.wavelet, params.level, params.grid_side(), params.antialias, params.centred
        )
        parts.extend(bands[name] for name in kept)
    return torch.cat(parts, dim=2)


def cell_scores(squared_MP: Tensor, params: WEPaDiMParams) -> Tensor:
    """Scores of the grid cells (M, h, w) from squared distances."""
    side = params.grid_side()
    distances = squared_MP if params.distance == "squared" else squared_MP.clamp_min(0).sqrt()
    return distances.float().reshape(-1, side, side)


class WEPaDiMDetector(Detector):
    """Scores images by the Gaussian of each grid position.

    Args:
        params: the params it was fitted with.
        backbone: frozen network up to the last tap.
        gaussians: one Gaussian per grid position.
        calibration: how scores become decisions.
        about: what a reader must know.
    """

    mean: Tensor
    basis: Tensor
    variances: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(
        self,
        params: WEPaDiMParams,
        backbone: Backbone,
        gaussians: Gaussians,
        calibration: Calibration,
        about: Mapping[str, Any],
    ) -> None:
        super().__init__("wepadim", params, params.preprocess(), calibration, about)
        self.params: WEPaDiMParams = params
        self.backbone = backbone
        self.register_buffer("mean", gaussians.mean_PD)
        self.register_buffer("basis", gaussians.basis_PRD)
        self.register_buffer("variances", gaussians.variances_PR)
        side, size = params.grid_side(), params.image_size
        rows, columns = smoothing_matrices((side, side), (size, size), params.sigma, params.smoothing)
        self.register_buffer("rows", rows.clone(), persistent=False)
        self.register_buffer("columns", columns.clone(), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Anomaly maps (N, S, S) and scores (N,) of images (N, 3, S, S) in [0, 1]."""
        maps = smooth_maps(self.grid_scores(images), self.rows, self.columns)
        return maps, maps.amax(dim=(1, 2))

    def grid_scores(self, images: Tensor) -> Tensor:
        """Distance of every grid cell (N, side, side) from its Gaussian."""
        gaussians = Gaussians(self.mean, self.basis, self.variances)
        squared = gaussians.squared_distances(
            vectors(([maps] for maps in self.backbone(images)), self.params), self.params.regularisation
        )
        return cell_scores(squared, self.params)
