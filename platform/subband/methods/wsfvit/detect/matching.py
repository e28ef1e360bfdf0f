"""Which marked object an anchor or a region belongs to, and how many of them all workers have together."""

from __future__ import annotations

from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor
from torchvision.models.detection._utils import Matcher


class ObjectMatcher(Matcher):  # type: ignore[misc]  # torchvision has no types
    """torchvision's matcher, with the rule for low qualities that the published detectors have.

    Every object also gets the candidates that overlap it most, if they do so by `floor` at least, whatever else they overlap; of
    several objects the last. torchvision's own rule would give an object that no candidate overlaps all of those.

    Args:
        high: IoU from which a candidate belongs to an object.
        low: IoU below which it is background.
        floor: least IoU of the rule; None leaves it out.
    """

    def __init__(self, high: float, low: float, floor: float | None) -> None:
        super().__init__(high, low, allow_low_quality_matches=floor is not None)
        self.floor = floor

    def set_low_quality_matches_(self, matches: Tensor, all_matches: Tensor, match_quality_matrix: Tensor) -> None:
        """Change `matches` (N,) in place, by the IoU (M, N) of objects and candidates."""
        best_M1 = match_quality_matrix.amax(dim=1, keepdim=True)
        taken_MN = (match_quality_matrix == best_M1) & (best_M1 >= cast("float", self.floor))
        numbers_M1 = torch.arange(1, len(best_M1) + 1, device=matches.device)[:, None]
        last_N = (taken_MN * numbers_M1).amax(dim=0)
        matches[last_N > 0] = last_N[last_N > 0] - 1


def mean_over_workers(count: int, device: torch.device) -> Tensor:
    """The mean of a count over the workers of a training, so that a sum divided by it is, averaged over them, the mean of all.

    Never below one for all workers together. Every worker has to call it.
    """
    total = torch.tensor(float(count), device=device)
    if not (dist.is_initialized() and dist.get_world_size() > 1):
        return total.clamp(min=1)
    dist.all_reduce(total)
    return total.clamp(min=1) / dist.get_world_size()
