"""The training loss: binary cross-entropy plus soft IoU of each of the predictions (specification 2).

Shapes: B images, P predictions, H x W pixels.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

LossForm = Literal["probabilities", "logits"]


class SegmentationLoss(NamedTuple):
    """The two terms of each prediction, (P,) float32; `total` is what is trained on."""

    cross_entropy: Tensor
    iou: Tensor

    @property
    def total(self) -> Tensor:
        """Sum of both terms over the predictions, a scalar."""
        return self.cross_entropy.sum() + self.iou.sum()


def segmentation_loss(
    logits_BPHW: Tensor, masks_B1HW: Tensor, form: LossForm = "logits", iou_smoothing: float = 0.0
) -> SegmentationLoss:
    """Loss of predictions against masks, in float32 whatever the autocast.

    Args:
        logits_BPHW: (B, P, H, W).
        masks_B1HW: (B, 1, H, W) in [0, 1]; soft values are what resizing leaves at edges.
        form: how the cross-entropy is computed. ``probabilities``, as published: from float32 probabilities with logarithms cut
            at -100, so that a false positive above a logit of about 16.6 costs 100 and has no gradient, and that of a false
            negative fades below -27.6. ``logits``: exact for all values.
        iou_smoothing: pixels added to intersection and union. Published is 0: the term of an empty mask is then 1 whatever is
            predicted and teaches nothing, and NaN if all probabilities underflow. A positive one lets it teach.
    """
    with torch.autocast(logits_BPHW.device.type, enabled=False):
        logits = logits_BPHW.float()
        masks = masks_B1HW.float().expand_as(logits)
        probabilities = torch.sigmoid(logits)
        if form == "logits":
            entropy = functional.binary_cross_entropy_with_logits(logits, masks, reduction="none")
        else:
            entropy = functional.binary_cross_entropy(probabilities, masks, reduction="none")
        both = (probabilities * masks).sum(dim=(2, 3))
        union = probabilities.sum(dim=(2, 3)) + masks.sum(dim=(2, 3)) - both
        iou = 1 - (both + iou_smoothing) / (union + iou_smoothing)
        return SegmentationLoss(entropy.mean(dim=(0, 2, 3)), iou.mean(dim=0))
