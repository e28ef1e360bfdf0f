"""Population-based training (Jaderberg et al., 2017): trials take over the weights of better ones, with params changed a little."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from ray.tune.schedulers import PopulationBasedTraining

from subband.errors import ParamsError
from subband.methods import make_params, trained_method
from subband.metrics import direction_of
from subband.spaces import Point, product
from subband.tuning.plan import SweepPlan
from subband.tuning.space import NarrowedSearch, quiet_optuna
from subband.tuning.training_plan import epochs_of, interval

QUANTILE = 0.25
RESAMPLED = 0.25
FACTORS = (0.8, 1.25)


class Explore:
    """How the params of a better trial are changed: each is drawn anew with probability 0.25, else multiplied by 0.8 or 1.25.

    Of ``ema`` it is the distance from 1 that is multiplied. A change that the method's params refuse is not made.

    Args:
        method: name in the registry.
        base: params that do not change.
        names: of the params that do.
        drawn: values to draw from; a param without any is only multiplied.
        seed: of the changes.
    """

    def __init__(
        self, method: str, base: Mapping[str, Any], names: Sequence[str], drawn: Sequence[Point], seed: int
    ) -> None:
        self._method, self._base, self._names, self._drawn = method, dict(base), tuple(names), list(drawn)
        self._rng = np.random.default_rng([seed, 1])

    def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
        """The config of the trial that takes over, from that of the one whose weights it takes."""
        point = dict(config["point"])
        for name in self._names:
            if self._rng.random() < RESAMPLED:
                value = self._drawn[self._rng.integers(len(self._drawn))][name]
            else:
                factor = FACTORS[self._rng.integers(len(FACTORS))]
                value = 1 - (1 - point[name]) * factor if name == "ema" else point[name] * factor
            try:
                make_params(trained_method(self._method), {**self._base, **point, name: value})
            except ParamsError:
                continue
            point[name] = value
        return {**config, "point": point}


def first_points(plan: SweepPlan, count: int) -> list[Point]:
    """Where a population starts: values given by the user in turn, everything else drawn from the space."""
    quiet_optuna()
    names = plan.searched
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=plan.settings.seed))
    search = NarrowedSearch(plan.space.suggest, plan.axes)
    given = product(**{name: plan.axes[name] for name in names if plan.axes.get(name)})
    drawn = [search(study.ask()) for _ in range(count)]
    return [{**{name: point[name] for name in names}, **given[index % len(given)]} for index, point in enumerate(drawn)]


class Population(PopulationBasedTraining):  # type: ignore[misc]  # ray has no types here
    """Ray Tune's, in which all trials wait for each other before they are compared.

    Compared as each comes along, a trial may take over the same checkpoint again and again while the trial that it came from waits
    (seen with Ray 2.60: hundreds of times within a training of six epochs). Compared together, a trial that ends early, or whose
    worker dies, would be waited for in vain: then the others go on without a comparison.
    """

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: Any) -> None:
        """Called by Tune when a trial is done or was stopped."""
        super().on_trial_complete(tune_controller, trial, result)
        self._release(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Called by Tune when a trial's worker died, or raised what nobody expected."""
        super().on_trial_error(tune_controller, trial)
        self._release(tune_controller, trial)

    def _release(self, tune_controller: Any, gone: Any) -> None:
        left = [trial for trial in tune_controller.get_live_trials() if trial is not gone]
        times = [self._trial_state[trial].last_train_time for trial in left]
        if times and min(times) >= self._next_perturbation_sync:
            self._next_perturbation_sync = max(times) + self._perturbation_interval


def make_population(plan: SweepPlan, points: Sequence[Point]) -> PopulationBasedTraining:
    """The scheduler: five times in a training, the worst quarter goes on from the best quarter's weights."""
    method = trained_method(plan.method.name)
    epochs, validated = epochs_of(method, plan.base, plan.axes)
    objective = plan.settings.objective[0]
    random.seed(plan.settings.seed)  # Ray draws from it which of the best trials is taken over
    drawn = first_points(plan, max(64, len(points)))
    return Population(
        time_attr="training_iteration",
        metric=objective,
        mode=direction_of(objective),
        perturbation_interval=interval(epochs),
        burn_in_period=validated,
        quantile_fraction=QUANTILE,
        custom_explore_fn=Explore(method.name, plan.base, plan.searched, drawn, plan.settings.seed),
        log_config=False,
        synch=True,
    )
