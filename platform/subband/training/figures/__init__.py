"""Figures of a finished training: its learning curves, and what the model answers for validation and test examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from subband.methods import Examples, TrainedMethod, TrainingSet, load
from subband.report import learning_curves
from subband.training.figures.classes import answers, confusion
from subband.training.figures.maps import maps_gallery
from subband.training.figures.objects import objects_gallery
from subband.training.figures.video import errors_by_frame, strips
from subband.training.loop import PROGRESS, best_epoch

OF_TASK: Mapping[str, Mapping[str, Callable[[Any, Examples, str], Figure]]] = {
    "segmentation": {"gallery": maps_gallery},
    "classification": {"confusion": confusion, "gallery": answers},
    "object detection": {"gallery": objects_gallery},
    "video prediction": {"strips": strips, "frame-errors": errors_by_frame},
}
"""What is drawn of a model's answers, by its task and the figure's name."""


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
        for kind, draw in OF_TASK.get(loaded.task, {}).items():
            figures[f"{kind}-{name}"] = draw(loaded, part, f"{title}: {name}")
    return figures
