"""WSF-ViT written as its equations say, for comparison with the fast form: same parameters, same numbers, no shortcuts.

The wavelet bands come by FFT on a padded canvas and position biases by one-hot products, as published; windows and grids are
copied out and back, attention weights are formed, maps are NCHW for convolutions and copied to NHWC for attention.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from subband.methods.wsfvit import WSFViT


class PlainWSFViT(nn.Module):
    """The plain form of a network.

    Args:
        network: whose parameters it shares; with the published stem.
    """

    def __init__(self, network: WSFViT) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K), as `WSFViT` gives them."""
        network: Any = self.network
        maps = stem(network.stem, images)
        for stage in network.stages:
            for block in stage.blocks:
                maps = inverted_bottleneck(block.conv, maps, 2 if block is stage.blocks[0] else 1)
                maps = spatial(block.attn_local, maps.permute(0, 2, 3, 1), network.window, grid=False)
                maps = channel(block.attn_inter, maps)
                maps = spatial(block.attn_global, maps, network.window, grid=True)
                maps = maps.permute(0, 3, 1, 2).contiguous()
        head = network.head
        pooled = functional.layer_norm(maps.mean((2, 3)), maps.shape[1:2], head.norm.weight, head.norm.bias, 1e-5)
        return head.fc(torch.tanh(head.pre_logits.fc(pooled)))  # type: ignore[no-any-return]


def gelu(x: Tensor) -> Tensor:
    """The approximation by tanh."""
    return functional.gelu(x, approximate="tanh")


def same(conv: nn.Conv2d, maps: Tensor, stride: int) -> Tensor:
    """Convolution with TensorFlow's padding."""
    pads = []
    for side in (maps.shape[3], maps.shape[2]):
        total = max((math.ceil(side / stride) - 1) * stride + 3 - side, 0)
        pads += [total // 2, total - total // 2]
    return functional.conv2d(functional.pad(maps, pads), conv.weight, conv.bias, stride, groups=conv.groups)


def stem(module: Any, images: Tensor) -> Tensor:
    """Section 3."""
    x = gelu(module.norm1(haar_by_fft(images)))
    x = gelu(module.norm2(same(module.conv1, x, 2)))
    return gelu(module.norm3(same(module.conv2, x, 1)))


def haar_by_fft(images: Tensor) -> Tensor:
    """LL, LH, HL and HH of all colours: a circular convolution on a square canvas, moved back by one and cropped."""
    height, width = images.shape[2:]
    side = 2 ** math.ceil(math.log2(max(height, width)))
    a = math.sqrt(0.5)
    low, high = (torch.fft.rfft(images.new_tensor(taps), side) for taps in ((a, a), (a, -a)))

    def filtered(maps: Tensor, taps: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(maps, side) * taps, side)

    bands = []
    for along_width in (low, high):
        rows = filtered(images, along_width)
        for along_height in (low, high):
            both = filtered(rows.transpose(2, 3), along_height).transpose(2, 3)
            bands.append(both.roll((-1, -1), (2, 3))[:, :, :height, :width])
    return torch.cat(bands, dim=1)


def inverted_bottleneck(module: Any, maps: Tensor, stride: int) -> Tensor:
    """Section 4.1."""
    shortcut = maps if stride == 1 else module.shortcut.expand(functional.avg_pool2d(maps, 2))
    x = module.conv1_1x1(module.pre_norm(maps))
    x = gelu(module.norm1(x))
    x = gelu(module.norm2(same(module.conv2_kxk, x, stride)))
    gate = module.se.fc2(functional.silu(module.se.fc1(x.mean((2, 3), keepdim=True))))
    return shortcut + module.drop_path(module.conv3_1x1(x * torch.sigmoid(gate)))


def spatial(module: Any, maps: Tensor, window: int, grid: bool) -> Tensor:
    """Section 4.2."""
    attended = attention(module.attn, to_groups(module.norm1(maps), window, grid), grid)
    maps = maps + module.drop_path(from_groups(attended, maps.shape, window, grid))
    return maps + module.drop_path(module.mlp.fc2(gelu(module.mlp.fc1(module.norm2(maps)))))


def to_groups(maps: Tensor, window: int, grid: bool) -> Tensor:
    """(B H W / w^2, w^2, C), copied."""
    batch, height, width, channels = maps.shape
    rows, columns = height // window, width // window
    if grid:
        split = maps.reshape(batch, window, rows, window, columns, channels).permute(0, 2, 4, 1, 3, 5)
    else:
        split = maps.reshape(batch, rows, window, columns, window, channels).permute(0, 1, 3, 2, 4, 5)
    return split.reshape(-1, window * window, channels)


def from_groups(groups: Tensor, shape: Any, window: int, grid: bool) -> Tensor:
    """(B, H, W, C), copied."""
    batch, height, width, channels = shape
    rows, columns = height // window, width // window
    split = groups.reshape(batch, rows, columns, window, window, channels)
    moved = split.permute(0, 3, 1, 4, 2, 5) if grid else split.permute(0, 1, 3, 2, 4, 5)
    return moved.reshape(batch, height, width, channels)


def attention(module: Any, tokens: Tensor, grid: bool) -> Tensor:
    """Softmax attention with its weights formed; grids take the second third as query, the third as key, the first as value."""
    count, length, channels = tokens.shape
    thirds = module.qkv(tokens).reshape(count, length, 3, module.heads, -1).permute(2, 0, 3, 1, 4)
    q, k, v = (thirds[1], thirds[2], thirds[0]) if grid else thirds
    logits = (q * q.shape[3] ** -0.5) @ k.transpose(2, 3) + position_bias(module.rel_pos)
    weights = torch.softmax(logits, dim=3)
    return module.proj((weights @ v).transpose(1, 2).reshape(count, length, channels))  # type: ignore[no-any-return]


def position_bias(module: Any) -> Tensor:
    """(h, T, T) by two one-hot products."""
    table, window = module.relative_position_bias_table, module.window
    cells = torch.arange(window, device=table.device)
    one_hot = functional.one_hot(cells[None, :] - cells[:, None] + window - 1, 2 * window - 1).to(table.dtype)
    rows = torch.einsum("hyx,nmy->hnmx", table, one_hot)
    both = torch.einsum("hnmx,pqx->hnpmq", rows, one_hot)
    return both.reshape(len(table), window * window, window * window)


def channel(module: Any, maps: Tensor) -> Tensor:
    """Section 4.3, on tokens."""
    shape = maps.shape
    tokens = with_position(module.cpe[0].proj, maps.reshape(shape[0], -1, shape[3]), shape)
    own = module.attn
    parts = own.qkv(module.norm1(tokens)).reshape(shape[0], -1, 3, own.heads, shape[3] // own.heads)
    q, k, v = parts.permute(2, 0, 3, 1, 4)
    weights = torch.softmax((k * k.shape[3] ** -0.5).transpose(2, 3) @ v, dim=3)
    attended = (weights @ q.transpose(2, 3)).transpose(2, 3).transpose(1, 2).reshape(tokens.shape)
    tokens = tokens + module.drop_path(own.proj(attended))
    tokens = with_position(module.cpe[1].proj, tokens, shape)
    hidden = functional.gelu(module.mlp.fc1(module.norm2(tokens)))
    return (tokens + module.drop_path(module.mlp.fc2(hidden))).reshape(shape)


def with_position(conv: nn.Conv2d, tokens: Tensor, shape: Any) -> Tensor:
    """Tokens and their depthwise convolution, on a map that is copied out and back."""
    batch, height, width, channels = shape
    maps = tokens.transpose(1, 2).reshape(batch, channels, height, width)
    return tokens + conv(maps).flatten(2).transpose(1, 2)
