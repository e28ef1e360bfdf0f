"""One trial of the training lane: a class Trainable whose actor is reused, one epoch a step."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ray import tune

from subband.champions.trained import ANSWERS, HISTORY, MODEL, MODELS, finished, save_finished
from subband.data import Selection, open_dataset
from subband.errors import ParamsError, SubbandError, unknown_name
from subband.evaluation import mean_metrics
from subband.methods import Deployable, TrainingParams, make_params, settled_params, trained_method
from subband.methods.trained_base import PROGRESS, best_epoch
from subband.methods.weights_rule import weights_record
from subband.metrics import COSTS, direction_of
from subband.training.stepwise import Epochs, Job, start
from subband.tuning.stage_trial import costs_beside

if TYPE_CHECKING:
    from subband.tuning.plan import SweepPlan  # brings Optuna, which workers need not import

_STATE = "trial.json"


@dataclass(frozen=True)
class TrainingTrialPlan:
    """What every trial of a sweep has in common; sent to each worker once.

    Attributes:
        method: name in the registry.
        base: the params that the search does not vary.
        data: dataset URI.
        selection: which images choose; a trial whose params say otherwise fails.
        objectives: metrics and costs that the search looks at.
        folder: of the sweep, which every machine sees.
        workers: Ray Train workers of a trial; 1 trains in the trial's own process.
        threads: torch threads of each.
        gpu: whether each has one.
        beside: trials that run at a time, which costs are measured beside.
        population: whether trials take over each other's weights; then one that diverged waits for better ones.
        about: kept in every saved model: where its first weights come from, and why.
    """

    method: str
    base: dict[str, Any]
    data: str
    selection: Selection
    objectives: tuple[str, ...]
    folder: Path
    workers: int = 1
    threads: int = 1
    gpu: bool = False
    beside: int = 1
    population: bool = False
    about: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: SweepPlan, threads: int, gpu: bool, beside: int) -> TrainingTrialPlan:
        """What trials need of a sweep's plan."""
        return cls(
            method=plan.method.name,
            base=plan.base,
            data=plan.dataset.uri,
            selection=plan.selection,
            objectives=plan.settings.objective,
            folder=plan.folder.absolute(),
            workers=plan.settings.workers_per_trial,
            threads=threads,
            gpu=gpu,
            beside=beside,
            population=plan.settings.search == "pbt",
            about=weights_record(plan.decisions),
        )


class TrainingTrial(tune.Trainable):
    """Trains one params, an epoch a step; a complete trial leaves its model, so that the winner need not be trained again.

    Life cycle: `setup` once a worker; `reset_config` before every further trial on it; `load_checkpoint` where the trial goes on
    after a pause, or from another's weights; `step` until all epochs are done or the scheduler stops the trial.
    """

    def setup(self, config: dict[str, Any], plan: TrainingTrialPlan | None = None) -> None:
        """Open the dataset; called once a worker."""
        if plan is None:
            raise ValueError("TrainingTrial needs its plan: pass it with tune.with_parameters")
        self._plan = plan
        self._method = trained_method(plan.method)
        self._dataset = open_dataset(plan.data)
        self._epochs: Epochs | None = None
        self._begin()

    def _begin(self) -> None:
        if self._epochs is not None:
            self._epochs.end()
        self._epochs = None
        self._history: list[dict[str, float]] = []
        self._changes: list[str] = []
        self._seconds = 0.0
        self._spoilt = ""
        self._current: Job | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial's config; what the one before trained is let go."""
        self._begin()
        return True

    def step(self) -> dict[str, Any]:
        """Train the next epoch; the result holds everything so far."""
        started = time.perf_counter()
        try:
            job = self._job()
            if self._spoilt:
                return self._wait(job)
            if self._epochs is None:
                self._epochs = start(job)
            epoch = self._epochs.advance()
            if epoch["diverged"]:
                self._spoilt = f"the training diverged: {epoch['stop']}"
                return self._wait(job)
            self._history.append(dict(epoch["metrics"]))
            whole = epoch["stop"] is not None or epoch["epoch"] >= job.params.epochs
            record = self._record(job)
            if whole:
                record |= self._complete(job, record)
                self._epochs.end()
        except SubbandError as error:
            # An expected failure is a result: the worker goes on to the next trial instead of being restarted.
            self._begin()
            return {**dict.fromkeys(self._plan.objectives, float("nan")), "failure": str(error), "done": True}
        self._seconds += time.perf_counter() - started
        record["timings"]["trial"] = self._seconds
        if epoch["stop"] is not None:
            record["notes"].append(f"stopped after epoch {epoch['epoch']}: {epoch['stop']}")
        return {
            **{name: record["choose"].get(name, float("nan")) for name in self._plan.objectives},
            "record": record,
            "complete": whole,
            "done": whole,
        }

    def _wait(self, job: Job) -> dict[str, Any]:
        """What a diverged trial gives: its failure, or in a population the worst value, until it takes over better weights.

        Raises:
            SubbandError: it ends as it is.
        """
        if not self._plan.population or self.training_iteration + 1 >= job.params.epochs:
            raise SubbandError(self._spoilt)
        worst = -math.inf if direction_of(self._plan.objectives[0]) == "max" else math.inf
        return {self._plan.objectives[0]: worst, "done": False}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Keep the training and its story."""
        folder = Path(checkpoint_dir)
        assert self._epochs is not None, "Tune saves between two steps"
        if not self._spoilt:
            self._epochs.save(folder)
        state = {
            "trial": self.trial_id,
            "point": self.config["point"],
            "history": self._history,
            "changes": self._changes,
            "seconds": self._seconds,
            "spoilt": self._spoilt,
        }
        (folder / _STATE).write_text(json.dumps(state), encoding="utf-8")

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on after a pause, or from another trial's weights with params of one's own."""
        self._begin()
        state = json.loads((Path(checkpoint) / _STATE).read_text(encoding="utf-8"))
        self._history = state["history"]
        self._changes = state["changes"]
        self._seconds = state["seconds"]
        before, now = state["point"], self.config["point"]
        if state["trial"] != self.trial_id:
            changed = [f"{name} {before[name]:.3g} -> {now[name]:.3g}" for name in now if now[name] != before[name]]
            self._changes.append(
                f"epoch {len(self._history)}: another trial's weights, {', '.join(changed) or 'its params'}"
            )
        self._spoilt = state["spoilt"]
        self._epochs = start(self._job(), None if self._spoilt else Path(checkpoint))

    def cleanup(self) -> None:
        """Called when the worker is no longer needed."""
        self._begin()

    def _job(self) -> Job:
        if self._current is None:
            self._current = self._make_job()
        return self._current

    def _make_job(self) -> Job:
        plan = self._plan
        given = make_params(self._method, {**plan.base, **self.config["point"]})
        params: TrainingParams = settled_params(self._method, given, self._dataset)
        examples = self._method.examples(params, self._dataset)
        if examples.selection != plan.selection:
            raise ParamsError(
                f"with these params {examples.selection} images choose, in this sweep {plan.selection} images do: "
                "their scores cannot be compared"
            )
        folder = plan.folder / "groups"
        return Job(self._method, params, self._dataset, examples, plan.workers, plan.threads, plan.gpu, folder)

    def _record(self, job: Job) -> dict[str, Any]:
        """All that the next result says of the trial, as if it ended here."""
        best = best_epoch(self._history, self._method.chosen_by)
        row = self._history[best - 1] if best is not None else {}
        choose = {name: value for name, value in row.items() if name not in PROGRESS}
        known = [*choose, *COSTS]
        for name in self._plan.objectives:
            if best is not None and name not in known:
                raise ParamsError(unknown_name(f"metric that {self._method.name} gives", name, known))
        trained = sum(row["seconds"] for row in self._history)
        params = job.params.model_dump(mode="json")
        notes = list(job.examples.notes)
        if self._changes:
            notes.append(
                "params changed on the way, those shown are the last ones (population-based training): "
                + "; ".join(self._changes)
            )
        timings = {"training": trained, "stages": trained}
        return {"params": params, "choose": choose, "report": {}, "categories": {}, "timings": timings, "notes": notes}

    def _complete(self, job: Job, record: dict[str, Any]) -> dict[str, Any]:
        """What only a complete trial has: figures of the test sets, costs, and its model."""
        assert self._epochs is not None
        tests, weights = self._epochs.results()
        network = self._method.model(job.params)
        network.load_state_dict(weights)
        folder = self._plan.folder / MODELS / str(self.trial_id)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        about = {"selection": self._plan.selection, "sweep": self._plan.folder.name, **self._plan.about}
        detector = finished(self._method, job.params, network, self._history, job.examples, about, self._dataset)
        _, answers = save_finished(detector, job.examples.validation, folder / MODEL)
        np.save(folder / ANSWERS, answers)
        (folder / HISTORY).write_text(json.dumps(self._history), encoding="utf-8")
        costs = self._costs(detector, record)
        return {
            "choose": {**record["choose"], **costs},
            "report": {**mean_metrics(list(tests.values())), **costs},
            "categories": {name: {"choose": {}, "report": dict(metrics)} for name, metrics in tests.items()},
            "model": f"{MODELS}/{self.trial_id}/{MODEL}",
        }

    def _costs(self, model: Deployable, record: dict[str, Any]) -> dict[str, float]:
        wanted = [name for name in self._plan.objectives if name in COSTS]
        if not wanted:
            return {}
        started = time.perf_counter()
        measured, notes = costs_beside(model, wanted, self._plan.beside)
        record["notes"] += notes
        record["timings"]["costs"] = time.perf_counter() - started
        return measured
