"""One sort, every threshold-free metric: how the positives stand among the negatives.

Positives (defective samples, or pixels inside defects) are few and negatives many. So the negatives are sorted once,
the positives are looked up in them, and AUROC, average precision, F1-max and AU-PRO all follow from the same counts,
exactly (no binning).

Shape suffixes: P positives, M negatives, D distinct scores among the positives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ranking:
    """Where the positives stand among the negatives.

    Attributes:
        scores_D: distinct scores of the positives, descending.
        positives_D: how many positives have exactly that score.
        above_D: how many negatives score strictly higher.
        at_least_D: how many negatives score that much or higher.
        index_P: for each positive, in the order given, its place in ``scores_D``.
        negatives_M: all negatives, ascending.
    """

    scores_D: npt.NDArray[Any]
    positives_D: Counts
    above_D: Counts
    at_least_D: Counts
    index_P: Counts
    negatives_M: npt.NDArray[Any]

    @property
    def false_positive_rates(self) -> tuple[Floats, Floats]:
        """Share of negatives strictly above each distinct score, and share at or above it: two (D,) arrays."""
        total = len(self.negatives_M)
        return self.above_D / total, self.at_least_D / total


def rank(positives_P: npt.NDArray[Any], negatives_M: npt.NDArray[Any]) -> Ranking:
    """Count, for every positive, the negatives above it and level with it.

    Args:
        positives_P: at least one finite score, any order.
        negatives_M: at least one finite score, same dtype, any order; sorted in place, so hand over a copy.
    """
    negatives_M.sort()
    ascending, index_P, positives_D = np.unique(positives_P, return_inverse=True, return_counts=True)
    total = len(negatives_M)
    return Ranking(
        scores_D=ascending[::-1],
        positives_D=positives_D[::-1].astype(np.int64),
        above_D=total - np.searchsorted(negatives_M, ascending, side="right")[::-1],
        at_least_D=total - np.searchsorted(negatives_M, ascending, side="left")[::-1],
        index_P=len(ascending) - 1 - index_P,
        negatives_M=negatives_M,
    )


def area_to_limit(ranking: Ranking, weight_D: Floats, limit: float) -> float:
    """Area under a curve over the false-positive rate, from 0 to ``limit``, divided by ``limit``.

    The curve rises by ``weight_D[i]`` at the i-th distinct positive score: straight up where no negative has that
    score, else linearly while the tied negatives pass. That is the trapezoid over all distinct scores with linear
    interpolation at the limit, written as a sum over positives, so no point of the curve is ever built.

    Args:
        ranking: the counts.
        weight_D: rise per distinct score, summing to 1.
        limit: upper end of the integral, in (0, 1].
    """
    above, at_least = ranking.false_positive_rates
    tied = at_least - above
    while_rising = np.clip(limit - above, 0.0, tied)
    ramp = np.divide(while_rising**2, 2.0 * tied, out=np.zeros_like(tied), where=tied > 0)
    plateau = np.clip(limit - at_least, 0.0, None)
    return float(weight_D @ (ramp + plateau)) / limit


def auroc(ranking: Ranking) -> float:
    """Chance that a positive outscores a negative, ties counted half (the Mann-Whitney statistic)."""
    return area_to_limit(ranking, ranking.positives_D / ranking.positives_D.sum(), 1.0)


def average_precision(ranking: Ranking) -> float:
    """Sum over distinct thresholds of (increase of recall) x precision, without interpolation."""
    hits = np.cumsum(ranking.positives_D)
    precision = hits / (hits + ranking.at_least_D)
    return float(ranking.positives_D @ precision / hits[-1])


def f1_max(ranking: Ranking) -> tuple[float, float]:
    """Greatest F1 over all thresholds, and the threshold that gives it under the decision ``score > threshold``.

    Of several equally good thresholds the highest is taken (fewest alarms). It lies halfway between the lowest score
    that must be called defective and the next lower score, in the scores' own dtype: a threshold that only float64 can
    express would be rounded onto the score when it is compared with float32 scores, and flip the decision.

    Returns:
        F1 in (0, 1], and the threshold.
    """
    hits = np.cumsum(ranking.positives_D)
    f1_D = 2.0 * hits / (hits + ranking.at_least_D + hits[-1])
    best = int(np.argmax(f1_D))
    lowest_hit = ranking.scores_D[best]
    lower = [*ranking.scores_D[best + 1 : best + 2]]
    below = len(ranking.negatives_M) - int(ranking.at_least_D[best])
    lower += [*ranking.negatives_M[max(below - 1, 0) : below]]
    if not lower:
        return float(f1_D[best]), float(np.nextafter(lowest_hit, lowest_hit.dtype.type(-np.inf)))
    next_lower = max(lower)
    midpoint = next_lower / 2 + lowest_hit / 2
    return float(f1_D[best]), float(midpoint if next_lower < midpoint < lowest_hit else next_lower)
