"""Pure functions: scores and masks in, numbers out. Exact (no binning), float64 sums, ties as defined."""

from __future__ import annotations

from subband.metrics.curves import Curve, pro_curve, roc_curve
from subband.metrics.image import auroc, average_precision, f1_max, image_metrics
from subband.metrics.names import (
    CLASSIFICATION_METRICS,
    COSTS,
    METRICS,
    OBJECTIVES,
    SEGMENTATION_METRICS,
    TIE_BREAKERS,
    VIDEO_METRICS,
    Direction,
    Objective,
    direction_of,
    in_words,
    merit,
)
from subband.metrics.pixel import au_pro, pixel_metrics
from subband.metrics.regions import Regions, label_regions
from subband.metrics.segmentation import MeanCurves, PictureScores, mean_curves, score_picture, summarise_scores
from subband.metrics.thresholds import FprThreshold, threshold_at_fpr
from subband.metrics.video import SequenceScores, score_sequence, summarise_sequences

__all__ = [
    "CLASSIFICATION_METRICS",
    "COSTS",
    "METRICS",
    "OBJECTIVES",
    "SEGMENTATION_METRICS",
    "TIE_BREAKERS",
    "VIDEO_METRICS",
    "Curve",
    "Direction",
    "FprThreshold",
    "MeanCurves",
    "Objective",
    "PictureScores",
    "Regions",
    "SequenceScores",
    "au_pro",
    "auroc",
    "average_precision",
    "direction_of",
    "f1_max",
    "image_metrics",
    "in_words",
    "label_regions",
    "mean_curves",
    "merit",
    "pixel_metrics",
    "pro_curve",
    "roc_curve",
    "score_picture",
    "score_sequence",
    "summarise_scores",
    "summarise_sequences",
    "threshold_at_fpr",
]
