"""Feature pyramid: four backbone maps to three decoder levels and one map of pixel features (specification 1.2).

Shapes: B images, C channels; maps at strides 4, 8, 16 and 32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from subband.methods.wpformer.layers import convolution


class PyramidMaps(NamedTuple):
    """What the pyramid gives.

    Attributes:
        levels: maps (B, C, h, w) at strides 32, 16 and 8, one for each decoder stage.
        pixels: features (B, C, H / 4, W / 4) that masks are made of.
    """

    levels: tuple[Tensor, Tensor, Tensor]
    pixels: Tensor


class Pyramid(nn.Module):
    """Top-down pyramid (Lin et al., CVPR 2017) with normalised 1 x 1 laterals and 3 x 3 smoothing.

    Args:
        widths: channels of the four backbone maps.
        channels: C.
    """

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(convolution(width, channels, relu=False) for width in widths)
        self.lateral = nn.ModuleList(convolution(channels, channels, relu=False) for _ in range(3))
        self.smooth = nn.ModuleList(convolution(channels, channels, 3) for _ in range(3))
        self.pixels = convolution(channels, channels, 3)

    def forward(self, maps: Sequence[Tensor]) -> PyramidMaps:
        """From backbone maps at strides 4, 8, 16 and 32."""
        reduced = [reduce(each) for reduce, each in zip(self.reduce, maps, strict=True)]
        levels = [reduced[3]]
        for lateral, smooth, skip in zip(self.lateral[::-1], self.smooth[::-1], reduced[2::-1], strict=True):
            above = functional.interpolate(levels[-1], skip.shape[2:], mode="bilinear", align_corners=False)
            levels.append(smooth(above + lateral(skip)))
        return PyramidMaps((levels[0], levels[1], levels[2]), self.pixels(levels[3]))
