"""Optuna behind Ray Tune: samplers by name, and what a search learns from a trial that was stopped early."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend
from ray.tune.search.optuna import OptunaSearch

from subband.metrics import direction_of
from subband.trials import read_records
from subband.tuning.plan import SweepPlan
from subband.tuning.space import NarrowedSearch, quiet_optuna

SAMPLERS: Mapping[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "qmc": lambda seed: optuna.samplers.QMCSampler(seed=seed),
}


class CategorySearch(OptunaSearch):
    """`OptunaSearch` that tells Optuna a value only for trials that finished every category.

    A trial that racing stopped has a mean over its first categories, which may be the easy ones; told as its value, it could
    outrank every complete trial. It is told as pruned instead, and its intermediate values still inform the sampler. A failed
    trial is told as failed.
    """

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Called by Tune when a trial has ended."""
        failed = error or (result is not None and result.get("failure") is not None)
        whole = result is not None and bool(result.get("complete")) and not failed
        super().on_trial_complete(trial_id, result if whole else None, failed)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Called by Tune after every category or epoch; one without a value (an epoch that is not validated) tells nothing."""
        known = all(not math.isnan(result[name]) for name in [self._metric] if isinstance(name, str))
        if result.get("failure") is None and known:
            super().on_trial_result(trial_id, result)


def make_search(plan: SweepPlan) -> CategorySearch:
    """The plan's search; its study lies in the sweep's folder, so that a resumed sweep goes on with what it has learnt."""
    quiet_optuna()
    objectives = list(plan.settings.objective)
    # A resumed search with the same seed would propose its first trials again.
    earlier = len(read_records(plan.folder))
    backend = JournalFileBackend(str(plan.folder / "optuna.journal"))
    modes: list[str] = [direction_of(name) for name in objectives]
    return CategorySearch(
        space=NarrowedSearch(plan.space.suggest, plan.axes).config,
        metric=objectives if len(objectives) > 1 else objectives[0],
        mode=modes if len(modes) > 1 else modes[0],
        sampler=SAMPLERS[plan.settings.search](plan.settings.seed + earlier),
        storage=optuna.storages.JournalStorage(backend),
        study_name=plan.folder.name,
    )
