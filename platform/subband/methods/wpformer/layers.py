"""The layers that the parts of the network share: normalised convolutions and eight-headed attention.

Shapes: B images, C channels, h x w cells, T tokens, Q queries.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

HEADS = 8


def convolution(inputs: int, outputs: int, kernel: int = 1, groups: int = 1, relu: bool = True) -> nn.Sequential:
    """Convolution of the same size without bias, batch normalisation and, if `relu`, a ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


def tokens(maps_BChw: Tensor) -> Tensor:
    """(B, h w, C), rows first."""
    return maps_BChw.flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Eight-headed scaled dot-product attention, parametrised and initialised as torch's `MultiheadAttention`.

    What is projected twice is projected once: the same tensor as query and key, or as key and value, and a value that all images
    share (batch 1).

    Args:
        channels: C, a multiple of 8.
        dropout: of the attention weights, in training.
    """

    def __init__(self, channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attended values (B, Q, C) for queries (B, Q, C), keys (B, T, C) and values (B or 1, T, C)."""
        if query is key:
            q, k = self._projected(query, 0, 2)
            (v,) = self._projected(value, 2, 3)
        elif key is value:
            (q,) = self._projected(query, 0, 1)
            k, v = self._projected(key, 1, 3)
        else:
            (q,), (k,), (v,) = (self._projected(each, i, i + 1) for i, each in enumerate((query, key, value)))
        dropout = self.dropout if self.training else 0.0
        attended = functional.scaled_dot_product_attention(q, k, v.expand(len(k), -1, -1, -1), dropout_p=dropout)
        out: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return out

    def _projected(self, inputs: Tensor, first: int, end: int) -> tuple[Tensor, ...]:
        """Projections `first` to `end` (of query, key, value), each (B, heads, T, C / heads)."""
        channels = inputs.shape[2]
        rows = slice(first * channels, end * channels)
        joined = functional.linear(inputs, self.in_proj_weight[rows], self.in_proj_bias[rows])
        return tuple(part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in joined.chunk(end - first, dim=2))


class SelfAttention(nn.Module):
    """Post-norm self attention of queries: norm(x + attention(x + E, x + E, x)).

    Args:
        channels: C.
        dropout: of the attention weights and of the residual branch, in training.
    """

    def __init__(self, channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = Attention(channels, dropout)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(channels)

    def forward(self, queries_BQC: Tensor, embedding_QC: Tensor) -> Tensor:
        """(B, Q, C); `embedding_QC` is added to what is compared, not to what is gathered."""
        placed = queries_BQC + embedding_QC
        out: Tensor = self.norm(queries_BQC + self.dropout(self.attention(placed, placed, queries_BQC)))
        return out
