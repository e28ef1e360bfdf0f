"""The champion of a sweep of a trained method: the model that the winning trial saved, checked again before it is registered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from subband.errors import ModelError
from subband.methods import load, make_params, trained_method
from subband.report.records import complete_with, non_dominated
from subband.training.figures import training_figures
from subband.training.proof import check_answers
from subband.trials import TrialRecord
from subband.tuning.champion import ChampionReport
from subband.tuning.plan import SweepPlan
from subband.tuning.training_files import ANSWERS, HISTORY

CATEGORY = "all"


def trained_champion(plan: SweepPlan, chosen: TrialRecord) -> ChampionReport:
    """The winner's model, if it still answers as it was evaluated.

    Args:
        plan: of the sweep.
        chosen: the winner.

    Raises:
        ModelError: the model is gone, or answers otherwise.
    """
    if chosen.model is None or not (plan.folder / chosen.model).is_dir():
        raise ModelError(f"the model of trial {chosen.trial_id} is not in {plan.folder}; train it with jobs/train.py")
    method = trained_method(plan.method.name)
    examples = method.examples(make_params(method, chosen.params), plan.dataset)
    model = plan.folder / chosen.model
    parity = check_answers(model, examples.validation, np.load(model.parent / ANSWERS))
    calibration = getattr(load(model), "calibration", None)
    history = json.loads((model.parent / HISTORY).read_text(encoding="utf-8"))
    figures = {}
    for name, figure in training_figures(method, plan.dataset.name, examples, history, model).items():
        figures[f"champion-{name}"] = model.parent / f"{name}.png"
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
