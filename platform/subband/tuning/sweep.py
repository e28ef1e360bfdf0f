"""A sweep from plan to champion: many trials that share their work, then the winner refitted, checked and registered."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from subband.tuning import cluster  # isort: skip  # first: it settles what Tune reads when it is imported

import ray
from matplotlib.figure import Figure
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler
from ray.tune.stopper import CombinedStopper
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from subband.data import open_dataset, split_category
from subband.errors import SubbandError
from subband.home import home
from subband.methods import get_method, make_params
from subband.metrics import COSTS, direction_of
from subband.report import importance, parallel_coordinates, pareto_front
from subband.report.categories import champion_per_category
from subband.report.records import Source, complete_with, non_dominated, searched_names
from subband.stages import Store
from subband.tracking import DatasetInfo, SweepInfo, SweepLog, resolve_tracking
from subband.trials import TrialRecord, read_records
from subband.tuning.callback import Deadline, StopWhenHopeless, TrialEnds
from subband.tuning.champion import ChampionReport, build_champion
from subband.tuning.plan import SweepPlan, save_settings
from subband.tuning.search import make_search
from subband.tuning.space import Point
from subband.tuning.trainable import StageTrial, TrialPlan

log = logging.getLogger(__name__)

Watch = Callable[[TrialRecord, int], None]
"""Called with every ended trial and the number of trials that this sweep will have (0 while unknown)."""


@dataclass
class SweepResult:
    """What a sweep leaves.

    Attributes:
        plan: what was decided.
        records: every trial.
        chosen: the winner, or None if no trial was complete.
        front: the non-dominated trials, if there are several objectives.
        champions: one report a category; empty when nothing was registered.
        versions: registry name and version by category.
        interrupted: whether the sweep was stopped before its end.
        problems: what went wrong after the trials, for the person.
        comparison_url: of the best trials in the MLflow page, once it is started.
    """

    plan: SweepPlan
    records: list[TrialRecord]
    chosen: TrialRecord | None = None
    front: list[TrialRecord] = field(default_factory=list)
    champions: list[ChampionReport] = field(default_factory=list)
    versions: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    interrupted: bool = False
    problems: list[str] = field(default_factory=list)
    comparison_url: str | None = None


def run_sweep(plan: SweepPlan, watch: Watch, say: Callable[[str], None]) -> SweepResult:
    """Run, or go on with, a sweep.

    Args:
        plan: from `make_plan`.
        watch: called with every ended trial.
        say: called with one line for the person at every step.

    Raises:
        SubbandError: nothing could be started; what an earlier part of the sweep left is kept.
    """
    target = resolve_tracking(plan.settings.tracking_uri, home())
    Store(_store_folder(plan), plan.settings.store_gb)  # one that cannot be used would fail every trial, seconds later
    save_settings(plan)
    where, why = cluster.connect()
    decisions = (
        *plan.decisions,
        ("ray", where, why),
        ("store", str(_store_folder(plan)), "--store"),
        ("tracking", target.uri, target.reason),
    )
    for what, choice, reason in decisions:
        say(f"{what}: {choice} ({reason})")
    with SweepLog(plan.folder, _info(plan, decisions), target) as sweep_log:
        result = SweepResult(plan, read_records(plan.folder))
        if result.records:
            say(f"resumed: {len(result.records)} finished trials are kept")

        expected = _expected(plan)

        def hand_on(record: TrialRecord) -> None:
            result.records.append(record)
            sweep_log.log_trial(record)
            watch(record, expected)

        try:
            _run_trials(plan, result, hand_on)
        except KeyboardInterrupt:
            result.interrupted = True
        ranked = complete_with(result.records, plan.settings.objective[0])
        result.chosen = ranked[0] if ranked else None
        if len(plan.settings.objective) > 1:
            result.front = non_dominated(result.records, plan.settings.objective)
        if result.chosen is not None and not result.interrupted:
            _finish(plan, result, sweep_log, say)
        elif not result.interrupted:
            result.problems.append(_why_nothing(plan, result))
        # A person who interrupts waits no minute for a server; neither does a sweep that it never answered.
        sweep_log.flush(timeout=10 if result.interrupted or sweep_log.run_id is None else 60)
        result.comparison_url = sweep_log.comparison_url()
        sweep_log.close("killed" if result.interrupted else "finished")
    return result


def _run_trials(plan: SweepPlan, result: SweepResult, hand_on: Callable[[TrialRecord], None]) -> None:
    minutes = plan.settings.minutes
    until = None if minutes is None else time.time() + 60 * minutes
    if plan.preset is None:
        done = sum(record.status != "failed" for record in result.records)
        if done < plan.settings.trials:
            _tune(plan, result, hand_on, None, plan.settings.trials - done, plan.searched, until)
        return
    before: list[Point] = []
    for number in range(len(plan.preset.rounds)):
        # A round follows the rounds before it alone, so that a resumed sweep takes the same path as an uninterrupted one.
        earlier = [record for record in result.records if any(_same(point, record.params) for point in before)]
        if number and not complete_with(earlier, plan.settings.objective[0]):
            return  # nothing to follow
        points = plan.points(number, earlier)
        before += points
        finished = [record.params for record in result.records if record.status != "failed"]
        todo = [point for point in points if not any(_same(point, params) for params in finished)]
        if todo and (until is None or time.time() < until):
            _tune(plan, result, hand_on, todo, len(todo), _varied(points), until)


def _tune(
    plan: SweepPlan,
    result: SweepResult,
    hand_on: Callable[[TrialRecord], None],
    points: list[Point] | None,
    count: int,
    searched: tuple[str, ...],
    until: float | None,
) -> None:
    """One call of Ray Tune: exact points, or a search for `count` further trials."""
    settings = plan.settings
    cpus = max(int(ray.cluster_resources().get("CPU", 1)), 1)
    workers = min(settings.workers or cpus, count)
    # A trial runs on one node: no more threads than the largest has.
    widest = max((int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]), default=1)
    threads = max(1, min(cpus // workers, widest)) if settings.workers else 1
    callback = TrialEnds(plan.folder, len(result.records), plan.base, searched, len(plan.dataset.categories), hand_on)
    stoppers: list[Any] = [StopWhenHopeless(callback)]
    if until is not None:
        stoppers.append(Deadline(until, workers))
    gpus = min(float(ray.cluster_resources().get("GPU", 0)), workers)
    resources = {"CPU": threads, "GPU": gpus / workers}
    trainable = tune.with_resources(
        tune.with_parameters(StageTrial, plan=_trial_plan(plan, threads, searched, workers)), resources
    )
    options: dict[str, Any] = {"reuse_actors": True, "max_concurrent_trials": workers}
    if points is not None:
        space = {"point": tune.grid_search(points)}
    else:
        space = {}
        options |= {"search_alg": make_search(plan), "num_samples": count}
    if plan.racing:
        categories = len(plan.dataset.categories)
        options["scheduler"] = AsyncHyperBandScheduler(
            metric=settings.objective[0],
            mode=direction_of(settings.objective[0]),
            time_attr="training_iteration",
            max_t=categories,
            grace_period=max(1, min(3, categories // 2)),
            reduction_factor=3,
        )
    tuner = tune.Tuner(
        trainable,
        param_space=space,
        tune_config=tune.TuneConfig(**options),
        run_config=tune.RunConfig(
            name=f"tune-{len(result.records):05d}",
            storage_path=str(plan.folder / "ray"),
            callbacks=[callback],
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=0),
            stop=CombinedStopper(*stoppers),
            verbose=0,
        ),
    )
    tuner.fit()
    if result.records and all(record.status == "failed" for record in result.records):
        raise SubbandError(
            f"every trial failed, so the sweep was stopped; the first one said: {result.records[0].error}"
        )


def _trial_plan(plan: SweepPlan, threads: int, searched: tuple[str, ...] = (), workers: int = 1) -> TrialPlan:
    return TrialPlan(
        method=plan.method.name,
        base=plan.base,
        data=plan.dataset.uri,
        categories=plan.categories,
        selection=plan.settings.selection,
        seed=plan.settings.seed,
        store=_store_folder(plan),
        store_gb=plan.settings.store_gb,
        objectives=plan.settings.objective,
        threads=threads,
        searched=searched,
        workers=workers,
    )


def _store_folder(plan: SweepPlan) -> Path:
    # Absolute, because workers may have another current folder.
    return (plan.settings.store or home() / "store").expanduser().absolute()


def _varied(points: Sequence[Point]) -> tuple[str, ...]:
    varied = [name for name in points[0] if len({json.dumps(point.get(name)) for point in points}) > 1]
    return tuple(varied or points[0])


def _same(point: Point, params: Mapping[str, Any]) -> bool:
    return all(params.get(name) == value for name, value in point.items())


def _expected(plan: SweepPlan) -> int:
    if plan.preset is None:
        return plan.settings.trials
    return len(plan.points(0, ())) if len(plan.preset.rounds) == 1 else 0


def _why_nothing(plan: SweepPlan, result: SweepResult) -> str:
    if any(record.status == "complete" for record in result.records):
        return f"no champion: {plan.settings.objective[0]} is undefined in every trial; see the notes"
    budget = f" within {plan.settings.minutes:g} minutes" if plan.settings.minutes is not None else ""
    return f"no champion: no trial was complete{budget}; go on with --resume {plan.folder.name}"


def _info(plan: SweepPlan, decisions: Sequence[tuple[str, str, str]]) -> SweepInfo:
    settings = plan.settings
    return SweepInfo(
        experiment=settings.experiment or f"{plan.method.name}/{plan.dataset.name}",
        run_name=plan.folder.name,
        method=plan.method.name,
        selection=settings.selection,
        objectives={name: direction_of(name) for name in settings.objective},
        seed=settings.seed,
        weights=str(plan.base.get("weights", "default")),
        dataset=DatasetInfo(
            name=plan.dataset.name, digest=plan.digest, source=plan.dataset.uri, categories=plan.dataset.categories
        ),
        settings={
            **{name: str(value) for name, value in settings.model_dump(mode="json").items() if value is not None},
            **{f"given.{name}": " ".join(map(str, values)) for name, values in plan.axes.items()},
        },
        tags={f"decision.{what}": f"{choice} ({reason})" for what, choice, reason in decisions},
    )


def _finish(plan: SweepPlan, result: SweepResult, sweep_log: SweepLog, say: Callable[[str], None]) -> None:
    """Figures, champions and their registration; a failure here is said and loses nothing of the trials."""
    objectives, chosen = plan.settings.objective, result.chosen
    if chosen is None:
        return
    source: Source = "report" if set(chosen.report) - set(COSTS) else "choose"
    figures: dict[str, Callable[[], Figure]] = {
        "champion-per-category": lambda: champion_per_category(chosen, source=source),
    }
    if searched_names(result.records):
        figures["parallel-coordinates"] = lambda: parallel_coordinates(result.records, objectives[0])
        figures["importance"] = lambda: importance(result.records, objectives[0])
    for other in objectives[1:]:
        title = "pareto-front" if len(objectives) == 2 else f"pareto-front-{other}"
        figures[title] = functools.partial(pareto_front, result.records, (objectives[0], other))
    for name, draw in figures.items():
        try:
            sweep_log.log_figure(name, draw())
        except SubbandError as error:
            result.problems.append(f"the figure {name} could not be drawn: {error}")
    if not plan.settings.register_champion:
        return
    say(f"champion: refitting on all good pictures of {len(plan.dataset.categories)} categories")
    here = ray.get_runtime_context().get_node_id()
    affinity = NodeAffinitySchedulingStrategy(here, soft=False)
    # A cluster's head may offer no CPUs to trials; a task that asks for one would never start there.
    cpus = min(1, *(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["NodeID"] == here))
    tasks = {
        _champion_task.options(scheduling_strategy=affinity, num_cpus=cpus).remote(
            _trial_plan(plan, 1), chosen.params, name, str(plan.folder), plan.settings.fpr
        ): name
        for name in plan.dataset.categories
    }
    for task, name in tasks.items():
        try:
            report = ray.get(task)
        except ray.exceptions.RayError as error:  # the task's own error, or the death of its worker
            result.problems.append(f"{name}: no champion was registered: {getattr(error, 'cause', None) or error}")
            continue
        result.champions.append(report)
        for title, path in report.figures.items():
            sweep_log.log_figure(title, path)
        sweep_log.log_table(f"scores-{name}", report.scores)
        # A smoke run must never take the place of a real champion.
        model = f"{'smoke-' if plan.settings.smoke else ''}{plan.method.name}-{plan.dataset.name}-{name}"
        try:
            # A server that never answered the trials is not waited for again and again: `push` registers later.
            patience = 120.0 if sweep_log.run_id is not None else 5.0
            version = sweep_log.register_champion(report.folder, model, _tags(plan, chosen, report), timeout=patience)
        except SubbandError as error:
            result.problems.append(f"{name}: the champion is saved in {report.folder} but not registered: {error}")
            continue
        result.versions[name] = (model, version)


def _tags(plan: SweepPlan, chosen: TrialRecord, report: ChampionReport) -> dict[str, str]:
    metrics = {name: f"{value:.6f}" for name, value in chosen.categories[report.category]["choose"].items()}
    return {
        "method": plan.method.name,
        "dataset": plan.dataset.name,
        "category": report.category,
        "selection": plan.settings.selection,
        "sweep": plan.folder.name,
        "trial": chosen.trial_id,
        "parity": f"{report.parity:.2e}",
        "threshold": f"{report.threshold:.6g}",
        **{f"choose.{name}": value for name, value in metrics.items()},
    }


@ray.remote
def _champion_task(plan: TrialPlan, params: dict[str, Any], name: str, folder: str, fpr: float) -> ChampionReport:
    """Build one category's champion on the driver's node, where the sweep's folder lies."""
    import torch

    torch.set_num_threads(plan.threads)
    method = get_method(plan.method)
    dataset = open_dataset(plan.data)
    category = dataset.category(name)
    report = None
    if plan.selection == "holdout":
        report = split_category(category, "holdout", plan.seed)[1].report
    about = {"dataset": dataset.name, "data": dataset.uri, "selection": plan.selection, "sweep": Path(folder).name}
    with contextlib.suppress(ImportError):
        import matplotlib as mpl

        mpl.use("Agg")
    return build_champion(
        method,
        make_params(method, params),
        category,
        Store(plan.store, plan.store_gb),
        Path(folder) / "champions" / name,
        fpr,
        report,
        about,
    )
