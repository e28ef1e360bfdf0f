"""Attention inside windows and inside grids, with relative position biases (section 4.2 of the specification).

Shapes: B images, H x W cells, C channels, h heads of d channels; w the side of a window or grid, T = w * w its tokens,
G the groups of an image, that is H W / T. Maps are NHWC.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from timm.layers import DropPath, Mlp
from torch import Tensor, nn
from torch.nn import functional

from subband.methods.wsfvit.gelu import Gelu, Kind

Partition = Literal["window", "grid"]
"""``window``: w x w neighbouring cells attend to each other; ``grid``: w x w cells that lie H / w and W / w apart."""

QkvOrder = Literal["thirds", "heads"]
"""Order of a projection's 3 C outputs: all first parts, then all second, all third; or the three parts of each head in turn."""

BiasTable = Literal["square", "flat"]
"""``square``: (h, 2w-1, 2w-1) read at key minus query; ``flat``: ((2w-1)^2, h) read at query minus key."""

ROLES = {"window": (0, 1, 2), "grid": (1, 2, 0)}
"""Which third of the projection is query, key and value. That of grids is turned by one: published weights need it."""


class RelativePositionBias(nn.Module):
    """A learnt bias for each head and each offset between two cells of a window.

    Args:
        window: w.
        heads: h.
        table: layout of the parameter.
    """

    index: Tensor

    def __init__(self, window: int, heads: int, table: BiasTable = "square") -> None:
        super().__init__()
        self.window, self.table = window, table
        side = 2 * window - 1
        shape = (heads, side, side) if table == "square" else (side * side, heads)
        self.relative_position_bias_table = nn.Parameter(torch.empty(shape))
        nn.init.normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("index", relative_index(window, table), persistent=False)

    def forward(self) -> Tensor:
        """(h, T, T): of query (rows) and key (columns)."""
        table = self.relative_position_bias_table
        per_head = table.flatten(1) if self.table == "square" else table.T
        tokens = self.window * self.window
        return per_head.index_select(1, self.index).view(-1, tokens, tokens)


def relative_index(window: int, table: BiasTable) -> Tensor:
    """(T * T,) place in the table, as rows of 2w-1, of the offset between query n and key m, at n T + m."""
    cells = torch.arange(window)
    offset = cells[None, :] - cells[:, None] + window - 1
    rows, columns = offset[:, None, :, None], offset[None, :, None, :]
    index = (rows * (2 * window - 1) + columns).flatten()
    return index if table == "square" else (2 * window - 1) ** 2 - 1 - index


class PartitionedAttention(nn.Module):
    """Multi-head self-attention inside the windows or grids of a map.

    Args:
        channels: C.
        heads: h, a divisor of C.
        window: w, a divisor of both sides of the maps.
        partition: windows or grids.
        qkv: order of the projection's outputs.
        table: layout of the position biases.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        window: int,
        partition: Partition,
        qkv: QkvOrder = "thirds",
        table: BiasTable = "square",
    ) -> None:
        super().__init__()
        self.heads, self.window, self.partition, self.order = heads, window, partition, qkv
        self.qkv = nn.Linear(channels, 3 * channels)
        self.rel_pos = RelativePositionBias(window, heads, table)
        self.proj = nn.Linear(channels, channels)

    def forward(self, maps_BHWC: Tensor) -> Tensor:
        """(B, H, W, C)."""
        height, width = maps_BHWC.shape[1:3]
        parts = partitioned(self.qkv(maps_BHWC), self.heads, self.window, self.partition, self.order)
        thirds = parts.unbind()
        q, k, v = (thirds[role] for role in ROLES[self.partition])
        bias = self.rel_pos().to(q.dtype).unsqueeze(0)
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out: Tensor = self.proj(joined(attended, (height, width), self.partition))
        return out


def partitioned(
    projected_BHWE: Tensor, heads: int, window: int, partition: Partition, order: QkvOrder = "thirds"
) -> Tensor:
    """The three parts of a projection by group and head, (3, B G, h, T, d), in one copy.

    Args:
        projected_BHWE: (B, H, W, 3 C); H and W are multiples of the window.
        heads: h.
        window: w.
        partition: windows or grids.
        order: of the 3 C outputs.
    """
    batch, height, width, outputs = projected_BHWE.shape
    rows, columns, depth = height // window, width // window, outputs // (3 * heads)
    parts = (3, heads) if order == "thirds" else (heads, 3)
    if partition == "window":
        split = projected_BHWE.reshape(batch, rows, window, columns, window, *parts, depth)
        groups, cells = (1, 3), (2, 4)
    else:
        split = projected_BHWE.reshape(batch, window, rows, window, columns, *parts, depth)
        groups, cells = (2, 4), (1, 3)
    three, head = (5, 6) if order == "thirds" else (6, 5)
    moved = split.permute(three, 0, *groups, head, *cells, 7)
    return moved.reshape(3, batch * rows * columns, heads, window * window, depth)


def joined(groups: Tensor, size: tuple[int, int], partition: Partition) -> Tensor:
    """The inverse of `partitioned`, for one part: (B G, h, T, d) to (B, H, W, C), `size` being H and W."""
    count, heads, tokens, depth = groups.shape
    window = round(tokens**0.5)
    rows, columns = size[0] // window, size[1] // window
    split = groups.reshape(count // (rows * columns), rows, columns, heads, window, window, depth)
    moved = split.permute(0, 1, 4, 2, 5, 3, 6) if partition == "window" else split.permute(0, 4, 1, 5, 2, 3, 6)
    return moved.reshape(-1, *size, heads * depth)


class SpatialAttention(nn.Module):
    """Pre-norm attention inside windows or grids, and an MLP.

    Args:
        channels: C.
        heads: h.
        window: w.
        partition: windows or grids.
        gelu: which GELU.
        eps: of the layer normalisations.
        qkv: order of the projection's outputs.
        table: layout of the position biases.
        mlp_ratio: width of the MLP by C.
        drop_path: rate of stochastic depth of both branches.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        window: int,
        partition: Partition,
        gelu: Kind = "tanh",
        eps: float = 1e-5,
        qkv: QkvOrder = "thirds",
        table: BiasTable = "square",
        mlp_ratio: int = 4,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps)
        self.attn = PartitionedAttention(channels, heads, window, partition, qkv, table)
        self.norm2 = nn.LayerNorm(channels, eps)
        self.mlp = Mlp(channels, mlp_ratio * channels, act_layer=partial(Gelu, gelu))
        self.drop_path = DropPath(drop_path)

    def forward(self, maps_BHWC: Tensor) -> Tensor:
        """(B, H, W, C)."""
        maps = maps_BHWC + self.drop_path(self.attn(self.norm1(maps_BHWC)))
        out: Tensor = maps + self.drop_path(self.mlp(self.norm2(maps)))
        return out
