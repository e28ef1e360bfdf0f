"""Figures of a finished training: its learning curves, and a gallery of what the model finds in validation and test pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from subband.methods import Draw, Examples, TrainedMethod, TrainingSet, load
from subband.report import gallery, learning_curves
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
    parts = examples.tests or {"validation": examples.validation}
    if model is None:
        return figures
    for name, part in parts.items():
        if "masks" in part[Draw(0)]:
            figures[f"gallery-{name}"] = _gallery(model, part, f"{title}: {name}")
    return figures


def _gallery(model: Path, examples: Examples, title: str) -> Figure:
    rows = np.unique(np.linspace(0, len(examples) - 1, ROWS).astype(int))
    shown = [examples[Draw(int(row))] for row in rows]
    detector = load(model)
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
