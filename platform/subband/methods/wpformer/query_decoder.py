"""Initial queries: two decoder layers that read the pixel features (specification 1.4).

The memory's values are the position encodings alone; the image enters through the keys. That is how the method was published
(arguments swapped against DETR's), and it makes the values one tensor for the whole batch.

Shapes: B images, Q queries, C channels, T = h w tokens.
"""

from __future__ import annotations

from torch import Tensor, nn

from subband.methods.wpformer.layers import Attention, SelfAttention, convolution, tokens
from subband.methods.wpformer.positions import position_encoding

HIDDEN = 2048
LAYERS = 2


class DecoderLayer(nn.Module):
    """Self attention, cross attention and a feed-forward block, each with its residual and a norm behind it.

    Args:
        channels: C.
        dropout: of attention weights, of the hidden activations and of the residual branches, in training.
    """

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.self_attention = SelfAttention(channels, dropout)
        self.cross_attention = Attention(channels, dropout)
        self.cross_norm = nn.LayerNorm(channels)
        self.feed_forward = nn.Sequential(
            nn.Linear(channels, HIDDEN), nn.ReLU(inplace=True), nn.Dropout(dropout), nn.Linear(HIDDEN, channels)
        )
        self.feed_forward_norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries_BQC: Tensor, embedding_QC: Tensor, keys_BTC: Tensor, values_1TC: Tensor) -> Tensor:
        """(B, Q, C)."""
        queries = self.self_attention(queries_BQC, embedding_QC)
        attended = self.cross_attention(queries + embedding_QC, keys_BTC, values_1TC)
        queries = self.cross_norm(queries + self.dropout(attended))
        out: Tensor = self.feed_forward_norm(queries + self.dropout(self.feed_forward(queries)))
        return out


class QueryDecoder(nn.Module):
    """Pixel features to initial queries; its matrices start Xavier-uniform.

    Args:
        channels: C.
        dropout: see `DecoderLayer`.
    """

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.project = convolution(channels, channels)
        self.layers = nn.ModuleList(DecoderLayer(channels, dropout) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(channels)
        for parameter in self.layers.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, pixels_BChw: Tensor, embedding_QC: Tensor) -> Tensor:
        """Queries (B, Q, C)."""
        features = self.project(pixels_BChw)
        places = position_encoding(features)
        keys, values = tokens(features + places), tokens(places[None])
        queries = embedding_QC.new_zeros(1, 1, 1).expand(len(features), *embedding_QC.shape)
        for layer in self.layers:
            queries = layer(queries, embedding_QC, keys, values)
        out: Tensor = self.norm(queries)
        return out
