"""Patch vectors of PatchCore (specification wdam_fmas 5), and the plain features of WEDGE-Net's baseline.

The published order is: unfold every map into patches, resize the patch tensors to the first layer's grid, average neighbouring
entries to `pooled` a layer, stack the layers, average again to `target`. Every step is linear, and resizing acts on the
positions alone while averaging acts on the entries alone, so they commute. Here the averages come first: one grouped
convolution a layer at its own size, straight to the few target entries. The unfolded patches (patch^2 times the maps) are
never made; with resnet50's layers 2 and 3 this is 50 times faster.

Shapes: N images; layer l has maps (N, C_l, h_l, w_l); the grid is that of the first layer; D = `target` entries.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from subband.errors import ParamsError
from subband.nn.levels import check_finite
from subband.nn.wavelets import resize_maps


@dataclass(frozen=True)
class LayerAverages:
    """How one layer's patches enter the target entries.

    Attributes:
        weight: (rows, C / groups, patch, patch) float32, for `conv2d`.
        groups: groups of channels that reach separate entries.
        start: the first entry that this layer reaches; the others follow.
    """

    weight: Tensor
    groups: int
    start: int


def patch_embedding(layer_maps: Sequence[Tensor], patch: int = 3, pooled: int = 1024, target: int = 1024) -> Tensor:
    """One vector a position of the first layer's grid, positions row by row.

    Args:
        layer_maps: maps (N, C, h, w), the finest layer first.
        patch: side of the patches in cells, odd; zeros beyond the border.
        pooled: entries a layer after the first average.
        target: entries after the second.

    Returns:
        (N, h * w, target).

    Raises:
        ParamsError: no layer, an even patch, or lengths below 1.
        ModelError: a feature is NaN or infinite; checked on the CPU only, where the host need not wait for the answer.
    """
    check_patches(len(layer_maps), patch, pooled, target)
    if layer_maps[0].is_cpu and not torch.compiler.is_compiling():
        for index, maps in enumerate(layer_maps):
            check_finite(maps, f"layer {index}")
    first = layer_maps[0]
    grid = (first.shape[2], first.shape[3])
    out = first.new_zeros(first.shape[0], target, *grid)
    operators = layer_averages(tuple(maps.shape[1] for maps in layer_maps), patch, pooled, target)
    for maps, operator in zip(layer_maps, operators, strict=True):
        weight = operator.weight.to(maps)
        entries = conv2d(maps, weight, padding=patch // 2, groups=operator.groups)
        out[:, operator.start : operator.start + len(weight)] += resize_maps(entries, grid, antialias=False)
    return out.flatten(2).transpose(1, 2)


def check_patches(layers: int, patch: int, pooled: int, target: int) -> None:
    """Refuse what gives no patch vector.

    Raises:
        ParamsError: no layer, an even patch, or lengths below 1.
    """
    if layers < 1:
        raise ParamsError("patches need the maps of at least one layer")
    if patch < 1 or patch % 2 == 0:
        raise ParamsError(f"patch is {patch}; it must be odd and at least 1, so that a patch has a central cell")
    for name, value in (("pooled", pooled), ("target", target)):
        if value < 1:
            raise ParamsError(f"{name} is {value}; it must be at least 1")


@functools.lru_cache(maxsize=16)
def layer_averages(channels: tuple[int, ...], patch: int, pooled: int, target: int) -> tuple[LayerAverages, ...]:
    """Both averages of every layer as one convolution each.

    Args:
        channels: of the layers, in order.
        patch: side of the patches in cells.
        pooled: entries a layer after the first average.
        target: entries after the second.
    """
    layers = len(channels)
    second = adaptive_averages(layers * pooled, target)
    operators = []
    for layer, count in enumerate(channels):
        own = second[:, layer * pooled : (layer + 1) * pooled]
        reached = own.any(dim=1).nonzero().flatten()
        start, rows = int(reached[0]), len(reached)
        matrix = own[start : start + rows] @ adaptive_averages(count * patch**2, pooled)
        # Where the lengths have a common divisor, the bins of both averages start anew with every such group of channels, and each
        # layer fills target / layers entries of its own; else every entry is allowed to read every channel.
        groups = math.gcd(count, pooled, target // layers) if target % layers == 0 else 1
        blocks = matrix.reshape(groups, rows // groups, groups, count // groups, patch, patch)
        weight = torch.cat([blocks[group, :, group] for group in range(groups)])
        operators.append(LayerAverages(weight.float(), groups, start))
    return tuple(operators)


def adaptive_averages(length: int, bins: int) -> Tensor:
    """(bins, length) float64 matrix of torch's adaptive average: bin i covers floor(i L / b) to ceil((i + 1) L / b)."""
    out = torch.zeros(bins, length, dtype=torch.float64)
    for index in range(bins):
        start, stop = index * length // bins, -(-(index + 1) * length // bins)
        out[index, start:stop] = 1 / (stop - start)
    return out


def averaged_features(layer_maps: Sequence[Tensor]) -> Tensor:
    """Features of WEDGE-Net's published baseline: 3 x 3 means with divisor 9, later layers resized, concatenated, not normalised.

    Args:
        layer_maps: maps (N, C, h, w), the finest layer first; for resnet50 or wide_resnet50_2 layer2 and layer3.

    Returns:
        (N, sum of C, h, w) on the first layer's grid.

    Raises:
        ParamsError: no layer.
    """
    if not layer_maps:
        raise ParamsError("averaged features need the maps of at least one layer")
    grid = (layer_maps[0].shape[2], layer_maps[0].shape[3])
    return torch.cat([resize_maps(avg_pool2d(maps, 3, 1, 1), grid, antialias=False) for maps in layer_maps], dim=1)
