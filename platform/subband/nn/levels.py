"""layer2 and layer3: the two feature levels that the memory-bank methods read.

They are named after ResNet's; in another network with strides they are the end of its stride-8 stage and its last end at stride 16,
in a plain ViT the maps of one or two blocks: of one, both levels are the same map.

Shapes: N images of H x W pixels; layer2 (N, C2, h, w), layer3 (N, C3, h', w').
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from subband.errors import DataError, ModelError
from subband.nn.backbones import Backbone

SMALLEST_SIDE = 16  # one cell of layer3


class Levels(NamedTuple):
    """The two feature levels that are read: (N, C2, h, w) and (N, C3, h', w')."""

    layer2: Tensor
    layer3: Tensor


def feature_levels(backbone: Backbone, normalised_N3HW: Tensor) -> Levels:
    """layer2 and layer3 of normalised images.

    Raises:
        DataError: the images are smaller than 16 x 16 pixels, one cell of layer3.
        ModelError: the network has no such levels.
    """
    check_image_size(normalised_N3HW.shape[2], normalised_N3HW.shape[3])
    maps = backbone.taps(normalised_N3HW)
    return Levels(*(maps[index] for index in _places(backbone)))


def distinct(levels: Levels) -> tuple[Tensor, ...]:
    """The levels without repetition: one if both are the same map."""
    return (levels.layer2,) if levels.layer2 is levels.layer3 else tuple(levels)


def level_channels(backbone: Backbone) -> tuple[int, int]:
    """C2 and C3."""
    layer2, layer3 = (backbone.spec.taps[index].channels for index in _places(backbone))
    return layer2, layer3


def _places(backbone: Backbone) -> tuple[int, int]:
    if backbone.spec.bank is None:
        raise ModelError(f"{backbone.name} has no levels that a memory bank could read")
    return backbone.spec.bank


def check_image_size(height: int, width: int) -> None:
    """Refuse images that the network cannot see.

    Raises:
        DataError: a side below 16 pixels.
    """
    if min(height, width) < SMALLEST_SIDE:
        raise DataError(
            f"images are {height} x {width} pixels; the network needs at least {SMALLEST_SIDE} x {SMALLEST_SIDE}, "
            "one cell of layer3"
        )


def check_finite(maps: Tensor, what: str) -> None:
    """Refuse features that are NaN or infinite; on an accelerator the host waits for the answer.

    Args:
        maps: any float tensor.
        what: the layer, for the message ("layer2").

    Raises:
        ModelError: a value is not finite.
    """
    # The sum is finite for all finite features and needs no mask of their size.
    if not torch.isfinite(maps.sum()) and not torch.isfinite(maps).all():
        broken = int((~torch.isfinite(maps)).sum())
        raise ModelError(
            f"{broken} of {maps.numel()} {what} features are NaN or infinite; the backbone's weights or the images are broken"
        )
