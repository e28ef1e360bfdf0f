"""Figures of a finished training: its learning curves, and a gallery of what the model finds in validation and test pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from subband.methods import Detector, Draw, Examples, TrainedMethod, TrainingSet, load
from subband.report import detection_gallery, gallery, learning_curves
from subband.training.loop import PROGRESS, best_epoch

ROWS = 8


def training_figures(
    method: TrainedMethod,
    dataset: str,
    examples: TrainingSet,
    history: Sequence[Mapping[str, float]],
    model: Path | None,
) -> dict[str, Figure]:
    """Figures by name.

    Args:
        method: that was trained.
        dataset: name of its data.
        examples: of the training.
        history: metrics of every epoch.
        model: folder of the saved model; without one there are no galleries.
    """
    chosen_by = method.chosen_by
    names = [name for name in dict.fromkeys(name for row in history for name in row) if name not in PROGRESS]
    shown = [chosen_by, *(name for name in names if name != chosen_by)][:6]
    title = f"{method.name} on {dataset}"
    best = best_epoch(history, chosen_by)
    figures = {"learning-curves": learning_curves(history, shown, best, title, "; ".join(examples.notes))}
    if model is None:
        return figures
    loaded = load(model)
    for name, part in (examples.tests or {"validation": examples.validation}).items():
        for kind, draw in _OF_TASK.get(loaded.task, {}).items():
            figures[f"{kind}-{name}"] = draw(loaded, part, f"{title}: {name}")
    return figures


def spread(examples: Examples, rows: int) -> list[int]:
    """Indices of up to so many examples, evenly spread."""
    return [int(row) for row in np.unique(np.linspace(0, len(examples) - 1, rows).astype(int))]


def _maps(detector: Detector, examples: Examples, title: str) -> Figure:
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


def _objects(detector: Any, examples: Any, title: str) -> Figure:
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


_OF_TASK: Mapping[str, Mapping[str, Callable[[Any, Examples, str], Figure]]] = {
    "segmentation": {"gallery": _maps},
    "object detection": {"gallery": _objects},
}
"""What is drawn of a model's answers, by its task and the figure's name."""
