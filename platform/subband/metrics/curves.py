"""Points of ROC and PRO curves, thinned for plotting. For areas use the exact metrics, not these points."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from subband.errors import ParamsError
from subband.metrics.image import rank_samples
from subband.metrics.pixel import overlap_weights, rank_pixels
from subband.metrics.ranking import Floats, Ranking
from subband.metrics.regions import Regions


class Curve(NamedTuple):
    """A curve from (0, 0) to (1, 1) over the false-positive rate; both arrays (K,) and never falling."""

    fpr: Floats
    rate: Floats


def roc_curve(labels: npt.ArrayLike, scores: npt.ArrayLike, max_points: int = 2000) -> Curve:
    """True-positive rate over false-positive rate; works on samples and, with masks and maps, on pixels.

    Args:
        labels: 0 good, 1 defective; any shape.
        scores: same shape, higher is worse.
        max_points: at most so many points are kept (at least 2), evenly along the curve; those kept are exact.

    Raises:
        UndefinedMetricError, DataError: as `subband.metrics.image_metrics`.
        ParamsError: fewer than two points asked for.
    """
    ranked = rank_samples(labels, scores)
    return _thinned(ranked, ranked.positives_D / ranked.positives_D.sum(), max_points)


def pro_curve(
    maps_NHW: npt.ArrayLike, masks_NHW: npt.ArrayLike, regions: Regions | None = None, max_points: int = 2000
) -> Curve:
    """Mean per-region overlap over false-positive rate; arguments and errors as `pixel_metrics` and `roc_curve`."""
    ranked, regions = rank_pixels(maps_NHW, masks_NHW, regions)
    return _thinned(ranked, overlap_weights(ranked, regions), max_points)


def _thinned(ranked: Ranking, weight_D: Floats, max_points: int) -> Curve:
    if max_points < 2:
        raise ParamsError(f"max_points must be at least 2 (both ends of the curve), not {max_points}")
    before, after = ranked.false_positive_rates
    risen = np.minimum(np.cumsum(weight_D), 1.0)
    # A score's tie group starts at `before` and ends at `after`; the curve is straight in between and flat between
    # groups.
    fpr = np.concatenate([[0.0], np.stack([before, after], axis=1).ravel(), [1.0]])
    rate = np.concatenate([[0.0], np.stack([risen - weight_D, risen], axis=1).ravel(), [1.0]])
    rate = np.maximum.accumulate(np.clip(rate, 0.0, 1.0))
    length = np.concatenate([[0.0], np.cumsum(np.diff(fpr) + np.diff(rate))])
    if len(fpr) > max_points:
        kept = np.unique(np.searchsorted(length, np.linspace(0.0, length[-1], max_points)))
        kept[-1] = len(fpr) - 1
        fpr, rate = fpr[kept], rate[kept]
    return Curve(fpr, rate)
