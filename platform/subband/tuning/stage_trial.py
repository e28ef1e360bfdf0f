"""One trial of the stage lane: a class Trainable whose actor is reused, one category a step."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ray import tune

from subband.costs import measure_costs
from subband.data import Selection, open_dataset
from subband.errors import SubbandError
from subband.evaluation import CategoryBench, mean_metrics
from subband.methods import Deployable, make_params, staged_method
from subband.metrics import COSTS
from subband.stages import WAITING, Store

if TYPE_CHECKING:
    from subband.tuning.plan import SweepPlan  # brings Optuna, which workers need not import


@dataclass(frozen=True)
class TrialPlan:
    """What every trial of a sweep has in common; sent to each worker once.

    Attributes:
        method: name in the registry.
        base: the params that the search does not vary.
        data: dataset URI.
        categories: evaluated in this order; the number of categories seen so far is the fidelity of racing.
        selection: which labels may choose.
        seed: of the splits.
        store: folder of the stage store on each node.
        store_gb: its budget.
        objectives: metrics and costs that the search looks at; a cost is measured only if it is among them.
        threads: torch threads a worker uses.
        searched: names of the params that vary.
        workers: trials that run at a time, which costs are measured beside.
    """

    method: str
    base: dict[str, Any]
    data: str
    categories: tuple[str, ...]
    selection: Selection
    seed: int
    store: Path
    store_gb: float
    objectives: tuple[str, ...]
    threads: int
    searched: tuple[str, ...] = ()
    workers: int = 1

    @classmethod
    def of(cls, plan: SweepPlan, threads: int, searched: tuple[str, ...] = (), workers: int = 1) -> TrialPlan:
        """What trials need of a sweep's plan."""
        return cls(
            method=plan.method.name,
            base=plan.base,
            data=plan.dataset.uri,
            categories=plan.categories,
            selection=plan.selection,
            seed=plan.settings.seed,
            store=plan.settings.store_folder,
            store_gb=plan.settings.store_gb,
            objectives=plan.settings.objective,
            threads=threads,
            searched=searched,
            workers=workers,
        )


def costs_beside(model: Deployable, wanted: Sequence[str], trials: int) -> tuple[dict[str, float], list[str]]:
    """Costs of a model that is measured while up to so many trials run, and what their reader must know."""
    measured, conditions = measure_costs(model, wanted)
    if not conditions:
        return measured, []
    others = trials - 1
    running = f"{others} other trial{'s' if others > 1 else ''}"
    beside = f"while up to {running} ran; --workers 1 gives figures to quote" if others else "one trial at a time"
    return measured, [f"latency_ms and fps: {conditions}, {beside}"]


class StageTrial(tune.Trainable):
    """Evaluates one params, a category a step; the worker keeps datasets, masks and open stages for the next trial.

    Life cycle: `setup` once a worker; `reset_config` before every further trial on it; `step` until every category is done or the
    scheduler stops the trial.
    """

    def setup(self, config: dict[str, Any], plan: TrialPlan | None = None) -> None:
        """Open the dataset and the store; called once a worker."""
        if plan is None:
            raise ValueError("StageTrial needs its plan: pass it with tune.with_parameters")
        torch.set_num_threads(plan.threads)
        self._plan = plan
        self._method = staged_method(plan.method)
        self._dataset = open_dataset(plan.data)
        self._store = Store(plan.store, plan.store_gb)
        self._benches: dict[str, CategoryBench] = {}
        self._begin()
        for name in plan.categories:
            # Workers that start together share the categories out, instead of waiting for each other in the first trial.
            # What is wrong with a category is told by the trials that need it.
            with contextlib.suppress(SubbandError):
                self._bench(name).prepare(self._method, make_params(self._method, plan.base), plan.searched)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial's config; datasets and open stages stay."""
        self._begin()
        return True

    def step(self) -> dict[str, Any]:
        """Evaluate the next category; the result holds everything so far."""
        started = time.perf_counter()
        try:
            params = make_params(self._method, {**self._plan.base, **self.config["point"]})
            name = self._plan.categories[len(self._categories)]
            evaluation = self._bench(name).evaluate(self._method, params)
            costs = self._costs(name, params)
        except SubbandError as error:
            # An expected failure is a result: the worker goes on to the next trial instead of being restarted.
            return {**dict.fromkeys(self._plan.objectives, float("nan")), "failure": str(error), "done": True}
        # A cost asks for no label: it may choose, and it is reported.
        self._categories[name] = {"choose": {**evaluation.choose, **costs}, "report": {**evaluation.report, **costs}}
        self._notes.update(f"{name}: {note}" for note in evaluation.notes)
        for stage, seconds in evaluation.seconds.items():
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds
        choose = mean_metrics([metrics["choose"] for metrics in self._categories.values()])
        self._trial_seconds += time.perf_counter() - started
        record = {
            "params": params.model_dump(mode="json"),
            "choose": choose,
            "report": mean_metrics([metrics["report"] for metrics in self._categories.values()]),
            "categories": dict(self._categories),
            "timings": {
                **self._seconds,
                **self._cost_seconds,
                "stages": self._stage_seconds(),
                "trial": self._trial_seconds,
            },
            "notes": sorted(self._notes),
        }
        return {
            **{metric: choose.get(metric, float("nan")) for metric in self._plan.objectives},
            "record": record,
            "complete": len(self._categories) == len(self._plan.categories),
            "done": len(self._categories) == len(self._plan.categories),
        }

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing to save: a trial's work lies in the stage store."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing to load."""

    def _begin(self) -> None:
        self._categories: dict[str, dict[str, dict[str, float]]] = {}
        self._seconds: dict[str, float] = {}
        self._cost_seconds: dict[str, float] = {}
        self._notes: set[str] = set()
        self._trial_seconds = 0.0

    def _costs(self, name: str, params: Any) -> dict[str, float]:
        """The costs that are objectives, of the detector fitted to this category; nothing is built where there are none."""
        wanted = [objective for objective in self._plan.objectives if objective in COSTS]
        if not wanted:
            return {}
        started = time.perf_counter()
        detector = self._method.build(params, self._bench(name).runner)
        measured, notes = costs_beside(detector, wanted, self._plan.workers)
        self._notes.update(notes)
        self._cost_seconds["costs"] = self._cost_seconds.get("costs", 0.0) + time.perf_counter() - started
        return measured

    def _stage_seconds(self) -> float:
        return sum(seconds for stage, seconds in self._seconds.items() if stage != WAITING)

    def _bench(self, name: str) -> CategoryBench:
        if name not in self._benches:
            category = self._dataset.category(name)
            self._benches[name] = CategoryBench(category, self._plan.selection, self._plan.seed, self._store)
        return self._benches[name]
