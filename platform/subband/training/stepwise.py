"""A training that waits after every epoch for the word to go on: in this process, or in a Ray Train group of its own.

Whoever drives it may stop it for good between two epochs, or let it begin from another training's checkpoint. A group waits too: so
it ends in order when a scheduler stops its trial, and gives back what it held, instead of being killed in the middle of an epoch.
"""

from __future__ import annotations

import queue
import shutil
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import ray
import torch
from torch import Tensor

from subband.compute.messages import Gate, Message
from subband.data import Dataset
from subband.errors import ClusterError, SubbandError
from subband.methods import TrainedMethod, TrainingParams, TrainingSet
from subband.training.batches import WorkerContext
from subband.training.checkpoint import read_best, restore_checkpoint, write_checkpoint
from subband.training.loop import Training

_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Job:
    """What is trained, and on what.

    Attributes:
        method: what is trained.
        params: its params.
        dataset: opened.
        examples: of the training.
        workers: 1 trains in this process, more in a group.
        threads: torch threads of each.
        gpu: whether each has one.
        folder: for what a group leaves while it runs; every machine sees it.
    """

    method: TrainedMethod
    params: TrainingParams
    dataset: Dataset
    examples: TrainingSet
    workers: int
    threads: int
    gpu: bool
    folder: Path

    @property
    def loaders(self) -> int:
        """Processes that prepare the examples of each worker."""
        return 4 if self.gpu else 0


class Epochs(Protocol):
    """One training, epoch by epoch.

    Life cycle: `advance` until its message says ``stop``, or the epoch is the last; then `results`. `save` may be called between
    two epochs. `end` whenever it is over: it frees what the training holds, and may be called again.
    """

    def advance(self) -> Message:
        """Train one more epoch: ``epoch`` (its number, from 1), ``metrics``, ``best``, ``stop`` and ``diverged``.

        Raises:
            SubbandError: it failed.
        """
        ...

    def results(self) -> tuple[Mapping[str, Mapping[str, float]], Mapping[str, Tensor]]:
        """By test set, the metrics of the best weights; and these weights, on the CPU."""
        ...

    def save(self, folder: Path) -> None:
        """Write a checkpoint into an existing folder."""
        ...

    def end(self) -> None:
        """Stop training."""
        ...


def start(job: Job, checkpoint: Path | None = None) -> Epochs:
    """A training that has not begun its next epoch yet.

    Args:
        job: the training.
        checkpoint: to go on from; it is read, or copied, before this returns.

    Raises:
        SubbandError: the params or the checkpoint cannot be used.
    """
    return GroupEpochs(job, checkpoint) if job.workers > 1 else LocalEpochs(job, checkpoint)


class LocalEpochs:
    """A training in this process."""

    def __init__(self, job: Job, checkpoint: Path | None) -> None:
        torch.set_num_threads(job.threads)
        place = WorkerContext(device=torch.device("cuda" if job.gpu else "cpu"), loaders=job.loaders)
        self._training = Training(job.method, job.params, job.examples, place)
        if checkpoint is not None:
            restore_checkpoint(self._training, checkpoint)
        self._epochs = self._training.run()

    def advance(self) -> Message:
        """See `Epochs`."""
        epoch = next(self._epochs)
        return {
            "epoch": epoch.number,
            "metrics": dict(epoch.metrics),
            "best": epoch.best,
            "stop": epoch.stop,
            "diverged": epoch.diverged,
        }

    def results(self) -> tuple[Mapping[str, Mapping[str, float]], Mapping[str, Tensor]]:
        """See `Epochs`."""
        training = self._training
        training.use_best()
        tests = {name: training.evaluate(examples) for name, examples in training.data.tests.items()}
        return tests, training.best_weights

    def save(self, folder: Path) -> None:
        """See `Epochs`."""
        write_checkpoint(self._training, folder)

    def end(self) -> None:
        """See `Epochs`."""
        self._epochs.close()  # type: ignore[attr-defined]  # a generator


class GroupEpochs:
    """A training in a Ray Train group that this one starts, from a thread, when the first epoch is asked for."""

    def __init__(self, job: Job, checkpoint: Path | None) -> None:
        self._job = job
        self._name = f"group-{uuid.uuid4().hex[:12]}"  # a name used before would go on with that run
        self._start: Path | None = None
        if checkpoint is not None:
            self._start = job.folder / f"{self._name}-start"
            shutil.copytree(checkpoint, self._start)
        self._heard: queue.Queue[Message | BaseException | None] = queue.Queue()
        self._gate: Any = None
        self._thread: threading.Thread | None = None
        self._last: Message = {}
        self._result: Any = None

    def advance(self) -> Message:
        """See `Epochs`."""
        if self._thread is None:
            self._gate = ray.remote(Gate).options(num_cpus=0, max_concurrency=1000).remote()
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        else:
            self._gate.open.remote(self._last["epoch"])
        while "epoch" not in (message := self._next()):
            pass
        self._last = message
        return message

    def results(self) -> tuple[Mapping[str, Mapping[str, float]], Mapping[str, Tensor]]:
        """See `Epochs`."""
        while self._result is None:
            self._next()
        with self._result.checkpoint.as_directory() as folder:
            return self._result.return_value["tests"], read_best(Path(folder))

    def save(self, folder: Path) -> None:
        """See `Epochs`."""
        shutil.copytree(self._last["checkpoint"], folder, dirs_exist_ok=True)

    def end(self) -> None:
        """See `Epochs`."""
        if self._thread is not None:
            self._gate.close.remote()
            self._thread.join(_PATIENCE_SECONDS)
            ray.kill(self._gate)
            self._thread = None
        for folder in (self._job.folder / self._name, self._start):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def _next(self) -> Message:
        heard = self._heard.get()
        if isinstance(heard, SubbandError):
            raise heard
        if heard is None or isinstance(heard, BaseException):
            raise ClusterError(f"the training's group ended unexpectedly: {heard}")
        return heard

    def _run(self) -> None:
        from subband.compute.group import run_on_workers

        job = self._job
        try:
            self._result = run_on_workers(
                _train_gated,
                {
                    "method": job.method.name,
                    "params": job.params.model_dump(mode="json"),
                    "data": job.dataset.uri,
                    "loaders": job.loaders,
                    "start": str(self._start) if self._start else None,
                    "gate": self._gate,
                },
                name=self._name,
                workers=job.workers,
                storage=job.folder,
                use_gpu=job.gpu,
                cpus_per_worker=job.threads,
                keep=ray.train.CheckpointConfig(num_to_keep=1),
                on_message=self._heard.put,
            )
            self._heard.put({"done": True})
        except BaseException as error:
            self._heard.put(error)


def _train_gated(config: dict[str, Any]) -> dict[str, Any]:
    """What runs on every worker of a group."""
    from subband.training.worker import train_worker

    gate = config["gate"]
    return train_worker(config, lambda training: ray.get(gate.passed.remote(training.epoch)))
