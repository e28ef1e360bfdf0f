"""From logits to 8-bit prediction maps at the image's own size, in the two published orders (specification 4).

Shapes: h x w pixels of the network's output, H x W of the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

MapOrder = Literal["defect", "object"]


def stretched(probabilities: Tensor) -> Tensor:
    """Each map (..., h, w) brought to [0, 1] by its own extremes, as published: a map without a defect gets full contrast too."""
    lowest, highest = probabilities.amin(dim=(-2, -1), keepdim=True), probabilities.amax(dim=(-2, -1), keepdim=True)
    return (probabilities - lowest) / (highest - lowest + 1e-8)


def prediction_map(
    logits_hw: Tensor, size: tuple[int, int], order: MapOrder = "defect", stretch: bool = False
) -> NDArray[np.uint8]:
    """The map that is written to a file and measured.

    Args:
        logits_hw: (h, w).
        size: (H, W) of the image.
        order: ``defect`` makes 8-bit values at the network's size and resizes them with Pillow's bilinear filter, which averages
            when it shrinks; ``object`` resizes the logits, without averaging, and makes 8-bit values last.
        stretch: whether the probabilities are brought to [0, 1] by their extremes (published) or kept.

    Returns:
        uint8 (H, W): the value times 255, cut to a whole number.
    """
    logits = logits_hw.detach().float()
    if order == "object":
        logits = functional.interpolate(logits[None, None], size, mode="bilinear", align_corners=False)[0, 0]
    probabilities = torch.sigmoid(logits)
    values = (255 * (stretched(probabilities) if stretch else probabilities)).to(torch.uint8).cpu().numpy()
    if order == "object" or values.shape == size:
        return values  # type: ignore[no-any-return]
    return np.asarray(Image.fromarray(values).resize(size[::-1], Image.Resampling.BILINEAR))
