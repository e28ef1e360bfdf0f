"""Checks of trained methods: learning, resuming, workers, saved models and bad input."""

from __future__ import annotations

import math
import multiprocessing
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from subband.champions.parity import difference
from subband.champions.trained import answers, finished, save_finished
from subband.data import Dataset
from subband.errors import ParamsError
from subband.methods import Deployable, TrainedMethod, TrainingParams, load, make_params, settled_params
from subband.testing.subject import TOLERANCE, require
from subband.training.batches import WorkerContext
from subband.training.checkpoint import restore_checkpoint, write_checkpoint
from subband.training.loop import Training

_WORKER_LIMIT = 240.0


@dataclass(frozen=True)
class TrainedSubject:
    """One trained method, small params and small data.

    Attributes:
        method: under contract.
        values: as a user would write them.
        dataset: opened.
    """

    method: TrainedMethod
    values: dict[str, Any]
    dataset: Dataset

    def params(self, **changes: Any) -> TrainingParams:
        """The validated params, completed from the data."""
        made = make_params(self.method, {**self.values, **changes})
        return settled_params(self.method, made, self.dataset)  # type: ignore[no-any-return]

    def training(self, place: WorkerContext | None = None, **changes: Any) -> Training:
        """A training that has not begun."""
        params = self.params(**changes)
        return Training(self.method, params, self.method.examples(params, self.dataset), place)

    def trained(self) -> Training:
        """A training that is done."""
        run = self.training()
        list(run.run())
        return run

    def model(self, run: Training) -> Deployable:
        """The deployable model of a training that is done."""
        network = run.use_best()
        return finished(self.method, run.params, network, run.history, run.data, {"contract": True}, self.dataset)


def weights_of(run: Training) -> dict[str, Tensor]:
    """A copy of the network's tensors."""
    return {name: value.detach().clone() for name, value in run.model.state_dict().items()}


def require_same_weights(got: Mapping[str, Tensor], wanted: Mapping[str, Tensor], what: str) -> None:
    """Fail unless both hold the same bits.

    Raises:
        AssertionError: they do not; the message names the first tensor.
    """
    require(got.keys() == wanted.keys(), f"{what}: other tensors")
    other = [name for name in wanted if not torch.equal(got[name], wanted[name])]
    require(not other, f"{what}: {len(other)} of {len(wanted)} tensors differ, {other[:1]} first")


def check_learning(subject: TrainedSubject) -> None:
    """Losses are finite, the metric that chooses is given, weights change, and what is trained is evaluated twice alike."""
    run = subject.training()
    require(run.params.epochs >= 2, "the contract needs params with 2 epochs or more")
    before = {name: value.detach().clone() for name, value in run.model.named_parameters()}
    epochs = list(run.run())
    require([epoch.number for epoch in epochs] == list(range(1, run.params.epochs + 1)), "epochs are missing")
    for epoch in epochs:
        loss = epoch.metrics["loss"]
        require(math.isfinite(loss), f"the loss of epoch {epoch.number} is {loss}")
    require(subject.method.chosen_by in run.history[-1], f"no epoch gives {subject.method.chosen_by}, which chooses")
    changed = any(not torch.equal(value, before[name]) for name, value in run.model.named_parameters())
    require(changed, "no weight has changed")
    found, again = (run.evaluate(run.data.validation) for _ in range(2))
    require(found == again, f"a second evaluation gives {again}, not {found}")


def check_same_seed(subject: TrainedSubject) -> None:
    """Two trainings give the same weights, whatever the random generators did before; another seed gives others."""
    ends = []
    for noise in (1, 99):
        torch.manual_seed(noise)
        np.random.seed(noise)
        ends.append(weights_of(subject.trained()))
    require_same_weights(ends[1], ends[0], "weights of a second training")
    other = subject.training(seed=subject.params().seed + 1)
    list(other.run())
    differs = any(not torch.equal(value, ends[0][name]) for name, value in weights_of(other).items())
    require(differs, "another seed gives the same weights")


def check_resuming(subject: TrainedSubject, folder: Path) -> None:
    """A training that is cut off after its first epoch and goes on from the checkpoint ends as one that was not."""
    whole = subject.trained()
    first = subject.training()
    next(first.run())
    folder.mkdir(exist_ok=True)
    write_checkpoint(first, folder)
    torch.manual_seed(12345)
    second = subject.training()
    restore_checkpoint(second, folder)
    require(second.epoch == 1, f"the checkpoint is of epoch {second.epoch}, not 1")
    list(second.run())
    require_same_weights(weights_of(second), weights_of(whole), "weights of the resumed training")
    require_same_weights(second.best_weights, whole.best_weights, "best weights of the resumed training")
    losses = [[row["loss"] for row in run.history] for run in (second, whole)]
    require(losses[0] == losses[1], f"losses of the resumed training: {losses[0]}, not {losses[1]}")


def check_save_and_load(subject: TrainedSubject, folder: Path) -> None:
    """Loaded afresh and from another place, a model gives the same answers; a file that can run code is not written."""
    run = subject.trained()
    model = subject.model(run)
    parity, expected = save_finished(model, run.data.validation, folder / "saved")
    require(parity <= TOLERANCE, f"the saved model differs by {parity:.2e}")
    suffixes = {path.suffix for path in (folder / "saved").iterdir()}
    require(suffixes <= {".safetensors", ".json"}, f"a saved model is safetensors and JSON, not {sorted(suffixes)}")
    moved = folder / "elsewhere" / "renamed"
    moved.parent.mkdir()
    shutil.move(str(folder / "saved"), str(moved))
    loaded = load(moved)
    require(not loaded.training, "a loaded model is not in eval mode")
    require((loaded.method, loaded.task) == (model.method, model.task), "method or task changed by saving and loading")
    require(loaded.params == model.params, f"the params changed: {loaded.params}")
    require(loaded.about == model.about, f"what was told about the model changed: {loaded.about}")
    found = difference(answers(loaded, run.data.validation), expected)
    require(found <= TOLERANCE, f"answers after loading: differs by {found:.2e} of the greatest value")


def check_two_workers(subject: TrainedSubject, folder: Path, tolerance: float) -> None:
    """Two processes that share every batch end with equal weights, and their first update has the loss of one worker's.

    All examples are one batch, so that the first epoch is one update of the starting weights: later ones amplify rounding.
    """
    count = len(subject.training().data.train) // 4 * 4
    whole: dict[str, Any] = {"batch": count, "epochs": 2, "validate_from": 2, "accumulation": 1}
    alone = subject.training(**whole)
    list(alone.run())
    context = multiprocessing.get_context("spawn")
    folder.mkdir(exist_ok=True)
    workers = [context.Process(target=_worker, args=(subject, rank, folder, whole), daemon=True) for rank in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(_WORKER_LIMIT)
        worker.kill()
    statuses = [worker.exitcode for worker in workers]
    require(statuses == [0, 0], f"the workers ended with {statuses}")
    first, second = (torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    require_same_weights(second["weights"], first["weights"], "weights of the second of two workers")
    one, two = alone.history[0]["loss"], first["history"][0]["loss"]
    gap = abs(two - one) / max(abs(one), 1e-12)
    require(gap <= tolerance, f"the loss of the first update on two workers is {two:.6g}, not {one:.6g}")


def _worker(subject: TrainedSubject, rank: int, folder: Path, values: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    run = subject.training(WorkerContext(rank, 2), **values)
    list(run.run())
    torch.save({"history": run.history, "weights": weights_of(run)}, folder / f"{rank}.pt")
    dist.destroy_process_group()


def check_bad_params(subject: TrainedSubject, bad: Mapping[str, Any]) -> None:
    """Illegal values are a ParamsError that names the field; a misspelt one gets near matches."""
    field = next(iter(subject.method.params_type.model_fields))
    for name, value in {**bad, f"{field}x": 1}.items():
        try:
            subject.params(**{name: value})
        except ParamsError as error:
            require(name in str(error), f"the message should name {name}: {error}")
        else:
            raise AssertionError(f"{name}={value!r}: expected ParamsError")
