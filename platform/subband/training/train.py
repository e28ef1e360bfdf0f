"""A training from plan to result: workers, then the deployable model, proven and saved, and MLflow."""

from __future__ import annotations

import csv
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from ray import train

from subband.analysis.trained_figures import training_figures
from subband.champions.promote import champion_name, champion_tags, metric_tags
from subband.champions.trained import MODEL, finished, save_finished, without_fetching
from subband.compute import cluster
from subband.compute.group import run_on_workers
from subband.compute.shares import WorkerShare, check_fit, worker_share
from subband.decisions import Decision
from subband.errors import TrackingError
from subband.files import write_atomically
from subband.home import home
from subband.methods.trained_base import best_epoch
from subband.methods.weights_rule import weights_record
from subband.runs.folders import folder_lock
from subband.tracking import DatasetInfo, LiveReport, ReportFile, TrackingTarget, resolve_tracking
from subband.training.checkpoint import read_best
from subband.training.plan import LOCK_NAME, RESULTS, RUN_NAME, TrainPlan, save_settings
from subband.training.worker import train_worker

SAY_EVERY_SECONDS = 5.0
CURVES = "curves.csv"


@dataclass
class TrainResult:
    """What a training left.

    Attributes:
        plan: of the training.
        history: metrics of every epoch.
        tests: by name, metrics of the best weights on test examples.
        stop: why it ended early, or None.
        diverged: whether its loss was no number.
        model: folder of the saved model; None if there is none.
        parity: greatest difference of the model loaded afresh from the trained one.
        registered: in MLflow's registry, if it is.
        problems: what went wrong without ending the training.
        run_id: of the MLflow run, or None if it could not be started.
    """

    plan: TrainPlan
    history: list[dict[str, float]] = field(default_factory=list)
    tests: dict[str, dict[str, float]] = field(default_factory=dict)
    stop: str | None = None
    diverged: bool = False
    model: Path | None = None
    parity: float = math.nan
    registered: str | None = None
    problems: list[str] = field(default_factory=list)
    run_id: str | None = None

    @property
    def best_epoch(self) -> int | None:
        """Number of the epoch whose weights are kept, from 1."""
        return best_epoch(self.history, self.plan.method.chosen_by)


def run_training(
    plan: TrainPlan, watch: Callable[[Mapping[str, Any]], None], say: Callable[[str], None]
) -> TrainResult:
    """Run, or go on with, a training.

    Args:
        plan: from `make_train_plan`.
        watch: called with what rank 0 of the workers tells: every epoch, restarts, tests.
        say: called with one line for the person at every step.

    Raises:
        SubbandError: the training could not be started or failed; its last checkpoint is kept.
        KeyboardInterrupt: it was interrupted; likewise.
    """
    target = resolve_tracking(plan.settings.tracking_uri, home())
    where, why = cluster.connect()
    settings = plan.settings
    share = worker_share(settings.workers, settings.device, settings.cpus_per_worker)
    check_fit(settings.workers, share.cpus, share.gpu)
    decisions = (
        *plan.decisions,
        Decision("ray", where, why),
        Decision("workers", f"{settings.workers} with {share} each", share.reason),
        Decision("tracking", target.uri, target.reason),
    )
    for decision in decisions:
        say(str(decision))
    plan.method.check(plan.examples, _told(say))
    result = TrainResult(plan)
    with folder_lock(plan.folder, LOCK_NAME, "training"):
        save_settings(plan)
        report = _report_file(plan, decisions, target)
        with LiveReport(plan.folder / "report", report, target) as log:
            _train(plan, result, share, log, watch)
            if settings.register_model and result.model is not None:
                _register(plan, result, log)
        result.run_id = log.run_id
        if log.problem:
            result.problems.append(log.problem)
    return result


def _register(plan: TrainPlan, result: TrainResult, log: LiveReport) -> None:
    assert result.model is not None
    name = champion_name(plan.method.name, plan.dataset, smoke=plan.settings.smoke)
    try:
        done = log.register_champion(result.model, name, _tags(plan, result))
    except TrackingError as error:
        result.problems.append(f"the model is saved in {result.model} but not registered: {error}")
        return
    result.registered = f"{done.name} version {done.version}" if done else None


def _train(
    plan: TrainPlan,
    result: TrainResult,
    share: WorkerShare,
    log: LiveReport,
    watch: Callable[[Mapping[str, Any]], None],
) -> None:
    """Train on the workers; then the model, the curves and the figures."""
    settings = plan.settings

    def hear(message: Mapping[str, Any]) -> None:
        # A diverged epoch is done again when the training is resumed.
        if "epoch" in message and not message["diverged"]:
            log.log_numbers([(name, value, message["epoch"]) for name, value in message["metrics"].items()])
        watch(message)

    done = run_on_workers(
        train_worker,
        {
            "method": plan.method.name,
            "params": plan.params.model_dump(mode="json"),
            "data": plan.dataset.uri,
            "loaders": settings.loaders if settings.loaders is not None else (4 if share.gpu else 0),
        },
        name=RUN_NAME,
        workers=settings.workers,
        storage=plan.folder,
        use_gpu=share.gpu,
        cpus_per_worker=share.cpus,
        max_failures=settings.max_failures,
        keep=train.CheckpointConfig(num_to_keep=1),
        on_message=hear,
    )
    outcome: dict[str, Any] = done.return_value  # type: ignore[attr-defined]  # of Train V2's result
    result.history, result.tests = outcome["history"], outcome["tests"]
    result.stop, result.diverged = outcome["stop"], outcome["diverged"]
    _write_curves(result.history, log.folder / CURVES)
    if result.diverged:
        kept = f"; the checkpoint after epoch {len(result.history)} is kept in {plan.folder}" if result.history else ""
        result.problems.append(f"the training diverged: {result.stop}{kept}")
        log.status = "failed"
        return
    assert done.checkpoint is not None
    with done.checkpoint.as_directory() as folder:
        _finish(plan, result, Path(folder))
    _remove_others(plan.folder, Path(done.checkpoint.path))
    log.log_numbers([(f"{name}.{key}", value, 0) for name, row in result.tests.items() for key, value in row.items()])
    for name, figure in _figures(plan, result).items():
        figure.savefig(log.folder / f"{name}.png", dpi=110)
    about = {"tests": result.tests, "best_epoch": result.best_epoch, "stop": result.stop, "epochs": len(result.history)}
    write_atomically(plan.folder / RESULTS, json.dumps(about, indent=1).encode())


def _remove_others(folder: Path, kept: Path) -> None:
    """Remove checkpoints that a killed process wrote and did not report: Ray does not know them, and they look like later ones."""
    for path in folder.glob(f"{RUN_NAME}/checkpoint_*"):
        if path.name != kept.name:
            shutil.rmtree(path, ignore_errors=True)


def _told(say: Callable[[str], None]) -> Callable[[int, int], None]:
    """Says how far a long check has come, every few seconds."""
    last = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > SAY_EVERY_SECONDS:
            last = time.monotonic()
            say(f"checked {done} of {total} examples")

    return progress


def _finish(plan: TrainPlan, result: TrainResult, checkpoint: Path) -> None:
    """The deployable model of the best weights, saved only if it answers the same when it is loaded afresh.

    Raises:
        ModelError: it does not; nothing is kept.
    """
    network = plan.method.model(without_fetching(plan.params))
    network.load_state_dict(read_best(checkpoint))
    origin = {"training": plan.folder.name, "training_fingerprint": plan.digest, **weights_record(plan.decisions)}
    model = finished(plan.method, plan.params, network, result.history, plan.examples, origin, plan.dataset)
    result.parity, _ = save_finished(model, plan.examples.validation, plan.folder / MODEL)
    result.model = plan.folder / MODEL


def _figures(plan: TrainPlan, result: TrainResult) -> dict[str, Figure]:
    return training_figures(plan.method, plan.dataset.name, plan.examples, result.history, result.model)


def _write_curves(history: list[dict[str, float]], path: Path) -> None:
    names = list(dict.fromkeys(name for row in history for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["epoch", *names])
        writer.writeheader()
        writer.writerows({"epoch": number, **row} for number, row in enumerate(history, 1))


def _report_file(plan: TrainPlan, decisions: tuple[Decision, ...], target: TrackingTarget) -> ReportFile:
    return ReportFile(
        experiment=plan.settings.experiment or f"{plan.method.name}/{plan.dataset.name}",
        run_name=plan.folder.name,
        dataset=DatasetInfo(
            name=plan.dataset.name, digest=plan.digest, source=plan.dataset.uri, categories=plan.dataset.categories
        ),
        params={**plan.params.model_dump(mode="json"), "workers": plan.settings.workers},
        tags={
            "role": "training",
            "method": plan.method.name,
            **dict(decision.tag for decision in decisions),
        },
        tracking_uri=target.uri,
        artifact_root=target.artifact_root,
    )


def _tags(plan: TrainPlan, result: TrainResult) -> dict[str, str]:
    tags = {"training": plan.folder.name, "best_epoch": str(result.best_epoch)}
    for name, row in result.tests.items():
        tags |= metric_tags(name, row)
    return champion_tags(plan.method.name, plan.dataset, result.parity, None, tags)
