"""What an object detector finds, beside the objects that are marked."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from subband.report import detection_gallery
from subband.training.figures.spread import ROWS, spread


def objects_gallery(detector: Any, examples: Any, title: str) -> Figure:
    """Some pictures with boxes and masks."""
    pictures = [examples.pictures[row] for row in spread(examples, ROWS)]
    images = [picture.image.open() for picture in pictures]
    return detection_gallery(
        [np.asarray(image) for image in images],
        [picture.instances() for picture in pictures],
        detector.predict(images),
        detector.classes,
        [picture.name for picture in pictures],
        title=title,
    )
