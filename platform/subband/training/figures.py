"""Figures of a finished training: its learning curves, and a gallery of what the model finds in validation and test pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from subband.methods import Draw, Examples, load
from subband.report import gallery, learning_curves

if TYPE_CHECKING:
    from subband.training.plan import TrainPlan

ROWS = 8
_NOT_QUALITY = ("loss", "learning_rate", "gradient_norm", "seconds", "examples_per_second")


def training_figures(
    plan: TrainPlan, history: Sequence[Mapping[str, float]], best_epoch: int | None, model: Path | None
) -> dict[str, Figure]:
    """Figures by name."""
    chosen_by = plan.method.chosen_by
    names = [name for name in dict.fromkeys(name for row in history for name in row) if name not in _NOT_QUALITY]
    shown = [chosen_by, *(name for name in names if name != chosen_by)][:6]
    title = f"{plan.method.name} on {plan.dataset.name}"
    figures = {"learning-curves": learning_curves(history, shown, best_epoch, title, "; ".join(plan.examples.notes))}
    parts = plan.examples.tests or {"validation": plan.examples.validation}
    if model is None:
        return figures
    for name, examples in parts.items():
        if "masks" in examples[Draw(0)]:
            figures[f"gallery-{name}"] = _gallery(model, examples, f"{title}: {name}")
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
