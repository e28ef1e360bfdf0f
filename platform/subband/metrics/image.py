"""Metrics of a score per sample: does the detector tell defective samples from good ones?"""

from __future__ import annotations

import numpy.typing as npt

from subband.errors import UndefinedMetricError
from subband.metrics import ranking
from subband.metrics.checks import as_labels, as_scores, finite, same_shape


def rank_samples(labels: npt.ArrayLike, scores: npt.ArrayLike, *, unit: str = "sample") -> ranking.Ranking:
    """Rank labelled scores of any shape; the first step of every metric here.

    Args:
        labels: 0 good, 1 defective; any shape.
        scores: same shape, higher is worse.
        unit: what one score stands for, for error messages.

    Raises:
        UndefinedMetricError: only one label occurs; the message says which is missing.
        DataError: unequal shapes, labels other than 0 and 1, NaN or infinite scores.
    """
    label_array, score_array = as_labels("labels", labels), as_scores("scores", scores)
    same_shape("labels", label_array.shape, "scores", score_array.shape)
    finite("scores", score_array)
    positives, negatives = score_array[label_array], score_array[~label_array]
    if not len(positives) or not len(negatives):
        missing = f"defective {unit} (label 1)" if not len(positives) else f"good {unit} (label 0)"
        raise UndefinedMetricError(
            f"there is no {missing} among {label_array.size}: AUROC, average precision and F1 need both labels"
        )
    return ranking.rank(positives, negatives)


def image_metrics(labels: npt.ArrayLike, scores: npt.ArrayLike) -> dict[str, float]:
    """AUROC, average precision and F1-max of the image scores of one category.

    Args:
        labels: (N,), 0 good, 1 defective.
        scores: (N,), higher is worse.

    Returns:
        ``image_auroc`` (ties count half), ``image_ap`` (step-wise, as scikit-learn's average_precision_score) and
        ``image_f1max``, each in [0, 1].

    Raises:
        UndefinedMetricError: only one label occurs.
        DataError: unequal shapes, labels other than 0 and 1, NaN or infinite scores.

    Example:
        >>> image_metrics([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.9])["image_auroc"]
        0.75
    """
    ranked = rank_samples(labels, scores)
    return {
        "image_auroc": ranking.auroc(ranked),
        "image_ap": ranking.average_precision(ranked),
        "image_f1max": ranking.f1_max(ranked)[0],
    }


def auroc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the ROC curve, ties counted half; arguments and errors as `rank_samples`."""
    return ranking.auroc(rank_samples(labels, scores))


def average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Step-wise average precision, as scikit-learn's; arguments and errors as `rank_samples`."""
    return ranking.average_precision(rank_samples(labels, scores))


def f1_max(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[float, float]:
    """Greatest F1 over all thresholds and the threshold that gives it; arguments and errors as `rank_samples`.

    Returns:
        F1 in (0, 1], and the threshold for the decision ``score > threshold``: halfway between the lowest score called
        defective and the next lower one. Of several equally good thresholds, the highest.
    """
    return ranking.f1_max(rank_samples(labels, scores))
