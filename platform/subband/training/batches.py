"""Which examples a worker sees when: a seeded order that does not depend on how many workers share it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from subband.errors import ParamsError
from subband.methods.trained_base import ExampleKey, Examples
from subband.methods.training_params import TrainingParams

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class WorkerContext:
    """Rank, world size, device and loader processes of one training worker.

    Attributes:
        rank: of this worker, from 0.
        world: number of workers.
        device: on which it computes.
        loaders: processes that prepare its examples; 0 prepares them in the training's own.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = _CPU
    loaders: int = 0


def check_division(count: int, params: TrainingParams, world: int) -> None:
    """Refuse a division of batches that would change what is learnt.

    Args:
        count: training examples.
        params: with `batch`, `accumulation` and `mixes_pairs`.
        world: workers.

    Raises:
        ParamsError: fewer examples than a batch, a batch that cannot be divided equally, or odd parts where pairs are mixed.
    """
    batch, accumulation = params.batch, params.accumulation
    if count < batch:
        raise ParamsError(
            f"{count} training examples do not fill one batch of {batch}: give a smaller --batch, or more examples"
        )
    if batch % (world * accumulation):
        legal = max(world * accumulation, batch - batch % (world * accumulation))
        raise ParamsError(
            f"a batch of {batch} cannot be divided equally among {world} workers x {accumulation} micro-batches: "
            f"give a batch of {legal}, fewer workers, or another --accumulation"
        )
    share = batch // (world * accumulation)
    if params.mixes_pairs and share % 2:
        raise ParamsError(
            f"examples are mixed in pairs, but {share} of a batch of {batch} are a worker's micro-batch: give a batch of "
            f"{(share + 1) * world * accumulation}, or mix none (mixup=0, cutmix=0)"
        )


def micro_batches(
    count: int, batch: int, accumulation: int, seed: int, epoch: int, rank: int = 0, world: int = 1
) -> list[list[ExampleKey]]:
    """The micro-batches that one worker computes in an epoch, in order; the last partial batch is dropped.

    Examples are permuted by seed and epoch; each batch is cut into `accumulation` micro-batches and each of these among the
    workers, so that the union over the workers is the same for any number of them.
    """
    order = np.random.default_rng([zlib.crc32(b"order"), seed, epoch]).permutation(count)
    updates = count // batch
    cut = order[: updates * batch].reshape(updates * accumulation, world, -1)
    return [[ExampleKey(int(index), epoch) for index in part[rank]] for part in cut]


def collate(examples: Sequence[Mapping[str, Tensor]]) -> dict[str, Any]:
    """Tensors of B examples by name: stacked (B, ...) where their shapes are equal, else a list of B."""
    batch: dict[str, Any] = {}
    for name in examples[0]:
        values = [example[name] for example in examples]
        batch[name] = torch.stack(values) if all(value.shape == values[0].shape for value in values) else values
    return batch


def loader(examples: Examples, batches: Sequence[Sequence[ExampleKey]], place: WorkerContext) -> DataLoader[Any]:
    """The batches of examples, in order, prepared by the place's processes."""
    return DataLoader(
        examples,  # type: ignore[arg-type]  # map-style by ExampleKey instead of by int
        batch_sampler=batches,  # type: ignore[arg-type]  # a list of batches is one
        collate_fn=collate,
        num_workers=place.loaders,
        pin_memory=place.device.type == "cuda",
    )


def to_device(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """The batch with its stacked tensors on the device; lists stay where they are."""
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }
