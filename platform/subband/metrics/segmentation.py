"""Metrics of segmentation maps, as published for salient and camouflaged objects and for surface defects.

Maps and masks are 8-bit grey images of equal size. A mask's foreground is above 128. A map is stretched to [0, 1] first
(from its lowest to its highest value, unless it is constant), but for IoU and Dice; a threshold t keeps
``floor(255 p) >= t``. The values equal those of PySODMetrics 1.6 and of the published evaluation code, but for the
S-measure's corner cases (`subband.metrics.structure`). PySODMetrics itself is not a dependency: it requires numpy < 2.3.5,
OpenCV, scikit-image and scikit-learn, for five formulas that need numpy and scipy.

What a threshold keeps is counted once, for all 256 thresholds, from the histograms of foreground and background; precision, recall,
F- and E-measure are functions of those counts.

Shape suffixes: N images, T = 256 thresholds, from 255 down to 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from subband.errors import DataError, UndefinedMetricError
from subband.metrics.checks import same_shape
from subband.metrics.structure import EPSILON, s_measure
from subband.metrics.weighted_f import weighted_f

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Picture = npt.NDArray[np.uint8]

MASK_ABOVE = 128
F_BETA_SQUARED = 0.3


@dataclass(frozen=True, eq=False)
class PictureScores:
    """How one map compares with its mask: 4 KB, whatever the image's size.

    Attributes:
        s_measure: Fan et al., ICCV 2017.
        weighted_f: Margolin et al., CVPR 2014.
        mae: mean absolute error (Perazzi et al., CVPR 2012).
        f_adaptive: F-measure at twice the map's mean, at most 1.
        e_adaptive: E-measure there.
        iou: intersection over union of the unstretched map at 0.5; 1 where map and mask are both empty.
        dice: of the same two regions; 1 where both are empty.
        hits_T: foreground pixels that each threshold keeps.
        alarms_T: background pixels that it keeps.
        foreground: foreground pixels.
        pixels: of the image.
    """

    s_measure: float
    weighted_f: float
    mae: float
    f_adaptive: float
    e_adaptive: float
    iou: float
    dice: float
    hits_T: Counts
    alarms_T: Counts
    foreground: int
    pixels: int


class MeanCurves(NamedTuple):
    """Means over images at each threshold, 255 first: four (T,) arrays."""

    precision: Floats
    recall: Floats
    f: Floats
    e: Floats


def score_picture(prediction: npt.ArrayLike, mask: npt.ArrayLike, strict_reference: bool = False) -> PictureScores:
    """Compare a map with its mask.

    Args:
        prediction: uint8 (H, W), higher is more certainly foreground.
        mask: uint8 (H, W), foreground above 128.
        strict_reference: give 0 where the published code has no S-measure, as it does.

    Raises:
        DataError: not 8-bit, not two axes, unequal shapes, or fewer than two pixels.
    """
    predicted, truth = _grey("prediction", prediction), _grey("mask", mask)
    same_shape("prediction", predicted.shape, "mask", truth.shape)
    wanted = truth > MASK_ABOVE
    stretched_256 = _stretched(int(predicted.min()), int(predicted.max()))
    values = stretched_256[predicted]
    on = np.bincount(predicted[wanted], minlength=256)
    off = np.bincount(predicted.ravel(), minlength=256) - on
    kept_256 = (stretched_256 * 255).astype(np.int64)  # the grey level of each after stretching, cut off
    hits_T, alarms_T = (_at_least(np.bincount(kept_256, weights=counts, minlength=256)) for counts in (on, off))
    foreground, pixels = int(wanted.sum()), wanted.size

    adaptive = stretched_256 >= min(2 * float(values.mean()), 1.0)
    hits, alarms = on[adaptive].sum(), off[adaptive].sum()
    kept_on, kept_off = int(on[128:].sum()), int(off[128:].sum())
    union, both = foreground + kept_off, foreground + kept_on + kept_off
    return PictureScores(
        s_measure=s_measure(values, wanted, strict_reference),
        weighted_f=weighted_f(values, wanted),
        mae=float(np.abs(values - wanted).mean()),
        f_adaptive=float(f_measure(hits, alarms, foreground)),
        e_adaptive=float(e_measure(hits, alarms, foreground, pixels)),
        iou=kept_on / union if union else 1.0,
        dice=2 * kept_on / both if both else 1.0,
        hits_T=hits_T,
        alarms_T=alarms_T,
        foreground=foreground,
        pixels=pixels,
    )


def summarise_scores(scores: Sequence[PictureScores]) -> dict[str, float]:
    """Means over the images of a data set.

    Returns:
        The names of `subband.metrics.SEGMENTATION_METRICS`. ``f_max``, ``f_mean``, ``e_max`` and ``e_mean`` are the
        highest and the mean value over the thresholds of the mean curve; all others are means of each image's value.
        All are in [0, 1], but for an E-measure of up to 1 + 1 / (H W - 1), since its definition divides by H W - 1.

    Raises:
        UndefinedMetricError: there is no image.
    """
    curves = mean_curves(scores)

    def mean(name: str) -> float:
        return float(np.mean([getattr(score, name) for score in scores]))

    return {
        "s_measure": mean("s_measure"),
        "e_max": float(curves.e.max()),
        "e_mean": float(curves.e.mean()),
        "e_adaptive": mean("e_adaptive"),
        "weighted_f": mean("weighted_f"),
        "f_max": float(curves.f.max()),
        "f_mean": float(curves.f.mean()),
        "f_adaptive": mean("f_adaptive"),
        "mae": mean("mae"),
        "iou": mean("iou"),
        "dice": mean("dice"),
    }


def mean_curves(scores: Sequence[PictureScores]) -> MeanCurves:
    """Precision, recall, F- and E-measure at each threshold, averaged over images.

    Raises:
        UndefinedMetricError: there is no image.
    """
    if not scores:
        raise UndefinedMetricError("there is no image to average over; score at least one map with its mask")
    hits_NT = np.stack([score.hits_T for score in scores])
    alarms_NT = np.stack([score.alarms_T for score in scores])
    foreground_N1 = np.array([[score.foreground] for score in scores])
    pixels_N1 = np.array([[score.pixels] for score in scores])
    precision_NT, recall_NT = precision_and_recall(hits_NT, alarms_NT, foreground_N1)
    f_NT = f_measure(hits_NT, alarms_NT, foreground_N1)
    e_NT = e_measure(hits_NT, alarms_NT, foreground_N1, pixels_N1)
    return MeanCurves(*(curve.mean(axis=0) for curve in (precision_NT, recall_NT, f_NT, e_NT)))


def precision_and_recall(hits: Any, alarms: Any, foreground: Any) -> tuple[Floats, Floats]:
    """Precision and recall of kept pixels; an empty denominator counts as 1, so that both are then 0.

    Args:
        hits: kept foreground pixels, any shape.
        alarms: kept background pixels.
        foreground: all foreground pixels; must broadcast.
    """
    hits = np.asarray(hits, np.float64)
    return hits / np.maximum(hits + alarms, 1), hits / np.maximum(foreground, 1)


def f_measure(hits: Any, alarms: Any, foreground: Any) -> Floats:
    """F-measure with beta^2 = 0.3 (Achanta et al., CVPR 2009); 0 without hits. Arguments as `precision_and_recall`."""
    precision, recall = precision_and_recall(hits, alarms, foreground)
    above = (1 + F_BETA_SQUARED) * precision * recall
    below = F_BETA_SQUARED * precision + recall
    return np.asarray(above / np.where(above == 0, 1, below), np.float64)


def e_measure(hits: Any, alarms: Any, foreground: Any, pixels: Any) -> Floats:
    """E-measure of kept pixels (Fan et al., IJCAI 2018, enhanced alignment).

    A pixel's alignment depends only on whether it is kept and whether it is foreground, so the sum over the image is one over
    four kinds of pixels.

    Args:
        hits: kept foreground pixels, any shape.
        alarms: kept background pixels.
        foreground: all foreground pixels; must broadcast.
        pixels: all pixels, at least 2; must broadcast.
    """
    hits, alarms = np.asarray(hits, np.float64), np.asarray(alarms, np.float64)
    kept, wanted = (hits + alarms) / pixels, foreground / np.asarray(pixels, np.float64)
    kinds = (
        (hits, 1 - kept, 1 - wanted),
        (alarms, 1 - kept, -wanted),
        (foreground - hits, -kept, 1 - wanted),
        (pixels - foreground - alarms, -kept, -wanted),
    )
    total = sum(count * (1 + 2 * f * g / (f**2 + g**2 + EPSILON)) ** 2 / 4 for count, f, g in kinds)
    # Without foreground, or without background, only what agrees with the mask counts.
    total = np.where(foreground == 0, pixels - alarms, np.where(foreground == pixels, hits, total))
    return np.asarray(total / (pixels - 1 + EPSILON), np.float64)


def _grey(name: str, picture: npt.ArrayLike) -> Picture:
    array = np.asarray(picture)
    if array.dtype != np.uint8:
        raise DataError(f"{name} must be 8-bit grey (uint8, 0 to 255), not {array.dtype}")
    if array.ndim != 2 or array.size < 2:
        raise DataError(f"{name} must have shape (H, W) with at least two pixels, not {array.shape}")
    return array


def _stretched(low: int, high: int) -> Floats:
    """What each of the 256 grey levels becomes: ``low`` 0 and ``high`` 1, or unchanged in [0, 1] where they are equal."""
    levels = np.arange(256) / 255
    return levels if low == high else np.clip((levels - levels[low]) / (levels[high] - levels[low]), 0, 1)


def _at_least(counts_256: npt.NDArray[Any]) -> Counts:
    """Pixels at or above each threshold, 255 first."""
    return np.cumsum(counts_256[::-1]).astype(np.int64)
