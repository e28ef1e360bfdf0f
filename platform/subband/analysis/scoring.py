"""Scoring prepared images with a detector, and the truth they are compared with."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from subband.data import Category, Truth
from subband.errors import DataError
from subband.methods import Detector


def device() -> torch.device:
    """The accelerator that this worker was given, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def everything_reports(category: Category) -> Truth:
    """All test images report and none chooses: an analysis describes, it selects nothing.

    Raises:
        DataError: the category has no test images.
    """
    if not category.test:
        raise DataError(f"category {category.name} has no test images, so there is nothing to analyse")
    return Truth(category.test, (), tuple(range(len(category.test))))


@torch.inference_mode()
def score_batches(detector: Detector, batches: Iterable[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Maps (N, S, S) and scores (N,) of images (n, 3, S, S) in [0, 1], float32 without TF32."""
    where = next(detector.buffers()).device
    maps, scores = [], []
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for batch in batches:
            found = detector(batch.to(where))
            maps.append(found[0].cpu())
            scores.append(found[1].cpu())
    return torch.cat(maps).numpy(), torch.cat(scores).numpy()


def as_uint8(image: Tensor) -> np.ndarray:
    """An image (3, H, W) in [0, 1] as uint8 (H, W, 3), for display."""
    return np.asarray((image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())
