"""The training loop of every trained method: the same for one process and for many workers, under Ray Train, Ray Tune and alone.

`Training.run` yields after every epoch; whoever drives it saves, reports and decides. It knows torch and, where a process group is
initialised, `torch.distributed`; it does not know Ray.

Everything drawn at random in an epoch is a function of the training's seed, the epoch and, for what happens inside the network,
the worker's rank. So a checkpoint needs no state of random generators, and a training that was killed after an epoch and goes on
from its checkpoint ends with the same weights as one that was not.
"""

from __future__ import annotations

import contextlib
import math
import random
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from subband.errors import ParamsError
from subband.methods.trained_base import ExampleKey, Examples, Scheduling, Step, TrainedMethod, TrainingSet
from subband.methods.training_params import TrainingParams
from subband.nn.sync_batch_norm import synchronised
from subband.training.batches import WorkerContext, check_division, loader, micro_batches, to_device

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_CHECK_EVERY_ON_GPU = 50


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave.

    Attributes:
        number: of epochs done, from 1.
        metrics: ``loss`` (mean over the epoch), ``learning_rate`` (of its last update), ``gradient_norm`` (mean), ``seconds`` and
            ``examples_per_second`` of training, and what the validation gave.
        best: whether its weights are the best so far by the method's `chosen_by`.
        stop: why the training ends here though epochs are left; None if it goes on or is done.
        diverged: whether the loss was no number; such an epoch is not to be saved.
    """

    number: int
    metrics: Mapping[str, float]
    best: bool = False
    stop: str | None = None
    diverged: bool = False


class Training:
    """One training on one worker: model, optimiser, moving average, and how far it has come.

    Args:
        method: what is trained.
        params: its params.
        data: its examples.
        place: this worker.

    Attributes:
        model: the network as it is now.
        average: the network of the moving average of the weights; None where `params.ema` is 0.
        best_weights: state of the network that was best so far, on the CPU; empty before the first validation.
        history: metrics of every epoch done.

    Raises:
        ParamsError: a batch that cannot be divided among the workers, or a precision or option that the device or network lacks.
    """

    def __init__(
        self, method: TrainedMethod, params: TrainingParams, data: TrainingSet, place: WorkerContext | None = None
    ) -> None:
        self.method, self.params, self.data, self.place = method, params, data, place or WorkerContext()
        check_division(len(data.train), params, self.place.world)
        self.model = method.model(params).to(self.place.device)
        if params.gradient_checkpointing:
            checkpoint: Any = getattr(self.model, "set_grad_checkpointing", None)
            if checkpoint is None:
                raise ParamsError(f"{method.name} has no gradient checkpointing; leave gradient_checkpointing out")
            checkpoint(True)
        if self.place.world > 1:
            self.model = synchronised(self.model)
        self._optimizer = method.optimizer(params, self.model)
        self._scaler = torch.amp.GradScaler(self.place.device.type, enabled=params.precision == "float16")
        self.average = ModelEmaV3(self.model, decay=params.ema) if params.ema else None
        self.history: list[dict[str, float]] = []
        self.best_weights: dict[str, Tensor] = {}
        self._best = -math.inf
        self._since_best = 0
        self._wrapped = self._wrap()

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    def run(self) -> Iterator[Epoch]:
        """Train the epochs that are left, and yield after each.

        The generator ends after the last epoch, after one that says `stop`, or when the caller leaves it; a training whose patience
        was at its end when it was saved yields nothing more. After a diverged epoch the weights are spoilt: what was saved last
        is good.
        """
        while self.epoch < self.params.epochs and not self._waited():
            started = time.perf_counter()
            metrics, problem = self._train_epoch(self.epoch)
            if problem is not None:
                yield Epoch(self.epoch + 1, metrics, stop=problem, diverged=True)
                return
            metrics["seconds"] = time.perf_counter() - started
            trained = len(self.data.train) // self.params.batch * self.params.batch
            metrics["examples_per_second"] = trained / metrics["seconds"]
            best = False
            number = self.epoch + 1
            if number >= self.params.validate_from or number == self.params.epochs:
                metrics |= self.evaluate(self.data.validation)
                best = self._note(metrics[self.method.chosen_by])
            self.history.append(metrics)
            waited = self._waited() and number < self.params.epochs
            stop = f"{self.method.chosen_by} was not better for {self.params.patience} evaluations" if waited else None
            yield Epoch(number, metrics, best, stop)

    def evaluate(self, examples: Examples) -> dict[str, float]:
        """Metrics of the evaluated network (the moving average, if there is one) on examples, shared out among the workers.

        Each example is evaluated once: none is repeated to fill a worker's share.
        """
        network = self.average.module if self.average is not None else self.model
        was_training = network.training
        network.eval()
        rank, world, device = self.place.rank, self.place.world, self.place.device
        size = max(1, self.params.batch // (world * self.params.accumulation))
        mine = [ExampleKey(index) for index in range(rank, len(examples), world)]
        batches = [mine[first : first + size] for first in range(0, len(mine), size)]
        results: list[Any] = []
        with torch.inference_mode(), self._autocast():
            for batch in loader(examples, batches, self.place):
                results += self.method.evaluate(self.params, network, to_device(batch, device))
        network.train(was_training)
        if world > 1:
            shares: list[Any] = [None] * world
            dist.all_gather_object(shares, results)
            results = [shares[index % world][index // world] for index in range(len(examples))]
        return self.method.summarise(self.params, results)

    def validate(self) -> bool:
        """Evaluate the last epoch, where it was not; returns whether its weights are the best so far."""
        metrics = self.evaluate(self.data.validation)
        self.history[-1] = {**self.history[-1], **metrics}
        return self._note(metrics[self.method.chosen_by])

    def state(self) -> dict[str, Any]:
        """All that a training needs to go on: tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": None if self.average is None else self.average.module.state_dict(),
            "history": self.history,
            "best": self._best,
            "since_best": self._since_best,
        }

    def restore(self, state: Mapping[str, Any], best_weights: Mapping[str, Tensor]) -> None:
        """Go on from a `state`; the optimiser keeps what it learnt, the rate is that of these params."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:  # empty if the training was not in float16 so far
            self._scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.module.load_state_dict(state["average"] or state["model"])
        self.history = list(state["history"])
        self._best, self._since_best = state["best"], state["since_best"]
        self.best_weights = dict(best_weights)

    def use_best(self) -> nn.Module:
        """The network with the weights that were best, which `evaluate` then looks at; as it is now where nothing was validated."""
        if self.best_weights:
            self.model.load_state_dict(self.best_weights)
            self.average = None
        return self.model

    def _waited(self) -> bool:
        """Whether the patience is at its end."""
        return bool(self.params.patience) and self._since_best >= self.params.patience

    def _note(self, score: float) -> bool:
        if not score > self._best:
            self._since_best += 1
            return False
        self._best, self._since_best = score, 0
        network = self.average.module if self.average is not None else self.model
        self.best_weights = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
        return True

    def _train_epoch(self, epoch: int) -> tuple[dict[str, float], str | None]:
        params, place = self.params, self.place
        self._seed(epoch)
        self.model.train()
        batches = micro_batches(
            len(self.data.train), params.batch, params.accumulation, params.seed, epoch, place.rank, place.world
        )
        updates = len(batches) // params.accumulation
        check_every = _CHECK_EVERY_ON_GPU if place.device.type == "cuda" else 1
        loss_sum = torch.zeros((), dtype=torch.float64, device=place.device)
        norm_sum = torch.zeros((), dtype=torch.float64, device=place.device)
        half, taken = params.precision == "float16", 0
        prepared = iter(loader(self.data.train, batches, place))
        for update in range(updates):
            scheduled = self._scheduled(epoch, update, updates)
            rate = scheduled["lr"]
            for group in self._optimizer.param_groups:
                group.update({**scheduled, "lr": rate * group.get("lr_scale", 1.0)})
            self._optimizer.zero_grad(set_to_none=True)
            for micro in range(params.accumulation):
                batch = to_device(next(prepared), place.device)
                with self._unsynchronised(micro + 1 < params.accumulation):
                    with self._autocast():
                        loss = self.method.loss(params, self._wrapped, batch, Step(epoch, update, params.seed))
                    loss = loss / params.accumulation
                    self._scaler.scale(loss).backward()
                loss_sum += loss.detach()
            self._scaler.unscale_(self._optimizer)
            norm = clip_grad_norm_(self.model.parameters(), params.clip or math.inf)
            # A step that overflowed in half precision is skipped by the scaler, which is no divergence while others are taken.
            skipped = half and not bool(torch.isfinite(norm))
            taken += not skipped
            if not skipped:
                norm_sum += norm
            if (update + 1) % check_every == 0 or update + 1 == updates:
                total, norms = self._mean_over_workers(loss_sum), float(norm_sum)
                if not (math.isfinite(total) and math.isfinite(norms)):
                    what = "the loss" if not math.isfinite(total) else "the gradient"
                    return {"loss": math.nan, "learning_rate": rate}, (
                        f"{what} was no finite number in epoch {epoch + 1} at update {update + 1} of {updates}; "
                        f"a lower lr ({params.lr:g} now) or gradient clipping (clip) may help"
                    )
            self._scaler.step(self._optimizer)
            self._scaler.update()
            if self.average is not None and not skipped:
                self.average.update(self.model)
        if not taken:
            return {"loss": math.nan, "learning_rate": rate}, (
                f"no update of epoch {epoch + 1} was taken: the gradients of all {updates} were no finite numbers in float16; "
                "bfloat16 or float32 (precision), or a lower lr, may help"
            )
        return {"loss": total / updates, "learning_rate": rate, "gradient_norm": norms / taken}, None

    def _scheduled(self, epoch: int, update: int, updates: int) -> dict[str, Any]:
        """Entries of the optimiser's groups for an update of an epoch of so many; functions of it alone, so none is saved."""
        params = self.params
        values: dict[str, Any] = {"lr": self.method.rate(params, epoch + update / updates)}
        if isinstance(self.method, Scheduling):
            values |= self.method.scheduled(params, epoch * updates + update, params.epochs * updates)
        return values

    def _mean_over_workers(self, value: Tensor) -> float:
        if self.place.world > 1:
            value = value.clone()
            dist.all_reduce(value)
            value /= self.place.world
        return float(value)

    def _wrap(self) -> nn.Module:
        network = self.model
        if self.place.world > 1:
            devices = [self.place.device] if self.place.device.type == "cuda" else None
            # Buffers are equal by themselves: batch statistics are those of all workers.
            network = DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)
        if self.params.compile:
            network = torch.compile(network)  # type: ignore[assignment]
        return network

    def _unsynchronised(self, more: bool) -> contextlib.AbstractContextManager[Any]:
        """Gradients are brought together once an update, with its last micro-batch."""
        ddp = getattr(self._wrapped, "_orig_mod", self._wrapped)
        return ddp.no_sync() if more and isinstance(ddp, DistributedDataParallel) else contextlib.nullcontext()

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        dtype = _DTYPES[self.params.precision]
        return torch.autocast(self.place.device.type, dtype, enabled=dtype != torch.float32)

    def _seed(self, epoch: int) -> None:
        """Seed what happens inside the network (dropout, drop path): by epoch, and by worker, whose examples differ."""
        entropy = [zlib.crc32(b"network"), self.params.seed, epoch, self.place.rank]
        words = np.random.SeedSequence(entropy).generate_state(2)
        torch.manual_seed(int(words[0]))
        np.random.seed(int(words[1]))
        random.seed(int(words[1]))
