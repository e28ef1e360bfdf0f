"""The highest left-out values of good pixels, from which a pixel threshold is chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from subband.errors import ParamsError
from subband.methods.pixel_share import HIGHEST_PIXEL_FPR, PIXEL_FPR

__all__ = ["HIGHEST_PIXEL_FPR", "PIXEL_FPR", "PixelTail"]

_CHUNK = 64  # images


@dataclass(frozen=True)
class PixelTail:
    """The hundredth part of all pixels of left-out good images that has the highest values.

    Attributes:
        values: (K,) float32, descending.
        pixels: number of all pixels that were seen.
    """

    values: Tensor
    pixels: int

    @classmethod
    def of(cls, maps_NSS: Tensor) -> PixelTail:
        """The tail of left-out anomaly maps; exact, some images at a time."""
        keep = 1 + math.floor(HIGHEST_PIXEL_FPR * maps_NSS.numel())
        values = maps_NSS.new_empty(0)
        for chunk in maps_NSS.split(_CHUNK):
            values = torch.cat([values, chunk.reshape(-1)])
            values = values.topk(min(keep, len(values))).values
        return cls(values.float().cpu(), maps_NSS.numel())

    def threshold(self, share: float) -> float:
        """The lowest value that at most this share of the left-out good pixels exceeds.

        Args:
            share: above 0, at most `HIGHEST_PIXEL_FPR`.

        Raises:
            ParamsError: it is out of range.
        """
        if not 0 < share <= HIGHEST_PIXEL_FPR:
            raise ParamsError(f"pixel_fpr is {share:g}; it must be a share above 0 and at most {HIGHEST_PIXEL_FPR}")
        return float(self.values[math.floor(share * self.pixels)])
