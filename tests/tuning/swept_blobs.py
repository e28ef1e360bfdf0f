"""The small trained method of the training tests as a sweep needs it: images, a saved model, and trials that behave on demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from subband.data import Preprocess
from subband.errors import DataError
from subband.methods import Calibration, Detector, ExampleKey, TrainingSet
from subband.metrics import auroc
from subband.spaces import Point, Space, grid
from tests.training.blobs import BlobMethod, BlobNet, BlobParams, Blobs

CALIBRATION = Calibration(good_scores=(), threshold=0.0, rule="a logit above 0")


class SweptParams(BlobParams):
    width: int = Field(8, description="Changes nothing but what is compared.")
    validation: str = Field("holdout", description="Which images choose.")


class Pictures(Blobs):
    """The blobs as grey RGB images in [0, 1]."""

    def __getitem__(self, draw: ExampleKey) -> Mapping[str, Tensor]:
        example = super().__getitem__(draw)
        levels = (255 * (0.5 + example["images"] / 10).clamp(0, 1)).round() / 255
        return {"images": levels.expand(3, -1, -1), "labels": example["labels"]}


def seen(images: Tensor) -> Tensor:
    return 10 * (images[:, :1] - 0.5)


class SeenNet(BlobNet):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(seen(images))


class BlobDetector(Detector):
    frozen = ()

    def __init__(self, params: SweptParams, network: nn.Module, about: Mapping[str, Any]) -> None:
        super().__init__("swept-blobs", params, Preprocess(framing="stretch", image_size=12), CALIBRATION, about)
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.network(images)
        return scores[:, None, None].expand(-1, 12, 12).contiguous(), scores


class SweptBlobs(BlobMethod):
    name = "swept-blobs"
    params_type = SweptParams
    chosen_by = "image_auroc"
    embedded = "synthetic:?train=2&test=4&size=32&categories=weave"
    embedded_smoke = embedded
    recipes: ClassVar = {"long": {"epochs": 9}, "smoke": {"epochs": 2}}

    def examples(self, params: SweptParams, dataset: Any) -> TrainingSet:
        if len(dataset.categories) > 1:
            raise DataError("blobs are of one category")
        tests = {"far": Pictures(12, 20_000), "farther": Pictures(8, 30_000)}
        if params.validation == "test":
            return TrainingSet(
                Pictures(params.count, params.seed), tests["far"], tests, ("the test set far chooses",), "test"
            )
        note = "30 held-out images choose"
        return TrainingSet(Pictures(params.count, params.seed), Pictures(30, 10_000), tests, (note,))

    def model(self, params: SweptParams) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(params.seed)
            return SeenNet(params.dropout)

    def evaluate(self, params: SweptParams, model: nn.Module, batch: Mapping[str, Any]) -> Sequence[Any]:
        return list(zip(batch["labels"].tolist(), model(batch["images"]).tolist(), strict=True))

    def summarise(self, params: SweptParams, results: Sequence[Any]) -> dict[str, float]:
        labels, scores = np.array(results).T
        return {"image_auroc": auroc(labels.astype(int), scores), "accuracy": float(np.mean((scores > 0) == labels))}

    def finish(self, params: SweptParams, model: nn.Module, about: Mapping[str, Any]) -> BlobDetector:
        return BlobDetector(params, model, about)

    def restore(self, params: SweptParams, tensors: Mapping[str, Tensor], description: Any) -> BlobDetector:
        detector = BlobDetector(params, SeenNet(params.dropout), description["about"])
        detector.load_state_dict(dict(tensors))
        return detector


SWEPT_BLOBS = SweptBlobs()


def suggest(trial: Any) -> Point:
    return {"lr": trial.suggest_float("lr", 1e-7, 1e-1, log=True), "width": trial.suggest_int("width", 1, 4)}


SPACE = Space(
    method="swept-blobs",
    suggest=suggest,
    presets={"rates": grid("2 points", lr=(1e-3, 1e-2))},
    about="lr and width",
    smoke={"epochs": 2},
)
