"""Sine encoding of the positions in a map (Carion et al., ECCV 2020, normalised form).

Shapes: C channels, h x w cells.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

TEMPERATURE = 10000.0


def position_encoding(maps_BChw: Tensor) -> Tensor:
    """The encoding (C, h, w) for a map: the first half of the channels encodes the row, the second the column.

    Computed in float32, then rounded to the map's dtype. The last ones are kept, so do not write into it.

    Args:
        maps_BChw: gives the size, dtype and device; C is a multiple of 4.
    """
    make = _computed if torch.compiler.is_compiling() else _remembered
    _, channels, height, width = maps_BChw.shape
    return make(channels, height, width, maps_BChw.dtype, maps_BChw.device)


@functools.lru_cache(
    maxsize=24
)  # four sizes a forward pass, some scales; a map of the published sizes takes up to 8 MB
def _remembered(channels: int, height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    # One that was made in inference mode could not be used in training.
    with torch.inference_mode(False), torch.no_grad():
        return _computed(channels, height, width, dtype, device)


def _computed(channels: int, height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    half = channels // 2
    frequency = TEMPERATURE ** (-2 * torch.arange(half // 2, device=device, dtype=torch.float32) / half)

    def axis(length: int) -> Tensor:
        turned = torch.arange(1, length + 1, device=device, dtype=torch.float32) * (2 * math.pi / (length + 1e-6))
        angles = frequency[:, None] * turned
        return torch.stack([angles.sin(), angles.cos()], dim=1).flatten(0, 1)  # sine and cosine take turns

    rows = axis(height)[:, :, None].expand(half, height, width)
    columns = axis(width)[:, None, :].expand(half, height, width)
    return torch.cat([rows, columns]).to(dtype)
