"""Wavelet embedding of feature maps (specification 1.3): transform, choose subbands, bring to one grid.

Shapes: N images, C channels of a layer, P = h * w grid positions, D channels of the embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from subband.nn.wavelets import SUBBANDS, gridded_subbands, resize_maps, wavelet_subbands


def embed(
    layers: Sequence[Tensor],
    wavelet: str,
    level: int,
    subbands: Sequence[str],
    grid: tuple[int, int] | None = None,
    antialias: bool = False,
) -> Tensor:
    """Embedding of a batch as one tensor, with the published channel order.

    Args:
        layers: feature maps (N, C, H, W), one tensor a tap.
        wavelet: a discrete wavelet of pywt.
        level: number of levels.
        subbands: kept subbands. LL comes first wherever it stands; then, finest level first, the others in the order given.
        grid: common grid (height, width); None takes the smallest height and width over the layers, as published.
        antialias: whether reductions are low-pass filtered first (the published code does not).

    Returns:
        (N, D, h, w) with the layers in order.
    """
    ordered = (["LL"] if "LL" in subbands else []) + [name for name in subbands if name != "LL"]
    embedded = []
    for maps in layers:
        bands = wavelet_subbands(maps, wavelet, level)
        own = (bands["LL"][0].shape[2], bands["LL"][0].shape[3])
        kept = [bands["LL"][0]] if "LL" in ordered else []
        kept += [bands[name][step] for step in range(level) for name in ordered if name != "LL"]
        embedded.append(torch.cat([resize_maps(band, own, antialias) for band in kept], dim=1))
    if grid is None:
        grid = (min(maps.shape[2] for maps in embedded), min(maps.shape[3] for maps in embedded))
    return torch.cat([resize_maps(maps, grid, antialias) for maps in embedded], dim=1)


def layer_positions(
    batches: Iterable[np.ndarray | Tensor], wavelet: str, level: int, side: int, antialias: bool, centred: bool = False
) -> dict[str, Tensor]:
    """All four subbands of one layer for many images, grid position first.

    Args:
        batches: chunks (n, C, H, W) of the layer's maps.
        wavelet: a discrete wavelet of pywt.
        level: number of levels.
        side: side of the common grid in cells.
        antialias: whether reductions are low-pass filtered first.
        centred: where coefficients lie on the grid; see `subband.nn.wavelets.axis_operators`.

    Returns:
        By subband name (P, N, C') float32, C' = C for LL and C * level for the others, finest level first. The channel order
        differs from `embed`'s, which does not matter to the distances.
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in SUBBANDS}
    for batch in batches:
        maps = torch.tensor(batch) if isinstance(batch, np.ndarray) else batch
        bands = gridded_subbands(maps, wavelet, level, (side, side), antialias, centred)
        for name, band in bands.items():
            parts[name].append(band)
    return {name: torch.cat(vectors, dim=1) for name, vectors in parts.items()}
