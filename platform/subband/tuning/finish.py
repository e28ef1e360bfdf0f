"""After the last trial: figures of the sweep, and the winner refitted for every category, checked and registered."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
from matplotlib.figure import Figure
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from subband.champions.fitted import ChampionReport, Winner, build_champion
from subband.champions.promote import champion_name, champion_tags, metric_tags
from subband.champions.trained import trained_champion
from subband.data import open_dataset, split_category
from subband.errors import SubbandError
from subband.methods import make_params, staged_method, trained_method
from subband.methods.weights_rule import weights_record
from subband.metrics import COSTS
from subband.report import importance, parallel_coordinates, pareto_front
from subband.report.categories import champion_per_category
from subband.stages import Store
from subband.tracking import SweepLog, registry_name
from subband.trials import TrialRecord
from subband.trials.ranking import Source, searched_names
from subband.tuning.plan import SweepPlan
from subband.tuning.result import SweepResult
from subband.tuning.settings import SweepSettings
from subband.tuning.stage_trial import TrialPlan


def finish(result: SweepResult, chosen: TrialRecord, sweep_log: SweepLog, say: Callable[[str], None]) -> None:
    """Draw, refit and register; a failure here is told in ``result.problems`` and loses nothing of the trials.

    Args:
        result: of the trials; gets the champions, their versions and the problems.
        chosen: the winner.
        sweep_log: takes figures, tables and champions.
        say: called with one line for the person.
    """
    _log_figures(result, chosen, sweep_log)
    plan = result.plan
    if not plan.settings.register_model:
        return
    for report in _trained(result, chosen) if plan.trained else _refitted(result, chosen, say):
        name = report.category
        result.champions.append(report)
        for title, path in report.figures.items():
            sweep_log.log_figure(title, path)
        if report.scores:
            sweep_log.log_table(f"scores-{registry_name(name)}", report.scores)
        category = None if plan.trained else name
        model = champion_name(plan.method.name, plan.dataset, category, plan.settings.smoke)
        try:
            done = sweep_log.register_champion(report.folder, model, _tags(plan, chosen, report))
        except SubbandError as error:
            result.problems.append(f"{name}: the champion is saved in {report.folder} but not registered: {error}")
            continue
        result.versions[name] = (done.name, done.version) if done else (model, None)
        if done and done.name != model:
            say(f"{name}: {model} is another dataset's champion; this one is {done.name}")


def _trained(result: SweepResult, chosen: TrialRecord) -> Iterator[ChampionReport]:
    try:
        plan = result.plan
        yield trained_champion(trained_method(plan.method.name), plan.dataset, chosen, plan.folder)
    except SubbandError as error:
        result.problems.append(f"no champion was registered: {error}")


def _refitted(result: SweepResult, chosen: TrialRecord, say: Callable[[str], None]) -> Iterator[ChampionReport]:
    """The champions of all categories, as they become ready."""
    say(f"champion: refitting on all good images of {len(result.plan.dataset.categories)} categories")
    for task, name in _champion_tasks(result.plan, chosen).items():
        try:
            yield ray.get(task)
        except ray.exceptions.RayError as error:  # the task's own error, or the death of its worker
            result.problems.append(f"{name}: no champion was registered: {getattr(error, 'cause', None) or error}")


def _log_figures(result: SweepResult, chosen: TrialRecord, sweep_log: SweepLog) -> None:
    first, *others = result.plan.settings.objective
    # Costs are reported even where there are no labels to report on; the bars show metrics.
    source: Source = "report" if set(chosen.report) - set(COSTS) else "choose"
    figures: dict[str, Callable[[], Figure]] = {}
    if not result.plan.trained:
        figures["champion-per-category"] = lambda: champion_per_category(chosen, source=source)
    elif chosen.categories:
        shown = [name for name in result.plan.settings.objective if name not in COSTS][:6]
        figures["champion-per-test-set"] = lambda: champion_per_category(chosen, shown)
    if searched_names(result.records):
        figures["parallel-coordinates"] = lambda: parallel_coordinates(result.records, first)
        figures["importance"] = lambda: importance(result.records, first)
    for other in others:
        title = "pareto-front" if len(others) == 1 else f"pareto-front-{other}"
        figures[title] = functools.partial(pareto_front, result.records, (first, other))
    for name, draw in figures.items():
        try:
            sweep_log.log_figure(name, draw())
        except SubbandError as error:
            result.problems.append(f"the figure {name} could not be drawn: {error}")


def _champion_tasks(plan: SweepPlan, chosen: TrialRecord) -> dict[Any, str]:
    """Running tasks on this node, where the sweep's folder lies, and their categories."""
    here = ray.get_runtime_context().get_node_id()
    affinity = NodeAffinitySchedulingStrategy(here, soft=False)
    # A cluster's head may offer no CPUs to trials; a task that asks for one would never start there.
    cpus = min(1, *(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["NodeID"] == here))
    task = _champion_task.options(scheduling_strategy=affinity, num_cpus=cpus)
    trial = TrialPlan.of(plan, threads=1)
    return {
        task.remote(trial, chosen.params, name, str(plan.folder), plan.settings, weights_record(plan.decisions)): name
        for name in plan.dataset.categories
    }


@ray.remote
def _champion_task(
    plan: TrialPlan, params: dict[str, Any], name: str, folder: str, settings: SweepSettings, about: dict[str, str]
) -> ChampionReport:
    """Build one category's champion."""
    import torch

    torch.set_num_threads(plan.threads)
    method = staged_method(plan.method)
    dataset = open_dataset(plan.data)
    category = dataset.category(name)
    reported = split_category(category, "holdout", plan.seed)[1].report if plan.selection == "holdout" else None
    with contextlib.suppress(ImportError):
        import matplotlib as mpl

        mpl.use("Agg")
    winner = Winner(
        method=method,
        params=make_params(method, params),
        category=category,
        reported=reported,
        fpr=settings.fpr,
        pixel_fpr=settings.pixel_fpr,
        about={
            "dataset": dataset.name,
            "data": dataset.uri,
            "selection": plan.selection,
            "sweep": Path(folder).name,
            **about,
        },
    )
    return build_champion(winner, Store(plan.store, plan.store_gb), Path(folder) / "champions" / name)


def _tags(plan: SweepPlan, chosen: TrialRecord, report: ChampionReport) -> dict[str, str]:
    seen = chosen.choose if plan.trained else chosen.categories[report.category]["choose"]
    tags = {
        "category": report.category,
        "selection": plan.selection,
        "sweep": plan.folder.name,
        "trial": chosen.trial_id,
    }
    tags |= metric_tags("choose", seen)
    return champion_tags(plan.method.name, plan.dataset, report.parity, report.threshold, tags)
