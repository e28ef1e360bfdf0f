"""What is kept of a training is what was evaluated: a saved model is loaded afresh and must answer the same."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from subband import __version__
from subband.data.reading import PLAIN, ReadingRule
from subband.errors import ModelError
from subband.methods import Deployable, Draw, Examples, TrainedMethod, TrainingParams, TrainingSet, load
from subband.training.loop import best_epoch

PARITY = 1e-5
EXAMPLES = 4


def save_proven(model: Deployable, examples: Examples, folder: Path) -> tuple[float, np.ndarray]:
    """Save a model, if it answers the same when it is loaded afresh.

    Args:
        model: on the CPU.
        examples: of which a few are answered.
        folder: the model's; one that is there is replaced once the new one is proven.

    Returns:
        The greatest difference of its answers, and the model's `answers`.

    Raises:
        ModelError: it answers otherwise, or cannot be saved; nothing is kept.
    """
    # Saved beside its place: what lies in the folder may be served at any time.
    unproven = folder.with_name(f".{folder.name}.unproven")
    shutil.rmtree(unproven, ignore_errors=True)
    model.save(unproven)
    expected = answers(model.eval(), examples)
    try:
        parity = check_answers(unproven, examples, expected)
    except ModelError:
        shutil.rmtree(unproven, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    unproven.replace(folder)
    return parity, expected


def check_answers(folder: Path, examples: Examples, expected: np.ndarray) -> float:
    """Greatest difference between the answers of the model in a folder and the expected ones.

    Raises:
        ModelError: it is above 1e-5, or no model can be loaded there.
    """
    found = answers(load(folder), examples)
    parity = float(np.abs(found - expected).max()) if found.shape == expected.shape else np.inf
    if not parity <= PARITY:
        raise ModelError(
            f"the model in {folder}, loaded afresh, differs from the evaluated one by {parity:.2e} (allowed: {PARITY:.0e}); "
            "it is not used"
        )
    return parity


def answers(model: Deployable, examples: Examples) -> np.ndarray:
    """What it answers for the first few examples, in one row."""
    return model.replay([examples[Draw(index)] for index in range(min(EXAMPLES, len(examples)))])


def finished(
    method: TrainedMethod,
    params: TrainingParams,
    network: nn.Module,
    history: list[dict[str, float]],
    examples: TrainingSet,
    about: Mapping[str, Any],
    reading: ReadingRule = PLAIN,
) -> Deployable:
    """The deployable model of a training, with what its readers must know.

    Args:
        method: that was trained.
        params: its params.
        network: with its best weights, on the CPU.
        history: metrics of every epoch.
        examples: of the training.
        about: where it comes from.
        reading: how its images were read.
    """
    best = best_epoch(history, method.chosen_by)
    assert best is not None
    model = method.finish(
        params,
        network.eval(),
        {
            **about,
            **examples.about,
            "category": "all",
            "epochs": len(history),
            "best_epoch": best,
            "chosen_by": f"{method.chosen_by} {history[best - 1][method.chosen_by]:.6f}",
            "notes": list(examples.notes),
            "subband": __version__,
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        },
    ).eval()
    model.reading = reading
    return model
