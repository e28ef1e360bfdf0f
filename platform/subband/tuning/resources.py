"""What a call of Ray Tune needs for trials that train: how many at a time and of what size, and who stops or changes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler

from subband.compute.shares import Share, check_fit, cluster_size, equal_share
from subband.errors import ParamsError
from subband.methods import trained_method
from subband.metrics import direction_of
from subband.spaces import Point
from subband.tuning.plan import SweepPlan
from subband.tuning.population import make_population
from subband.tuning.training_plan import epochs_of, rungs
from subband.tuning.training_trial import TrainingTrial, TrainingTrialPlan

CPUS_A_TRIAL = 4
CHECKPOINTS = 3
"""Tune keeps so many of a trial that is paused or whose weights are taken over; two are known to be too few."""


def share_of(plan: SweepPlan, count: int) -> Share:
    """Trials at a time, and what each worker of them gets. Ray must be connected.

    Args:
        plan: the sweep.
        count: of its trials.

    Raises:
        ParamsError: they do not fit.
    """
    wanted = plan.settings.workers_per_trial
    cpus, gpus = cluster_size()
    usual = gpus // wanted if gpus >= wanted else cpus // max(CPUS_A_TRIAL, wanted)
    trials = max(1, min(plan.settings.workers or usual, count))
    check_fit(trials * wanted, 1, use_gpu=False)
    if plan.settings.search == "pbt" and wanted > 1 and trials < count:
        raise ParamsError(
            f"a population of groups trains all at a time: {count} trials of {wanted} workers need {count * wanted} CPUs and "
            f"--workers {count}; the cluster has {cpus} CPUs"
        )
    return equal_share(trials, wanted)


def training_trials(plan: SweepPlan, share: Share) -> Any:
    """The Trainable, with what it holds."""
    trial = TrainingTrialPlan.of(plan, share.cpus, share.gpus > 0, share.at_a_time)
    # The group of a trial with several workers reserves what they need, beside the trial; Tune does not take "nothing" for an
    # answer, so that the trial itself holds one byte.
    alone = plan.settings.workers_per_trial == 1
    resources = {"CPU": float(share.cpus), "GPU": share.gpus} if alone else {"memory": 1.0}
    return tune.with_resources(tune.with_parameters(TrainingTrial, plan=trial), resources)


def training_scheduler(plan: SweepPlan, points: Sequence[Point] | None) -> Any:
    """What stops or changes trials on their way; None leaves them alone."""
    if plan.settings.search == "pbt":
        return make_population(plan, points or [])
    if not plan.racing:
        return None
    epochs, validated = epochs_of(trained_method(plan.method.name), plan.base, plan.axes)
    objective = plan.settings.objective[0]
    return AsyncHyperBandScheduler(
        metric=objective,
        mode=direction_of(objective),
        time_attr="training_iteration",
        max_t=epochs,
        grace_period=rungs(epochs, validated)[0],
        reduction_factor=3,
    )
