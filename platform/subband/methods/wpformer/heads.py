"""Segmentation heads: queries and pixel features to one map of logits (specification 1.6).

Published, every query gives a mask map and a weight, and the maps are added under the weights. The sum is linear, so the
queries are added first: one vector and one map an image instead of sixteen.

Shapes: B images, Q queries, C channels, h x w cells.
"""

from __future__ import annotations

from torch import Tensor, nn

from subband.methods.wpformer.layers import convolution


class SegmentationHead(nn.Module):
    """One head; heads share no weights.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = convolution(channels, channels)
        self.norm = nn.LayerNorm(channels)
        self.weigh = nn.Linear(channels, 1)
        self.embed = nn.Sequential(
            nn.Linear(channels, channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels),
        )

    def forward(self, queries_BQC: Tensor, pixels_BChw: Tensor) -> Tensor:
        """Logits (B, h, w), float32."""
        normed = self.norm(queries_BQC)
        vector_B1C = self.weigh(normed).transpose(1, 2) @ self.embed(normed)
        maps = self.project(pixels_BChw)
        logits: Tensor = (vector_B1C @ maps.flatten(2)).float()
        return logits.view(len(maps), *maps.shape[2:])
