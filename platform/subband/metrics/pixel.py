"""Metrics of anomaly maps against masks: does the detector show where the defect is?

AU-PRO follows the official MVTec AD definition. Regions are the 8-connected components of each mask; negatives are all
pixels outside regions in all images, good images included; PRO is the mean over regions of the covered share; the curve
over the false-positive rate has one point per distinct score, is integrated by the trapezoid rule from 0 to the limit
with linear interpolation there, and is divided by the limit.

Shape suffixes: N images, H height, W width, P defect pixels, D distinct scores among them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from subband.errors import DataError, ParamsError, UndefinedMetricError
from subband.metrics import ranking
from subband.metrics.checks import as_masks, as_scores, finite, same_shape
from subband.metrics.regions import Regions, label_regions


def rank_pixels(
    maps_NHW: npt.ArrayLike, masks_NHW: npt.ArrayLike, regions: Regions | None = None
) -> tuple[ranking.Ranking, Regions]:
    """Sort the pixels of a category once; every pixel metric follows from the result.

    Args and errors as `pixel_metrics`.
    """
    maps = as_scores("maps", maps_NHW)
    masks = as_masks(masks_NHW)
    same_shape("maps", maps.shape, "masks", masks.shape)
    if regions is None:
        regions = label_regions(masks)
    elif not np.array_equal(regions.mask_NHW, masks):
        raise DataError("regions were labelled on other masks than the ones given; call label_regions(masks) again")
    positives_P, negatives_M = maps[masks], maps[~masks]
    if not len(positives_P) or not len(negatives_M):
        missing = "defect pixel (every mask is empty)" if not len(positives_P) else "good pixel (every mask is full)"
        raise UndefinedMetricError(
            f"there is no {missing} in {len(maps)} masks: pixel metrics and AU-PRO are undefined"
        )
    ranked = ranking.rank(positives_P, negatives_M)
    # NaN and infinities sort to the ends, so that only a damaged map pays for the search of the damage.
    extremes = (ranked.negatives_M[0], ranked.negatives_M[-1], ranked.scores_D[0], ranked.scores_D[-1])
    if not np.isfinite(extremes).all():
        finite("maps", maps)
    return ranked, regions


def pixel_metrics(
    maps_NHW: npt.ArrayLike,
    masks_NHW: npt.ArrayLike,
    limits: Sequence[float] = (0.3, 0.05),
    regions: Regions | None = None,
) -> dict[str, float]:
    """AUROC, average precision, F1-max and AU-PRO of all pixels of a category's test images.

    Args:
        maps_NHW: (N, H, W) anomaly maps, higher is worse; float32 is fastest. Never normalise them image by image.
        masks_NHW: (N, H, W) bool, or integers where non-zero is defective; empty for good images, which belong here
            too.
        limits: false-positive rates, each in (0, 1], up to which AU-PRO is integrated.
        regions: ``label_regions(masks_NHW)``, where the caller evaluates several maps on the same masks.

    Returns:
        ``pixel_auroc``, ``pixel_ap``, ``pixel_f1max`` and ``au_pro_<limit>`` for each limit, each in [0, 1].

    Raises:
        UndefinedMetricError: no defect pixel, or no good pixel.
        DataError: unequal shapes, fractional masks, NaN or infinite maps, regions of other masks.
        ParamsError: a limit outside (0, 1].
    """
    for limit in limits:
        _check_limit(limit)
    ranked, regions = rank_pixels(maps_NHW, masks_NHW, regions)
    weight_D = overlap_weights(ranked, regions)
    return {
        "pixel_auroc": ranking.auroc(ranked),
        "pixel_ap": ranking.average_precision(ranked),
        "pixel_f1max": ranking.f1_max(ranked)[0],
        **{f"au_pro_{limit:g}": ranking.area_to_limit(ranked, weight_D, limit) for limit in limits},
    }


def au_pro(
    maps_NHW: npt.ArrayLike, masks_NHW: npt.ArrayLike, limit: float = 0.3, regions: Regions | None = None
) -> float:
    """AU-PRO up to a false-positive rate of ``limit``, normalised by it; arguments and errors as `pixel_metrics`."""
    _check_limit(limit)
    ranked, regions = rank_pixels(maps_NHW, masks_NHW, regions)
    return ranking.area_to_limit(ranked, overlap_weights(ranked, regions), limit)


def overlap_weights(ranked: ranking.Ranking, regions: Regions) -> ranking.Floats:
    """Rise of the mean per-region overlap at each distinct score (D,), summing to 1."""
    rises = np.bincount(ranked.index_P, weights=regions.weight_P, minlength=len(ranked.scores_D))
    return rises.astype(np.float64, copy=False)


def _check_limit(limit: float) -> None:
    if not 0.0 < limit <= 1.0:
        raise ParamsError(f"an AU-PRO limit is a false-positive rate in (0, 1], not {limit}")
