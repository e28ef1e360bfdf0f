"""Pure functions: scores and masks in, numbers out. Exact (no binning), float64 sums, ties as defined."""

from __future__ import annotations

from subband.metrics.curves import Curve, pro_curve, roc_curve
from subband.metrics.image import auroc, average_precision, f1_max, image_metrics
from subband.metrics.names import COSTS, METRICS, OBJECTIVES, Direction, Objective, direction_of, in_words, merit
from subband.metrics.pixel import au_pro, pixel_metrics
from subband.metrics.regions import Regions, label_regions
from subband.metrics.thresholds import FprThreshold, threshold_at_fpr

__all__ = [
    "COSTS",
    "METRICS",
    "OBJECTIVES",
    "Curve",
    "Direction",
    "FprThreshold",
    "Objective",
    "Regions",
    "au_pro",
    "auroc",
    "average_precision",
    "direction_of",
    "f1_max",
    "image_metrics",
    "in_words",
    "label_regions",
    "merit",
    "pixel_metrics",
    "pro_curve",
    "roc_curve",
    "threshold_at_fpr",
]
