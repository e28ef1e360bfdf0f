"""WPFormer written as its equations say, for comparison with the fast form: same parameters, same numbers, no shortcuts.

Attention weights are formed, the four Haar bands are four convolutions, every query has a mask map and a value of its own, position
encodings are computed each time, and the backbone's tokens are copied to maps and back.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from subband.methods.wpformer.network import WPFormer

HEADS = 8
BANDS = (((1, 1), (1, 1)), ((-1, 1), (-1, 1)), ((-1, -1), (1, 1)), ((1, -1), (-1, 1)))


class PlainWPFormer(nn.Module):
    """The plain form of a network.

    Args:
        network: whose parameters it shares; with both attentions.
    """

    def __init__(self, network: WPFormer) -> None:
        super().__init__()
        self.network = network

    def forward(self, normalised_B3HW: Tensor) -> Tensor:
        """The five predictions (B, 5, H, W), as `WPFormer.logits` gives them."""
        network: Any = self.network
        c = backbone_maps(network.backbone, normalised_B3HW)
        pyramid = network.pyramid
        t = [reduce(each) for reduce, each in zip(pyramid.reduce, c, strict=True)]
        d3 = pyramid.smooth[2](resized(t[3], t[2].shape[2:]) + pyramid.lateral[2](t[2]))
        d2 = pyramid.smooth[1](resized(d3, t[1].shape[2:]) + pyramid.lateral[1](t[1]))
        d1 = pyramid.smooth[0](resized(d2, t[0].shape[2:]) + pyramid.lateral[0](t[0]))
        pixels = pyramid.pixels(d1)
        embedding = network.queries[None].expand(len(pixels), -1, -1)
        queries = initial_queries(network.decoder, pixels, embedding)
        maps = [masks(network.heads[0], queries, pixels)]
        for i, level in enumerate((t[3], d3, d2)):
            queries = dual_domain(network.stages[i], queries, embedding, level, network.levels[i])
            maps.append(masks(network.heads[i + 1], queries, pixels))
        maps.append(maps[1] + maps[2] + maps[3])
        return torch.cat([resized(each, normalised_B3HW.shape[2:]) for each in maps], dim=1)


def resized(maps: Tensor, size: Any) -> Tensor:
    """Bilinear."""
    return functional.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)


def as_tokens(maps: Tensor) -> Tensor:
    """(B, h w, C)."""
    return maps.flatten(2).permute(0, 2, 1)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, dropout: float = 0.0) -> Tensor:
    """Attention of projected tokens, its weights formed."""
    q, k, v = (each.reshape(*each.shape[:2], heads, -1).permute(0, 2, 1, 3) for each in (q, k, v))
    weights = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), dim=-1)
    weights = functional.dropout(weights, dropout)
    return (weights @ v).permute(0, 2, 1, 3).flatten(2)


def multi_head(module: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The eight-headed attention of the network's parameters."""
    weights, biases = module.in_proj_weight.chunk(3), module.in_proj_bias.chunk(3)
    q, k, v = (functional.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))
    return module.out_proj(attend(q, k, v, HEADS, module.dropout if module.training else 0.0))


def backbone_maps(backbone: Any, maps: Tensor) -> list[Tensor]:
    """The four maps of PVTv2."""
    found = []
    tokens_BhwC = backbone.patch_embed(maps)
    for stage in backbone.stages:
        if stage.downsample is not None:
            tokens_BhwC = stage.downsample(maps)
        size = tokens_BhwC.shape[1:3]
        tokens = tokens_BhwC.flatten(1, 2)
        for block in stage.blocks:
            tokens = tokens + block.drop_path1(reduced_attention(block.attn, block.norm1(tokens), size))
            tokens = tokens + block.drop_path2(feed_forward(block.mlp, block.norm2(tokens), size))
        maps = as_maps(stage.norm(tokens), size)
        found.append(maps)
    return found


def as_maps(tokens: Tensor, size: Any) -> Tensor:
    """(B, C, h, w), copied."""
    return tokens.permute(0, 2, 1).reshape(len(tokens), -1, *size).contiguous()


def reduced_attention(module: Any, tokens: Tensor, size: Any) -> Tensor:
    """Attention to keys and values of a strided convolution."""
    memory = tokens if module.sr is None else module.norm(as_tokens(module.sr(as_maps(tokens, size))))
    k, v = module.kv(memory).chunk(2, dim=2)
    return module.proj(attend(module.q(tokens), k, v, module.num_heads))


def feed_forward(module: Any, tokens: Tensor, size: Any) -> Tensor:
    """Two linear layers around a depth-wise convolution."""
    return module.fc2(module.act(as_tokens(module.dwconv(as_maps(module.fc1(tokens), size)))))


def encoding(like: Tensor) -> Tensor:
    """(1, C, h, w): value j of an axis is the sine or cosine of position / 10000^(2 floor(j / 2) / (C / 2))."""
    half = like.shape[1] // 2
    divisors = [10000 ** (2 * (j // 2) / half) for j in range(half)]
    axes = []
    for length in like.shape[2:]:
        position = torch.arange(1, length + 1, device=like.device) / (length + 1e-6) * 2 * math.pi
        rows = [(position / d).sin() if j % 2 == 0 else (position / d).cos() for j, d in enumerate(divisors)]
        axes.append(torch.stack(rows))
    height, width = like.shape[2:]
    y = axes[0][:, :, None].expand(-1, -1, width)
    x = axes[1][:, None, :].expand(-1, height, -1)
    return torch.cat([y, x])[None]


def initial_queries(decoder: Any, pixels: Tensor, embedding: Tensor) -> Tensor:
    """Specification 1.4."""
    places = encoding(pixels).expand_as(pixels)
    values = as_tokens(places)
    keys = values + as_tokens(decoder.project(pixels))
    queries = torch.zeros_like(embedding)
    for layer in decoder.layers:
        own = layer.self_attention
        placed = queries + embedding
        queries = own.norm(queries + own.dropout(multi_head(own.attention, placed, placed, queries)))
        attended = multi_head(layer.cross_attention, queries + embedding, keys, values)
        queries = layer.cross_norm(queries + layer.dropout(attended))
        queries = layer.feed_forward_norm(queries + layer.dropout(layer.feed_forward(queries)))
    return decoder.norm(queries)


def dual_domain(stage: Any, queries: Tensor, embedding: Tensor, level: Tensor, level_embedding: Tensor) -> Tensor:
    """Specification 1.5."""
    features = stage.project(level)
    size = features.shape[2:]
    tokens = as_tokens(features) + level_embedding + as_tokens(encoding(features))
    maps = as_maps(tokens, size)
    q = queries + embedding

    low, *details = (haar_band(maps, band) for band in BANDS)
    low, high = as_tokens(low), as_tokens(details[0] + details[1] + details[2])
    wavelet = stage.wavelet
    memory = modulation(wavelet.modulation, high + low) * high + low
    x1 = wavelet.norm(multi_head(wavelet.attention, q, memory, memory) + q)

    branch = stage.prototypes
    assigned = torch.softmax(branch.assign(as_tokens(branch.features(maps))), dim=1)
    prototypes = assigned.transpose(1, 2) @ tokens
    x2 = branch.norm(q * modulation(branch.modulation, prototypes + q) + q)

    x = x1 + x2
    own = stage.self_attention
    return own.norm(x + multi_head(own.attention, x + embedding, x + embedding, x))


def haar_band(maps: Tensor, band: Any) -> Tensor:
    """One band by a depth-wise convolution."""
    channels = maps.shape[1]
    weight = torch.tensor(band, dtype=maps.dtype, device=maps.device) / 2
    return functional.conv2d(maps, weight.expand(channels, 1, 2, 2), stride=2, groups=channels)


def modulation(module: Any, tokens: Tensor) -> Tensor:
    """Gates of tokens."""
    return torch.sigmoid(module.local(tokens) + module.pooled(tokens.mean(dim=1, keepdim=True)))


def masks(head: Any, queries: Tensor, pixels: Tensor) -> Tensor:
    """Specification 1.6: a map for each query, added under their weights."""
    normed = head.norm(queries)
    every = torch.einsum("bqc,bchw->bqhw", head.embed(normed), head.project(pixels))
    return torch.einsum("bq,bqhw->bhw", head.weigh(normed)[..., 0], every)[:, None]
