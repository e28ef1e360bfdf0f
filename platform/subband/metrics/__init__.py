"""Pure functions: scores and masks in, numbers out. Exact (no binning), float64 sums, ties as defined."""

from __future__ import annotations

from subband.metrics.curves import Curve, pro_curve, roc_curve
from subband.metrics.image import auroc, average_precision, f1_max, image_metrics
from subband.metrics.names import METRICS
from subband.metrics.pixel import au_pro, pixel_metrics
from subband.metrics.regions import Regions, label_regions
from subband.metrics.thresholds import FprThreshold, threshold_at_fpr

__all__ = [
    "METRICS",
    "Curve",
    "FprThreshold",
    "Regions",
    "au_pro",
    "auroc",
    "average_precision",
    "f1_max",
    "image_metrics",
    "label_regions",
    "pixel_metrics",
    "pro_curve",
    "roc_curve",
    "threshold_at_fpr",
]
