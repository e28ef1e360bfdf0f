"""The call of Ray Tune: how many workers of what size, what proposes trials, what stops them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler
from ray.tune.stopper import CombinedStopper

from subband.compute.shares import cluster_size, equal_share
from subband.errors import SubbandError
from subband.metrics import direction_of
from subband.spaces import Point
from subband.trials import TrialRecord
from subband.tuning.callback import Deadline, LedgerCallback, StopWhenHopeless
from subband.tuning.plan import SweepPlan
from subband.tuning.search import make_search
from subband.tuning.stage_trial import StageTrial, TrialPlan


@dataclass(frozen=True)
class Round:
    """Trials that one call of Ray Tune runs.

    Attributes:
        points: exact points, or None for a search.
        count: how many there are, or how many the search proposes.
        searched: names of the params that vary.
        until: when the time budget ends, in seconds since the epoch.
        places: of each trial in the order of proposal of the whole sweep.
    """

    points: list[Point] | None
    count: int
    searched: tuple[str, ...]
    until: float | None = None
    places: tuple[int, ...] = ()


def run_round(
    plan: SweepPlan, trials: Round, records: Sequence[TrialRecord], on_record: Callable[[TrialRecord], None]
) -> None:
    """One call of Ray Tune.

    Args:
        plan: the sweep.
        trials: what is run.
        records: of every trial so far; `on_record` adds to them.
        on_record: called with each record after it is safe in the ledger.

    Raises:
        SubbandError: every trial of the sweep failed.
    """
    settings = plan.settings
    how = _training_options(plan, trials) if plan.trained else _stage_options(plan, trials)
    callback = LedgerCallback(plan.folder, len(records), plan.base, trials.searched, on_record, trials.places)
    stoppers: list[Any] = [StopWhenHopeless(callback)]
    if trials.until is not None:
        stoppers.append(Deadline(trials.until, how.at_a_time))
    options: dict[str, Any] = {"reuse_actors": True, "scheduler": how.scheduler}
    if (
        settings.search != "pbt"
    ):  # a population must be known whole, though what it holds lets only some of it run at a time
        options["max_concurrent_trials"] = how.at_a_time
    if trials.points is not None:
        space = {"point": tune.grid_search(trials.points)}
    else:
        space = {}
        options |= {"search_alg": make_search(plan), "num_samples": trials.count}
    name = f"tune-{len(records):05d}"
    tuner = tune.Tuner(
        how.trainable,
        param_space=space,
        tune_config=tune.TuneConfig(**options),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(plan.folder / "ray"),
            callbacks=[callback],
            checkpoint_config=tune.CheckpointConfig(
                num_to_keep=how.keep, checkpoint_frequency=0, checkpoint_at_end=False
            ),
            failure_config=tune.FailureConfig(max_failures=0),
            stop=CombinedStopper(*stoppers),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    finally:
        if plan.trained:  # what trials that were paused left is as large as their networks, and the ledger replaces it
            shutil.rmtree(plan.folder / "ray" / name, ignore_errors=True)
    if records and all(record.status == "failed" for record in records):
        raise SubbandError(f"every trial failed, so the sweep was stopped; the first one said: {records[0].error}")


@dataclass(frozen=True)
class _Options:
    """What differs between the lanes: the Trainable, how many of it run at a time, who stops them, checkpoints that are kept."""

    trainable: Any
    at_a_time: int
    scheduler: Any = None
    keep: int | None = None


def _stage_options(plan: SweepPlan, trials: Round) -> _Options:
    settings = plan.settings
    cpus, _ = cluster_size()
    share = equal_share(min(settings.workers or cpus, trials.count), widen=settings.workers is not None)
    scheduler = None
    if plan.racing:
        categories = len(plan.dataset.categories)
        scheduler = AsyncHyperBandScheduler(
            metric=settings.objective[0],
            mode=direction_of(settings.objective[0]),
            time_attr="training_iteration",
            max_t=categories,
            grace_period=max(1, min(3, categories // 2)),
            reduction_factor=3,
        )
    trainable = tune.with_resources(
        tune.with_parameters(StageTrial, plan=TrialPlan.of(plan, share.cpus, trials.searched, share.at_a_time)),
        {"CPU": share.cpus, "GPU": share.gpus},
    )
    return _Options(trainable, share.at_a_time, scheduler)


def _training_options(plan: SweepPlan, trials: Round) -> _Options:
    from subband.tuning.resources import CHECKPOINTS, share_of, training_scheduler, training_trials

    share = share_of(plan, trials.count)
    return _Options(training_trials(plan, share), share.at_a_time, training_scheduler(plan, trials.points), CHECKPOINTS)
