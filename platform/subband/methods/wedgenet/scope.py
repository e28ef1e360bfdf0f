"""Min-max scaling over one image or over a batch of images (specification 2.5).

The published network scales the guidance map and the saliency mask by the extremes of the whole batch: 32 images while the
bank is built, one while scoring, so that an image has other features in the bank than in a test. Scaling is affine, so
maps and their extremes are kept apart: one pass over the images serves both scopes.

Shapes: N images, maps of H x W.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from subband.errors import ParamsError

Scope = Literal["image", "batch"]
SCOPES: tuple[Scope, ...] = ("image", "batch")
PUBLISHED_BATCH = 32
EPSILON = 1e-6  # in the denominator: a constant map becomes 0, not NaN (specification B14)


@dataclass(frozen=True)
class Extremes:
    """The smallest and largest value that each image's map is scaled by.

    Attributes:
        lowest_N: one value an image.
        highest_N: one value an image.
    """

    lowest_N: Tensor
    highest_N: Tensor

    @classmethod
    def of(cls, maps_NHW: Tensor) -> Extremes:
        """Each image's own extremes; for maps (N, H, W)."""
        return cls(maps_NHW.amin(dim=(1, 2)), maps_NHW.amax(dim=(1, 2)))

    def over_batches(self, size: int) -> Extremes:
        """The extremes of the batch that each image is in: images in order, `size` a batch, the last batch perhaps smaller.

        Raises:
            ParamsError: `size` below 1.
        """
        if size < 1:
            raise ParamsError(f"batch size is {size}; it must be at least 1")

        def spread(reduced: Tensor, part: Tensor) -> Tensor:
            return reduced.expand(len(part))

        return Extremes(
            torch.cat([spread(part.amin(), part) for part in self.lowest_N.split(size)]),
            torch.cat([spread(part.amax(), part) for part in self.highest_N.split(size)]),
        )

    def scoped(self, scope: Scope, batch: int | None = None) -> Extremes:
        """The extremes under a scope.

        Args:
            scope: ``image`` keeps each image's own; ``batch`` shares them within a batch.
            batch: images a batch (published: 32); None takes all N as one batch.
        """
        if scope == "image" or len(self.lowest_N) == 0:
            return self
        return self.over_batches(len(self.lowest_N) if batch is None else batch)

    def scale(self, maps_NHW: Tensor) -> Tensor:
        """(maps - lowest) / (highest - lowest + 1e-6), for maps (N, H, W) of the same images on any grid."""
        lowest, highest = self.lowest_N[:, None, None], self.highest_N[:, None, None]
        return (maps_NHW - lowest) / (highest - lowest + EPSILON)
