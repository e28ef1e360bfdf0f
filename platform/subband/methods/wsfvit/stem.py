"""Stem of WSF-ViT, the "wavelet embedding": undecimated analysis and two convolutions (section 3 of the specification).

Shapes: B images of H x W pixels, C channels; maps are NCHW, channels last in memory from the first convolution on.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from subband.methods.wsfvit.gelu import gelu
from subband.methods.wsfvit.mbconv import same_conv
from subband.nn.undecimated import UndecimatedWavelet

COLOURS, BANDS = 3, 4


class Stem(nn.Module):
    """Images to maps of half their size.

    Args:
        channels: C.
        wavelet: of the fixed analysis; published is Haar.
        eps: of the batch normalisations.

    Raises:
        ParamsError: no such wavelet.
    """

    def __init__(self, channels: int, wavelet: str = "haar", eps: float = 1e-3) -> None:
        super().__init__()
        self.dwt_l2 = UndecimatedWavelet(wavelet)
        self.norm1 = nn.BatchNorm2d(BANDS * COLOURS, eps)
        self.conv1 = nn.Conv2d(BANDS * COLOURS, channels, 3, stride=2, padding=1)
        self.norm2 = nn.BatchNorm2d(channels, eps)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm3 = nn.BatchNorm2d(channels, eps)
        for conv in (self.conv1, self.conv2):
            nn.init.normal_(conv.weight, std=math.sqrt(2 / (9 * channels)))
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    def forward(self, images_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, C, H / 2, W / 2)."""
        bands = self.dwt_l2(images_B3HW).to(self.norm1.weight.dtype)
        maps = gelu(self.norm1(bands), "tanh").contiguous(memory_format=torch.channels_last)
        maps = same_conv(maps, self.conv1.weight, self.conv1.bias, stride=2)
        return gelu(self.norm3(self.conv2(gelu(self.norm2(maps), "tanh"))), "tanh")
