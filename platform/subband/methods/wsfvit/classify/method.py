"""WSF-ViT as the platform knows it: a classifier that is trained."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from timm.data import Mixup
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Optimizer

from subband.data import Dataset, class_data
from subband.data.classification.examples import ClassExamples, check_pictures, class_split, seeded
from subband.errors import ParamsError
from subband.methods.trained_base import Batch, Step, TrainingSet
from subband.methods.wsfvit.classify.classifier import (
    NAME,
    Classifier,
    adopt_checkpoint,
    make_classifier,
    make_network,
    restore_classifier,
)
from subband.methods.wsfvit.classify.params import WSFViTParams
from subband.methods.wsfvit.classify.recipes import RECIPES
from subband.methods.wsfvit.network import WSFViT
from subband.metrics.classification import PictureRank, rank_of, summarise_ranks

SWITCH = 0.5  # share of the mixed batches that CutMix takes, as published


class WSFViTMethod:
    """WSF-ViT as a classifier; see `TrainedMethod` for the life cycle.

    Attributes:
        recipes: presets by name; see the module of that name.
    """

    name = NAME
    params_type = WSFViTParams
    chosen_by = "top1"
    embedded = "synthetic-shapes:"
    embedded_smoke = "synthetic-shapes:?classes=3&train=24&validation=6&test=6&size=32"
    recipes = RECIPES

    def settled(self, params: WSFViTParams, dataset: Dataset) -> WSFViTParams:
        """The params with the number of classes of the data.

        Raises:
            DataError: the dataset has no class labels.
            ParamsError: the params say another number.
            ModelError: the weights' file is of another variant or has other classes; told here, before workers start.
        """
        classes = class_data(dataset).classes
        if params.num_classes not in (0, len(classes)):
            raise ParamsError(
                f"{NAME}.num_classes: {dataset.uri} has {len(classes)} classes, the params say {params.num_classes}; leave it out"
            )
        found = params.model_copy(update={"num_classes": len(classes)})
        if not found.weights.startswith("random:"):
            make_network(found)
        return found

    def examples(self, params: WSFViTParams, dataset: Dataset) -> TrainingSet:
        """Images with labels, through timm's transforms.

        Raises:
            DataError: the dataset has no class labels, no training images, or none to choose by.
        """
        data = class_data(dataset)
        split = class_split(data, params.validation, params.validation_share, params.seed)
        framing = params.framing
        return TrainingSet(
            ClassExamples(split.train, framing, params.augmenting, params.seed),
            ClassExamples(split.validation, framing),
            {name: ClassExamples(pictures, framing) for name, pictures in split.tests.items()},
            (split.note,),
            params.validation,
            {"classes": list(data.classes)},
        )

    def check(self, data: TrainingSet, progress: Callable[[int, int], None]) -> None:
        """Headers of all images.

        Raises:
            DataError: one is no image; the message names it.
        """
        parts: Sequence[Any] = (data.train, data.validation, *data.tests.values())
        check_pictures([part.pictures for part in parts], progress)

    def model(self, params: WSFViTParams) -> WSFViT:
        """The network with its starting weights."""
        return make_network(params)

    def optimizer(self, params: WSFViTParams, model: nn.Module) -> Optimizer:
        """AdamW; biases, norms and position bias tables do not decay."""
        spared = cast("WSFViT", model).no_weight_decay()
        return AdamW(param_groups_weight_decay(model, params.weight_decay, no_weight_decay_list=spared), lr=params.lr)

    def rate(self, params: WSFViTParams, at: float) -> float:
        """Cosine that is counted from the first epoch, of which the warm-up replaces the beginning; one step an epoch."""
        epoch = math.floor(at)
        if epoch < params.warmup_epochs:
            start = min(params.warmup_lr, params.lr)
            return start + epoch * (params.lr - start) / params.warmup_epochs
        cosine = (1 + math.cos(math.pi * epoch / params.epochs)) / 2
        return params.min_lr + (params.lr - params.min_lr) * cosine

    def loss(self, params: WSFViTParams, model: nn.Module, batch: Batch, step: Step) -> Tensor:
        """Cross-entropy with smoothed labels, of mixed images and labels if the params say so.

        What is mixed is a function of seed, epoch and update, the same on every worker and for every micro-batch; images are
        mixed with those of the same micro-batch, so that another number of workers mixes other pairs.
        """
        images, labels = batch["images"], batch["labels"]
        if not params.mixes_pairs:
            return _of_labels(params.smoothing)(model(images), labels)
        mix = _mixup(params.mixup, params.cutmix, params.smoothing, params.num_classes)
        with seeded(zlib.crc32(b"mix"), step.seed, step.epoch, step.update):
            mixed, targets = mix(images.clone(), labels)  # it mixes in place
        loss: Tensor = SoftTargetCrossEntropy()(model(mixed), targets)
        return loss

    def evaluate(self, params: WSFViTParams, model: nn.Module, batch: Batch) -> Sequence[PictureRank]:
        """Rank of each image's class among its logits, and its cross-entropy."""
        return rank_of(model(batch["images"]).float().cpu(), batch["labels"].cpu())

    def summarise(self, params: WSFViTParams, results: Sequence[PictureRank]) -> dict[str, float]:
        """Top-1, top-5 where there are more than five classes, and cross-entropy."""
        return summarise_ranks(results, params.num_classes)

    def finish(self, params: WSFViTParams, model: nn.Module, about: Mapping[str, Any]) -> Classifier:
        """The classifier of trained weights."""
        return make_classifier(params, cast("WSFViT", model), about)

    def restore(
        self, params: WSFViTParams, tensors: Mapping[str, Tensor], description: Mapping[str, Any]
    ) -> Classifier:
        """The classifier that was saved with these tensors."""
        return restore_classifier(params, tensors, description)

    def adopt(self, path: Path, values: Mapping[str, Any]) -> Classifier:
        """The classifier of a published checkpoint."""
        return adopt_checkpoint(path, **{name: value for name, value in values.items() if name != "weights"})


@lru_cache(maxsize=4)
def _mixup(mixup: float, cutmix: float, smoothing: float, classes: int) -> Mixup:
    return Mixup(
        mixup_alpha=mixup,
        cutmix_alpha=cutmix,
        switch_prob=SWITCH,
        mode="batch",
        label_smoothing=smoothing,
        num_classes=classes,
    )


def _of_labels(smoothing: float) -> Callable[[Tensor, Tensor], Tensor]:
    return LabelSmoothingCrossEntropy(smoothing) if smoothing else functional.cross_entropy


WSFVIT = WSFViTMethod()
