"""What runs on every worker of a training: the loop, with checkpoints and metrics handed to Ray Train."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch

from subband.compute.group import send
from subband.data import open_dataset
from subband.methods import make_params, trained_method
from subband.methods.trained_base import best_epoch
from subband.training.batches import WorkerContext
from subband.training.checkpoint import restore_checkpoint, write_checkpoint
from subband.training.loop import Training


def train_worker(config: dict[str, Any], go_on: Callable[[Training], bool] = lambda training: True) -> dict[str, Any]:
    """Train on this worker.

    Args:
        config: ``method``, ``params``, ``data`` (URI) and ``loaders``; ``start``, the folder of a checkpoint to begin from, may be
            left out.
        go_on: asked on every worker after every epoch that is not the last; all must hear the same.

    Returns:
        ``tests``: by name, the metrics of the best weights on the test examples; ``history``: metrics of every epoch; ``stop``: why
        it ended early, or None; ``diverged``. Of a training that did not go on, ``tests`` is empty.
    """
    context = ray.train.get_context()
    place = WorkerContext(
        context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device(), int(config["loaders"])
    )
    method = trained_method(config["method"])
    params = make_params(method, config["params"])
    training = Training(method, params, method.examples(params, open_dataset(config["data"])), place)
    before = ray.train.get_checkpoint()
    if before is not None:
        with before.as_directory() as folder:
            restore_checkpoint(training, Path(folder))
        send({"restored": training.epoch})
    elif config.get("start"):
        restore_checkpoint(training, Path(config["start"]))
    stop, diverged = None, False
    for epoch in training.run():
        stop, diverged = epoch.stop, epoch.diverged
        if not diverged:
            _report(training, dict(epoch.metrics))
        send(
            {
                "epoch": epoch.number,
                "metrics": dict(epoch.metrics),
                "best": epoch.best,
                "stop": stop,
                "diverged": diverged,
                "checkpoint": _latest(),
            }
        )
        if stop is None and epoch.number < params.epochs and not go_on(training):
            return {"tests": {}, "history": training.history, "stop": None, "diverged": False}
    if diverged:
        return {"tests": {}, "history": training.history, "stop": stop, "diverged": True}
    if best_epoch(training.history, method.chosen_by) is None:
        # It was cut off before its first validation, and goes on with no more epochs.
        best = training.validate()
        _report(training, training.history[-1])
        send({"epoch": training.epoch, "metrics": training.history[-1], "best": best, "stop": None, "diverged": False})
    training.use_best()
    tests = {}
    for name, examples in training.data.tests.items():
        send({"testing": name})
        tests[name] = training.evaluate(examples)
    return {"tests": tests, "history": training.history, "stop": stop, "diverged": False}


def _report(training: Training, metrics: dict[str, float]) -> None:
    """Hand the epoch to Ray Train; all workers meet here, and rank 0 brings the checkpoint."""
    metrics = {**metrics, "training_epoch": training.epoch}
    if training.place.rank:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(training, Path(folder))
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def _latest() -> str | None:
    """Folder of the last checkpoint that was reported."""
    checkpoint = ray.train.get_checkpoint()
    return None if checkpoint is None else str(checkpoint.path)
