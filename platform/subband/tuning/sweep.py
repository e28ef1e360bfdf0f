"""A sweep from plan to result: many trials that share their work, then the winner, and what is left to the person."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from subband.champions.trained import drop_other_models
from subband.compute import cluster
from subband.decisions import Decision
from subband.home import home
from subband.metrics import direction_of
from subband.spaces import Point
from subband.stages import Store
from subband.tracking import DatasetInfo, SweepInfo, SweepLog, resolve_tracking
from subband.trials import TrialRecord, read_records
from subband.trials.ranking import complete_with, non_dominated
from subband.tuning.finish import finish
from subband.tuning.plan import SweepPlan, save_settings
from subband.tuning.population import first_points
from subband.tuning.result import SweepResult
from subband.tuning.tuner import Round, run_round

Watch = Callable[[TrialRecord, int], None]
"""Called with every ended trial and the number of trials that this sweep will have (0 while unknown)."""


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
    if not plan.trained:
        Store(
            plan.settings.store_folder, plan.settings.store_gb
        )  # one that cannot be used would fail every trial, seconds later
    save_settings(plan)
    where, why = cluster.connect()
    decisions = (
        *plan.decisions,
        Decision("ray", where, why),
        _work(plan),
        Decision("tracking", target.uri, target.reason),
    )
    for decision in decisions:
        say(str(decision))
    with SweepLog(plan.folder, _info(plan, decisions), target) as sweep_log:
        result = SweepResult(plan, read_records(plan.folder))
        if result.records:
            say(f"resumed: {len(result.records)} finished trials are kept")

        expected = _expected(plan)

        def on_record(record: TrialRecord) -> None:
            result.records.append(record)
            sweep_log.log_trial(record)
            if plan.trained:
                drop_other_models(plan.folder, result.records, plan.settings.objective)
            watch(record, expected)

        try:
            _run_trials(plan, result, on_record)
        except KeyboardInterrupt:
            result.interrupted = True
        result.chosen = next(iter(result.ranked), None)
        if len(plan.settings.objective) > 1:
            result.front = non_dominated(result.records, plan.settings.objective)
        if result.chosen is not None and not result.interrupted:
            finish(result, result.chosen, sweep_log, say)
        elif not result.interrupted:
            result.problems.append(_why_nothing(plan, result))
        sweep_log.flush(timeout=30 if result.interrupted else None)  # a person who interrupts waits no minute
        result.comparison_url = sweep_log.comparison_url()
        sweep_log.close("killed" if result.interrupted else "finished")
    return result


def _run_trials(plan: SweepPlan, result: SweepResult, on_record: Callable[[TrialRecord], None]) -> None:
    minutes = plan.settings.minutes
    until = None if minutes is None else time.time() + 60 * minutes
    if plan.preset is None:
        left = plan.settings.trials - sum(record.status != "failed" for record in result.records)
        if left > 0:
            points = first_points(plan, left) if plan.settings.search == "pbt" else None
            # What an earlier part of the sweep proposed comes first, whether or not it ended.
            begun = max((1 + _place(record) for record in result.records), default=0)
            search = Round(points, left, plan.searched, until, tuple(range(begun, begun + left)))
            run_round(plan, search, result.records, on_record)
        return
    before: list[Point] = []
    for number in range(len(plan.preset.rounds)):
        # A round follows the rounds before it alone, so that a resumed sweep takes the same path as an uninterrupted one.
        earlier = [record for record in result.records if any(_same(point, record.params) for point in before)]
        if number and not complete_with(earlier, plan.settings.objective[0]):
            return  # nothing to follow
        points = plan.points(number, earlier)
        first = len(before)
        before += points
        finished = [record.params for record in result.records if record.status != "failed"]
        places = {
            place: point
            for place, point in enumerate(points, first)
            if not any(_same(point, params) for params in finished)
        }
        if places and (until is None or time.time() < until):
            todo = list(places.values())
            run_round(plan, Round(todo, len(todo), _varied(points), until, tuple(places)), result.records, on_record)


def _place(record: TrialRecord) -> int:
    return record.number if record.proposed is None else record.proposed


def _work(plan: SweepPlan) -> Decision:
    """The decision that only this lane makes: where stages lie, or how trials that train share the cluster."""
    if not plan.trained:
        return Decision("store", str(plan.settings.store_folder), "--store")
    from subband.tuning.resources import share_of

    share, group = share_of(plan, _expected(plan) or plan.settings.trials), plan.settings.workers_per_trial
    size = f"{share.cpus} CPU threads" + (f" and {share.gpus:g} GPU" if share.gpus else "")
    each = size if group == 1 else f"{group} workers with {size} each"
    return Decision("trials at a time", f"{share.at_a_time}, each {each}", "--workers and --workers-per-trial")


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


def _info(plan: SweepPlan, decisions: Sequence[Decision]) -> SweepInfo:
    settings = plan.settings
    return SweepInfo(
        experiment=settings.experiment or f"{plan.method.name}/{plan.dataset.name}",
        run_name=plan.folder.name,
        method=plan.method.name,
        selection=plan.selection,
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
        tags=dict(decision.tag for decision in decisions),
    )
