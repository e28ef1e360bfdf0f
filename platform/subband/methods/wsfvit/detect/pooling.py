"""RoIAlign on a pyramid with half-pixel alignment, and masks cut from and put back to the same places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import roi_align
from torchvision.ops.poolers import LevelMapper

from subband.methods.wsfvit.detect.backbone import LEVELS, STRIDES

_LEVEL_OF = LevelMapper(k_min=2, k_max=5)  # by the square root of the area: 224 pixels are read at stride 16


def pooled_regions(maps: Mapping[str, Tensor], boxes: Sequence[Tensor], side: int) -> Tensor:
    """What a pyramid holds in boxes (He et al., ICCV 2017): a fixed grid of bilinear samples.

    torchvision's `MultiScaleRoIAlign` is shifted by half a pixel and guesses the strides from the images without their padding,
    which fails where that is large.

    Args:
        maps: (B, C, H, W) at the strides 4 to 32, by level.
        boxes: of each image, (R, 4) in its pixels.
        side: of the grid.

    Returns:
        (sum of R, C, side, side) float32.
    """
    rois = _with_picture(boxes)
    levels = _LEVEL_OF(list(boxes)) if len(rois) else rois.new_zeros(0)
    first = maps[LEVELS[0]]
    # One level after the other, then back to the order of the boxes. Every map takes part, so that it always has a gradient.
    parts = [
        roi_align(maps[name].float(), rois[levels == level], side, 1 / stride, sampling_ratio=0, aligned=True)
        for level, (name, stride) in enumerate(zip(LEVELS, STRIDES, strict=True))
    ]
    order = torch.cat([torch.where(levels == level)[0] for level in range(len(LEVELS))])
    out = first.new_zeros((len(rois), first.shape[1], side, side), dtype=torch.float32)
    return out.index_copy(0, order, torch.cat(parts))


def mask_targets(masks: Sequence[Tensor], boxes: Sequence[Tensor], matched: Sequence[Tensor], side: int) -> Tensor:
    """The part of its object's mask that each box sees, as a grid of zeros and ones.

    Args:
        masks: of each image, (M, H, W) bool.
        boxes: of each image, (R, 4).
        matched: of each image, (R,) places among the masks.
        side: of the grid.

    Returns:
        (sum of R, side, side) float32.
    """
    parts = []
    for masks_MHW, boxes_R4, matched_R in zip(masks, boxes, matched, strict=True):
        if not len(boxes_R4):
            continue
        rois = torch.cat([matched_R[:, None].to(boxes_R4), boxes_R4], dim=1)
        parts.append(
            roi_align(masks_MHW[:, None].to(boxes_R4), rois, side, 1.0, sampling_ratio=0, aligned=True)[:, 0] >= 0.5
        )
    return torch.cat(parts).float() if parts else boxes[0].new_zeros((0, side, side))


def pasted_mask(probabilities: Tensor, box: Sequence[float], width: int, height: int) -> Tensor:
    """A mask grid at its box's place in an image.

    Args:
        probabilities: (S, S).
        box: in pixels of the image.
        width: of the image.
        height: of the image.

    Returns:
        (H, W) bool, probabilities of at least 0.5.
    """
    x0, y0, x1, y1 = box
    left, top = max(0, int(x0)), max(0, int(y0))
    right, bottom = min(width, int(-(-x1 // 1))), min(height, int(-(-y1 // 1)))
    mask = torch.zeros((height, width), dtype=torch.bool, device=probabilities.device)
    if right <= left or bottom <= top:
        return mask
    across = (torch.arange(left, right, device=mask.device) + 0.5 - x0) / (x1 - x0) * 2 - 1
    down = (torch.arange(top, bottom, device=mask.device) + 0.5 - y0) / (y1 - y0) * 2 - 1
    grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)[None].to(probabilities.dtype)
    values = functional.grid_sample(probabilities[None, None], grid, align_corners=False)[0, 0]
    mask[top:bottom, left:right] = values >= 0.5
    return mask


def _with_picture(boxes: Sequence[Tensor]) -> Tensor:
    """(sum of R, 5): the image's place in the batch before each box."""
    return torch.cat(
        [torch.cat([each.new_full((len(each), 1), place), each], dim=1) for place, each in enumerate(boxes)]
    )
