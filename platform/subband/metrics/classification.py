"""Accuracy of classifiers: the rank of each image's class among its logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from subband.errors import UndefinedMetricError

TOP = 5


class PictureRank(NamedTuple):
    """How a classifier did on one image.

    Attributes:
        rank: number of classes with a higher logit than the right one; 0 is right.
        cross_entropy: minus the logarithm of the right class's probability.
    """

    rank: int
    cross_entropy: float


def rank_of(logits_NK: Tensor, labels_N: Tensor) -> list[PictureRank]:
    """What `summarise_ranks` needs of each image.

    Classes with the same logit as the right one count as higher where they stand before it, as in an order by `topk`; a logit
    that is no number ranks last.

    Args:
        logits_NK: float.
        labels_N: index of the right class.
    """
    logits = logits_NK.nan_to_num(nan=-float("inf"), posinf=float("inf"), neginf=-float("inf"))
    own = logits.gather(1, labels_N[:, None])
    before = (logits == own) & (torch.arange(logits.shape[1]) < labels_N[:, None])
    undefined = logits_NK.gather(1, labels_N[:, None]).isnan()[:, 0]
    ranks = ((logits > own) | before).sum(dim=1).masked_fill(undefined, logits.shape[1])
    losses = functional.cross_entropy(logits_NK, labels_N, reduction="none")
    return [PictureRank(int(rank), float(loss)) for rank, loss in zip(ranks, losses, strict=True)]


def summarise_ranks(results: Sequence[PictureRank], classes: int) -> dict[str, float]:
    """Metrics over images.

    Args:
        results: of every image.
        classes: how many are told apart; with five or fewer the right one is always among five, so that ``top5`` is left out.

    Returns:
        ``top1`` and ``top5``: shares of the images, in [0, 1]; ``cross_entropy``, mean in nats.

    Raises:
        UndefinedMetricError: there are no images.
    """
    if not results:
        raise UndefinedMetricError("there are no images to classify")
    ranks, losses = (np.array(each) for each in zip(*results, strict=True))
    metrics = {"top1": float((ranks == 0).mean())}
    if classes > TOP:
        metrics["top5"] = float((ranks < TOP).mean())
    return {**metrics, "cross_entropy": float(losses.mean())}
