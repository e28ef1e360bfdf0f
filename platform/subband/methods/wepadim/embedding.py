"""Wavelet embedding of feature maps (specification 1.3): transform, choose subbands, bring to one grid.

Shapes: N images, C channels of a layer, P = h * w grid positions, D channels of the embedding.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from subband.nn.wavelets import SUBBANDS, aligned_subbands, resize_maps


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
        bands = aligned_subbands(maps, wavelet, level, ordered, None, antialias)
        details = [bands[name].chunk(level, dim=1) for name in ordered if name != "LL"]
        by_level = [part[step] for step in range(level) for part in details]
        embedded.append(torch.cat(([bands["LL"]] if "LL" in bands else []) + by_level, dim=1))
    if grid is None:
        grid = (min(maps.shape[2] for maps in embedded), min(maps.shape[3] for maps in embedded))
    return torch.cat([resize_maps(maps, grid, antialias) for maps in embedded], dim=1)


def layer_positions(
    batches: Iterable[np.ndarray | Tensor], wavelet: str, level: int, side: int, antialias: bool
) -> dict[str, Tensor]:
    """All four subbands of one layer for many images, grid position first.

    Args:
        batches: chunks (n, C, H, W) of the layer's maps.
        wavelet: a discrete wavelet of pywt.
        level: number of levels.
        side: side of the common grid in cells.
        antialias: whether reductions are low-pass filtered first.

    Returns:
        By subband name (P, N, C') float32, C' = C for LL and C * level for the others. Channel order does not matter to the
        distances, so it is the cheapest one.
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in SUBBANDS}
    for batch in batches:
        bands = aligned_subbands(_as_tensor(batch), wavelet, level, SUBBANDS, (side, side), antialias)
        for name, maps in bands.items():
            parts[name].append(maps.flatten(2))
    return {name: torch.cat(maps).permute(2, 0, 1).contiguous() for name, maps in parts.items()}


def _as_tensor(batch: np.ndarray | Tensor) -> Tensor:
    if isinstance(batch, Tensor):
        return batch
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # torch warns that the store's mapped arrays are read-only; they are only read here
        return torch.from_numpy(batch)
