"""The threshold of a detector, from good samples alone. A sample is called defective when ``score > threshold``."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from subband.errors import DataError, ParamsError
from subband.metrics.checks import as_scores, finite


class FprThreshold(NamedTuple):
    """A threshold and what it promises.

    Attributes:
        threshold: decision is ``score > threshold``; it is one of the good scores.
        fpr: the false-positive rate that was asked for.
        bound: the rate that is guaranteed, ``(n + 1 - k) / (n + 1)`` for the k-th lowest of n scores; at most ``fpr``
            where ``guaranteed``.
        guaranteed: whether n good scores suffice for ``fpr``.
        note: one sentence for reports.
    """

    threshold: float
    fpr: float
    bound: float
    guaranteed: bool
    note: str


def threshold_at_fpr(good_scores: npt.ArrayLike, fpr: float) -> FprThreshold:
    """The lowest good score above which a new good sample falls with probability at most ``fpr``.

    The rule: the k-th lowest of the n good scores, ``k = ceil((n + 1) (1 - fpr))``. If the new good sample is
    exchangeable with the n (same product, same camera, none of them learnt from), its rank among the n + 1 is uniform,
    hence it exceeds that score with probability at most ``1 - k / (n + 1) <= fpr``, on average over draws of the n
    scores; ties only lower it. This is split conformal prediction. Where ``fpr < 1 / (n + 1)`` no order statistic
    suffices: the highest good score is taken, its rate ``1 / (n + 1)`` is stated as the bound, and ``guaranteed`` is
    False.

    Scores of samples that the detector learnt from are lower than those of fresh samples: the promise does not hold for
    them.

    Args:
        good_scores: (n,) scores of good samples, n >= 1.
        fpr: wanted false-positive rate, in (0, 1).

    Raises:
        ParamsError: ``fpr`` outside (0, 1).
        DataError: no score, not one axis, NaN or infinite scores.
    """
    if not 0.0 < fpr < 1.0:
        raise ParamsError(f"a false-positive rate must lie in (0, 1), not {fpr}")
    scores = as_scores("good_scores", good_scores)
    if scores.ndim != 1 or not len(scores):
        raise DataError(f"good_scores must have shape (n,) with n >= 1, not {scores.shape}")
    finite("good_scores", scores)
    n = len(scores)
    # The slack keeps products such as 100 x 0.29 = 28.999999999999996 from losing a rank.
    allowed_above = min(math.floor((n + 1) * fpr * (1 + 1e-12)), n)
    guaranteed = allowed_above >= 1
    above = max(allowed_above, 1)
    threshold = float(np.partition(scores, n - above)[n - above])
    bound = above / (n + 1)
    if guaranteed:
        note = f"at most {bound:.3g} of new good samples score higher (asked for: {fpr:g}; from {n} good scores)"
    else:
        needed = math.ceil(1 / fpr) - 1
        note = (
            f"a false-positive rate of {fpr:g} cannot be guaranteed by {n} good scores (it takes {needed}); "
            f"the highest good score is used, with a guaranteed rate of {bound:.3g}"
        )
    return FprThreshold(threshold, fpr, bound, guaranteed, note)
