"""Names of all that a sweep may look at: accuracy and costs, each with its direction, unit and meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Direction = Literal["max", "min"]


@dataclass(frozen=True)
class Objective:
    """What a number means.

    Attributes:
        direction: ``max`` if larger is better, ``min`` if smaller is.
        unit: of the value; empty for a share between 0 and 1.
        meaning: one line.
    """

    direction: Direction
    unit: str
    meaning: str


_ACCURACY: Mapping[str, str] = {
    "image_auroc": "area under the ROC curve of the image scores",
    "image_ap": "average precision of the image scores",
    "image_f1max": "highest F1 of the image scores over all thresholds",
    "pixel_auroc": "area under the ROC curve of the pixels of all maps",
    "pixel_ap": "average precision of the pixels of all maps",
    "pixel_f1max": "highest F1 of the pixels of all maps over all thresholds",
    "au_pro_0.3": "area under the per-region overlap curve up to a false-positive rate of 0.3, normalised",
    "au_pro_0.05": "area under the per-region overlap curve up to a false-positive rate of 0.05, normalised",
}
_SEGMENTATION: Mapping[str, Objective] = {
    "s_measure": Objective("max", "", "S-measure: how alike the structures of map and mask are"),
    "e_max": Objective("max", "", "E-measure at its best threshold, the same for all images"),
    "e_mean": Objective("max", "", "E-measure, mean over 256 thresholds"),
    "e_adaptive": Objective("max", "", "E-measure at twice each map's mean"),
    "weighted_f": Objective("max", "", "weighted F-measure: errors count by where they lie"),
    "f_max": Objective("max", "", "F-measure (beta^2 0.3) at its best threshold, the same for all images"),
    "f_mean": Objective("max", "", "F-measure (beta^2 0.3), mean over 256 thresholds"),
    "f_adaptive": Objective("max", "", "F-measure (beta^2 0.3) at twice each map's mean"),
    "mae": Objective("min", "", "mean absolute error of the stretched map"),
    "iou": Objective("max", "", "intersection over union at 0.5, mean over images"),
    "dice": Objective("max", "", "Dice coefficient at 0.5, mean over images"),
}
_VIDEO: Mapping[str, Objective] = {
    "skill": Objective(
        "max", "", "1 - frame_mse / copy_last_mse: 0 is as good as repeating the last frame, 1 is perfect"
    ),
    "frame_mse": Objective("min", "a frame", "squared errors summed over a frame's pixels, mean over frames"),
    "copy_last_mse": Objective("min", "a frame", "frame_mse of repeating the last frame that was seen"),
    "frame_mae": Objective("min", "a frame", "absolute errors summed over a frame's pixels, mean over frames"),
    "ssim": Objective("max", "", "structural similarity of frames"),
    "psnr": Objective("max", "dB", "peak signal-to-noise ratio of frames"),
    "psnr_wrapped": Objective(
        "max", "dB", "inflated: the published code's ratio, from 8-bit differences and squares that wrap around"
    ),
}
_CLASSIFICATION: Mapping[str, Objective] = {
    "top1": Objective("max", "", "share of the images whose most probable class is right"),
    "top5": Objective("max", "", "share of the images whose class is among the five most probable"),
    "cross_entropy": Objective("min", "nats", "mean of minus the logarithm of the right class's probability"),
}
_COSTS: Mapping[str, Objective] = {
    "bank_mb": Objective("min", "MB", "what fitting stored: the detector without its frozen networks, in 1e6 bytes"),
    "latency_ms": Objective("min", "ms", "median time of one image, from its pixels to map and score on the host"),
    "fps": Objective("max", "images/s", "images a second, one at a time, over the region of latency_ms"),
}

OBJECTIVES: Mapping[str, Objective] = {
    **{name: Objective("max", "", meaning) for name, meaning in _ACCURACY.items()},
    **_SEGMENTATION,
    **_VIDEO,
    **_CLASSIFICATION,
    **_COSTS,
}
METRICS = tuple(_ACCURACY)
"""Accuracy of anomaly detectors: maps and scores compared with labels and masks."""
SEGMENTATION_METRICS = tuple(_SEGMENTATION)
"""Accuracy of segmenters: 8-bit maps compared with masks, image by image."""
VIDEO_METRICS = tuple(_VIDEO)
"""Accuracy of video prediction: predicted frames compared with those that followed."""
CLASSIFICATION_METRICS = tuple(_CLASSIFICATION)
"""Accuracy of classifiers: the most probable classes compared with labels."""
TIE_BREAKERS: Mapping[str, tuple[str, ...]] = {
    "anomaly detection": ("image_auroc", "au_pro_0.3", "pixel_auroc"),
    "segmentation": ("weighted_f", "s_measure", "mae"),
    "classification": ("top1", "cross_entropy"),
    "detection": ("box_ap", "mask_ap", "box_ap50"),
    "video": ("frame_mse", "ssim"),
}
"""By task, what decides in this order between trials that are equal in every objective."""
COSTS = tuple(_COSTS)
"""What a detector takes to keep and to run; no label is needed to measure it."""


def direction_of(name: str) -> Direction:
    """Which way is better; a number that the platform does not know is taken to be better when larger."""
    return OBJECTIVES[name].direction if name in OBJECTIVES else "max"


def in_words(name: str) -> str:
    """The name and which way is better: ``latency_ms (smaller is better)``."""
    return f"{name} ({'larger' if direction_of(name) == 'max' else 'smaller'} is better)"


def merit(name: str, value: float) -> float:
    """The value so turned that larger is better: what rankings compare."""
    return value if direction_of(name) == "max" else -value
