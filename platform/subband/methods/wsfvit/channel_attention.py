"""Attention among channels, "inter-subband" in the paper (section 4.3 of the specification).

Shapes: B images, H x W cells, N = H W, C channels, h heads of e channels. Maps are NHWC.
"""

from __future__ import annotations

from functools import partial

import torch
from timm.layers import DropPath, Mlp
from torch import Tensor, nn
from torch.nn import functional

from subband.methods.wsfvit.gelu import Gelu, Kind


class ConvPosition(nn.Module):
    """What tells a token where it is: a depthwise 3x3 convolution that is added to the map.

    Args:
        channels: C.
    """

    one_tap: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.register_buffer("one_tap", functional.pad(torch.ones(1, 1, 1, 1), (1, 1, 1, 1)), persistent=False)

    def forward(self, maps_BHWC: Tensor) -> Tensor:
        """(B, H, W, C)."""
        conv = self.proj
        # The map itself is a convolution too, with one tap.
        weight = conv.weight + self.one_tap
        out = functional.conv2d(maps_BHWC.permute(0, 3, 1, 2), weight, conv.bias, padding=1, groups=conv.groups)
        return out.permute(0, 2, 3, 1)


class CrossChannelAttention(nn.Module):
    """Attention whose tokens are the channels of a head: softmax(e^-0.5 k^T v) q^T, all positions at once.

    The logits sum over N positions without a division, so half precision could overflow: there they are formed in float32.

    Args:
        channels: C.
        heads: h, a divisor of C. It changes no parameter's shape, yet what is computed.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, maps_BHWC: Tensor) -> Tensor:
        """(B, H, W, C)."""
        parts = self.qkv(maps_BHWC).flatten(1, 2).unflatten(2, (3, self.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind()  # each (B, h, N, e)
        weights = channel_weights(k, v)
        attended = q @ weights.transpose(2, 3).to(q.dtype)
        out: Tensor = self.proj(attended.transpose(1, 2).reshape(maps_BHWC.shape))
        return out


def channel_weights(k: Tensor, v: Tensor) -> Tensor:
    """softmax(e^-0.5 k^T v) of (B, h, N, e) keys and values: (B, h, e, e), rows the keys' channels; at least float32."""
    if k.dtype in (torch.float16, torch.bfloat16):
        with torch.autocast(k.device.type, enabled=False):
            return channel_weights(k.float(), v.float())
    return torch.softmax(k.transpose(2, 3) @ v * k.shape[3] ** -0.5, dim=3)


class ChannelAttention(nn.Module):
    """Position terms, pre-norm attention among channels, position terms, and an MLP.

    Its GELU is the exact one in the classifier too, unlike that of all other parts.

    Args:
        channels: C.
        heads: h.
        gelu: which GELU.
        eps: of the layer normalisations.
        mlp_ratio: width of the MLP by C.
        drop_path: rate of stochastic depth of attention and MLP.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        gelu: Kind = "none",
        eps: float = 1e-5,
        mlp_ratio: int = 4,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.cpe = nn.ModuleList(ConvPosition(channels) for _ in range(2))
        self.norm1 = nn.LayerNorm(channels, eps)
        self.attn = CrossChannelAttention(channels, heads)
        self.norm2 = nn.LayerNorm(channels, eps)
        self.mlp = Mlp(channels, mlp_ratio * channels, act_layer=partial(Gelu, gelu))
        self.drop_path = DropPath(drop_path)

    def forward(self, maps_BHWC: Tensor) -> Tensor:
        """(B, H, W, C)."""
        maps = self.cpe[0](maps_BHWC)
        maps = maps + self.drop_path(self.attn(self.norm1(maps)))
        maps = self.cpe[1](maps)
        out: Tensor = maps + self.drop_path(self.mlp(self.norm2(maps)))
        return out
