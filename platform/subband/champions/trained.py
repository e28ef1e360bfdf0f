"""The champion of a method that is trained: the model of the best epoch, proven when it is saved and when it is registered."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import nn

from subband import __version__
from subband.analysis.trained_figures import training_figures
from subband.champions.fitted import ChampionReport
from subband.champions.parity import check_saved, save_proven
from subband.data import Dataset
from subband.data.ruled import reading_of
from subband.errors import ModelError
from subband.methods import (
    Deployable,
    ExampleKey,
    Examples,
    TrainedMethod,
    TrainingParams,
    TrainingSet,
    load,
    make_params,
)
from subband.methods.trained_base import best_epoch
from subband.trials import TrialRecord
from subband.trials.ranking import complete_with, non_dominated

Params = TypeVar("Params", bound=TrainingParams)

CATEGORY = "all"
EXAMPLES = 4
"""Validation examples whose answers prove a model."""

# What a complete trial of the training lane leaves in models/TRIAL of its sweep's folder.
MODELS, MODEL, ANSWERS, HISTORY = "models", "model", "answers.npy", "history.json"


def finished(
    method: TrainedMethod,
    params: TrainingParams,
    network: nn.Module,
    history: list[dict[str, float]],
    examples: TrainingSet,
    about: Mapping[str, Any],
    dataset: Dataset,
) -> Deployable:
    """The deployable model of a training, with what its readers must know.

    Args:
        method: that was trained.
        params: its params.
        network: with its best weights, on the CPU.
        history: metrics of every epoch.
        examples: of the training.
        about: where it comes from.
        dataset: whose images it has seen, read by a rule that the model keeps.
    """
    best = best_epoch(history, method.chosen_by)
    assert best is not None
    model = method.finish(
        params,
        network.eval(),
        {
            "dataset": dataset.name,
            "data": dataset.uri,
            **about,
            **examples.about,
            "category": CATEGORY,
            "epochs": len(history),
            "best_epoch": best,
            "chosen_by": f"{method.chosen_by} {history[best - 1][method.chosen_by]:.6f}",
            "notes": list(examples.notes),
            "subband": __version__,
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        },
    ).eval()
    model.reading = reading_of(dataset)
    return model


def without_fetching(params: Params) -> Params:
    """Params of a network whose weights are all replaced: where they started from need not be fetched, nor be there any more."""
    return params.model_copy(update={"weights": "random:0"} if "weights" in type(params).model_fields else {})


def answers(model: Deployable, examples: Examples) -> np.ndarray:
    """What a model answers for the first few examples, in one row."""
    return model.replay([examples[ExampleKey(index)] for index in range(min(EXAMPLES, len(examples)))])


def save_finished(model: Deployable, examples: Examples, folder: Path) -> tuple[float, np.ndarray]:
    """Save a model, if loaded afresh it answers the same for a few examples.

    Returns:
        The difference, see `subband.champions.parity`, and the `answers`.

    Raises:
        ModelError: it answers otherwise, or cannot be saved; nothing is kept.
    """
    expected = answers(model.eval(), examples)
    return save_proven(model, folder, lambda saved: answers(saved, examples), expected), expected


def trained_champion(method: TrainedMethod, dataset: Dataset, chosen: TrialRecord, folder: Path) -> ChampionReport:
    """The winner's model, if it still answers as it was evaluated.

    Args:
        method: that was trained.
        dataset: on which.
        chosen: the winner.
        folder: of the sweep.

    Raises:
        ModelError: the model is gone, or answers otherwise.
    """
    if chosen.model is None or not (folder / chosen.model).is_dir():
        raise ModelError(f"the model of trial {chosen.trial_id} is not in {folder}; train it with jobs/train.py")
    examples = method.examples(make_params(method, chosen.params), dataset)
    model = folder / chosen.model
    kept = model.parent
    parity = check_saved(model, lambda saved: answers(saved, examples.validation), np.load(kept / ANSWERS))
    calibration = getattr(load(model), "calibration", None)
    history = json.loads((kept / HISTORY).read_text(encoding="utf-8"))
    figures = {}
    for name, figure in training_figures(method, dataset.name, examples, history, model).items():
        figures[f"champion-{name}"] = kept / f"{name}.png"
        figure.savefig(figures[f"champion-{name}"], dpi=110)
    return ChampionReport(
        category=CATEGORY,
        folder=model,
        threshold=None if calibration is None else calibration.threshold,
        rule="" if calibration is None else calibration.rule,
        false_alarms=None,
        detected=None,
        parity=parity,
        figures=figures,
        scores=[],
    )


def drop_other_models(folder: Path, records: Sequence[TrialRecord], objectives: Sequence[str]) -> None:
    """Keep the saved models of the best trial so far and of the Pareto front alone.

    Args:
        folder: of the sweep.
        records: of every trial so far.
        objectives: the ranking one first.
    """
    best = complete_with(records, objectives[0], then=objectives[1:])[:1]
    front = non_dominated(records, objectives) if len(objectives) > 1 else []
    kept = {record.model for record in (*best, *front)}
    for record in records:
        if record.model is not None and record.model not in kept:
            shutil.rmtree((folder / record.model).parent, ignore_errors=True)
