"""A small trained method for tests of the training loop: a convolutional network that finds bright blobs in noise."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from subband.data import Preprocess
from subband.methods import ExampleKey, Step, TrainingParams, TrainingSet
from subband.training.checkpoint import write_checkpoint
from subband.training.loop import Training


class BlobParams(TrainingParams):
    epochs: int = 3
    batch: int = 8
    lr: float = 0.01
    dropout: float = 0.0
    count: int = Field(24, description="Training examples.")
    break_at: int = Field(-1, description="Epoch whose loss is no number; -1 is none.")


class Blobs:
    """Noise (1, 12, 12), and whether a blob was added; the noise is drawn anew every epoch."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, draw: ExampleKey) -> Mapping[str, Tensor]:
        rng = np.random.default_rng([self.seed, draw.epoch, draw.index])
        image = rng.normal(size=(1, 12, 12))
        label = draw.index % 2
        image[:, 3:8, 4:9] += 1.5 * label
        return {"images": torch.tensor(image, dtype=torch.float32), "labels": torch.tensor(float(label))}


class BlobNet(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(8, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.dropout(self.body(images).mean((2, 3))))[:, 0]


class BlobMethod:
    name = "blobs"
    params_type = BlobParams
    chosen_by = "accuracy"

    def preprocess(self, params: Any) -> Preprocess:
        return Preprocess()

    def examples(self, params: BlobParams, dataset: Any) -> TrainingSet:
        return TrainingSet(Blobs(params.count, params.seed), Blobs(15, 10_000), {"far": Blobs(7, 20_000)})

    def model(self, params: BlobParams) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(params.seed)
            return BlobNet(params.dropout)

    def optimizer(self, params: BlobParams, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=params.lr)

    def rate(self, params: BlobParams, at: float) -> float:
        return params.lr * 0.5 * (1 + math.cos(math.pi * at / params.epochs))

    def loss(self, params: BlobParams, model: nn.Module, batch: Mapping[str, Any], step: Step) -> Tensor:
        loss = nn.functional.binary_cross_entropy_with_logits(model(batch["images"]).float(), batch["labels"])
        return loss * math.nan if step.epoch == params.break_at and step.update == 1 else loss

    def evaluate(self, params: BlobParams, model: nn.Module, batch: Mapping[str, Any]) -> Sequence[Any]:
        right = (model(batch["images"]) > 0) == (batch["labels"] > 0)
        return [(int(label), bool(hit)) for label, hit in zip(batch["labels"], right, strict=True)]

    def summarise(self, params: BlobParams, results: Sequence[Any]) -> dict[str, float]:
        assert [label for label, _ in results] == [index % 2 for index in range(len(results))], "order is kept"
        return {"accuracy": float(np.mean([hit for _, hit in results])), "examples": float(len(results))}

    def finish(self, params: Any, model: nn.Module, about: Mapping[str, Any]) -> Any:
        raise NotImplementedError

    def restore(self, *_: Any) -> Any:
        raise NotImplementedError


def kept(run: Training, folder: Path) -> Path:
    """The run's checkpoint, in the place of an earlier one."""
    place = folder / "kept"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    write_checkpoint(run, place)
    return place
