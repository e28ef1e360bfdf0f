"""Box deltas as mmdetection decodes them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder


class SymmetricCoder(BoxCoder):  # type: ignore[misc]  # torchvision has no types
    """torchvision's coder, by which a box shrinks to 16 / 1000 of its side at least, as it grows to 1000 / 16 at most."""

    def decode_single(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        """Deltas (N, 4 K) of boxes (N, 4) to boxes (N, 4 K)."""
        least = [-math.inf, -math.inf, *(-self.bbox_xform_clip * weight for weight in self.weights[2:])]
        floor = rel_codes.new_tensor(least).repeat(rel_codes.shape[1] // 4)
        decoded: Tensor = super().decode_single(torch.maximum(rel_codes, floor), boxes)
        return decoded
