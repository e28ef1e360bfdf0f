"""What a segmenter finds: pictures, masks and maps beside each other."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from subband.methods import Detector, Draw, Examples
from subband.report import gallery
from subband.training.figures.spread import ROWS, spread


def maps_gallery(detector: Detector, examples: Examples, title: str) -> Figure:
    """Some pictures with mask, map and score."""
    rows = spread(examples, ROWS)
    shown = [examples[Draw(row)] for row in rows]
    images = np.stack([np.rint(255 * example["images"].numpy()).astype(np.uint8) for example in shown])
    masks = [example["masks"][0].numpy() > 0.5 for example in shown]
    maps, scores = detector.score(images)
    return gallery(
        images,
        masks,
        maps,
        scores,
        detector.calibration.threshold,
        [f"{row}" for row in rows],
        title=title,
        labels=[int(mask.any()) for mask in masks],
    )
