"""The dual-domain decoder stage: wavelet attention and prototype attention to one pyramid level (specification 1.5).

Published, the wavelet attention takes four Haar bands of the map M and modulates H, the sum of the three detail bands. That sum
is one filter: with o the samples of M at odd rows and columns (counted from 0), LL + H = 2 o. The gated memory W H + LL therefore
lies, channel by channel, between the low band and twice a subsample; four convolutions become a mean and a strided slice.

Shapes: B images, Q queries and as many prototypes, C channels, h x w cells, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from subband.methods.wpformer.layers import Attention, SelfAttention, convolution, tokens
from subband.methods.wpformer.positions import position_encoding


def haar_low_and_sum(maps_BChw: Tensor) -> tuple[Tensor, Tensor]:
    """The LL band of the orthonormal Haar transform, and the sum of all four bands.

    Args:
        maps_BChw: (B, C, h, w), h and w at least 2; an odd last row or column is dropped.

    Returns:
        Two maps (B, C, h // 2, w // 2).
    """
    return 2 * functional.avg_pool2d(maps_BChw, 2), 2 * maps_BChw[:, :, 1::2, 1::2]


class ChannelModulation(nn.Module):
    """Gates in (0, 1) of tokens, from each token and from their mean: the multi-scale channel modulation of the paper.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()

        def perceptron() -> nn.Sequential:
            return nn.Sequential(nn.Linear(channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, channels))

        self.local = perceptron()
        self.pooled = perceptron()

    def forward(self, tokens_BTC: Tensor) -> Tensor:
        """(B, T, C)."""
        logits = self.local(tokens_BTC) + self.pooled(tokens_BTC.mean(dim=1, keepdim=True))
        return torch.sigmoid(logits)


class WaveletAttention(nn.Module):
    """Queries attend to the Haar bands of a map.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.modulation = ChannelModulation(channels)
        self.attention = Attention(channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, queries_BQC: Tensor, map_BChw: Tensor) -> Tensor:
        """(B, Q, C)."""
        low, bands = (tokens(band) for band in haar_low_and_sum(map_BChw))
        memory = torch.lerp(low, bands, self.modulation(bands).to(low.dtype))
        out: Tensor = self.norm(self.attention(queries_BQC, memory, memory) + queries_BQC)
        return out


class PrototypeAttention(nn.Module):
    """Queries are modulated by prototypes, one a query: means of the map under learnt softmax weights over its positions.

    Args:
        channels: C.
        queries: Q.
    """

    def __init__(self, channels: int, queries: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            convolution(channels, channels, 3, groups=channels), convolution(channels, channels)
        )
        self.assign = nn.Linear(channels, queries, bias=False)
        self.modulation = ChannelModulation(channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, queries_BQC: Tensor, map_BChw: Tensor) -> Tensor:
        """(B, Q, C)."""
        keys = tokens(self.features(map_BChw))
        # A softmax of linear scores over positions, and the mean of the map under it, is attention with learnt queries.
        weights = self.assign.weight.to(keys.dtype).expand(len(keys), -1, -1)
        prototypes = functional.scaled_dot_product_attention(weights, keys, tokens(map_BChw), scale=1.0)
        out: Tensor = self.norm(queries_BQC * self.modulation(prototypes + queries_BQC) + queries_BQC)
        return out


class DualDomainStage(nn.Module):
    """One decoder stage: both attentions to one level, their results added, then self attention of the queries.

    A stage without either attention is self attention alone; it then reads no level.

    Args:
        channels: C.
        queries: Q.
        wavelet: whether there is wavelet attention.
        prototypes: whether there is prototype attention.
    """

    def __init__(self, channels: int, queries: int, wavelet: bool, prototypes: bool) -> None:
        super().__init__()
        self.wavelet = WaveletAttention(channels) if wavelet else None
        self.prototypes = PrototypeAttention(channels, queries) if prototypes else None
        self.project = convolution(channels, channels) if wavelet or prototypes else None
        self.self_attention = SelfAttention(channels)

    def forward(
        self, queries_BQC: Tensor, embedding_QC: Tensor, level_BChw: Tensor, level_embedding_C: Tensor | None
    ) -> Tensor:
        """Queries (B, Q, C) of the next stage."""
        placed = queries_BQC + embedding_QC
        if self.project is None or level_embedding_C is None:
            return self.self_attention(placed, embedding_QC)  # type: ignore[no-any-return]
        features = self.project(level_BChw)
        places = position_encoding(features)
        level = features + (places + level_embedding_C.to(features.dtype)[:, None, None])
        read = [branch(placed, level) for branch in (self.wavelet, self.prototypes) if branch is not None]
        return self.self_attention(sum(read[1:], start=read[0]), embedding_QC)  # type: ignore[no-any-return]
