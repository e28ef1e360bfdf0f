"""WPFormer as the platform knows it."""

from __future__ import annotations

import copy
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from subband.data import Dataset, Preprocess, Sample
from subband.data.segmentation.examples import SegmentationExamples, segmentation_split
from subband.data.segmentation.masks import check_pairs
from subband.errors import DataError, ParamsError, unknown_name
from subband.methods.detector import parse_calibration
from subband.methods.trained_base import Batch, Step, TrainingSet
from subband.methods.wpformer.loss import segmentation_loss
from subband.methods.wpformer.maps import prediction_map
from subband.methods.wpformer.network import WPFormer
from subband.methods.wpformer.params import WPFormerParams
from subband.methods.wpformer.recipes import RECIPES
from subband.methods.wpformer.segmenter import (
    DEFAULT,
    NAME,
    WPFormerSegmenter,
    adopt_checkpoint,
    frame,
    make_network,
    restore_segmenter,
)
from subband.metrics.segmentation import PictureScores, score_picture, summarise_scores

FLOOR = 1e-7  # of the learning rate, as published
CELL = 32  # pixels of the coarsest level


def drawn_side(params: WPFormerParams, step: Step) -> int:
    """Side, in pixels, of the images of one update: drawn from `params.multi_scale`, the same on every worker."""
    if not params.multi_scale:
        return params.image_size
    rng = np.random.default_rng([zlib.crc32(b"side"), step.seed, step.epoch, step.update])
    choice = rng.integers(len(params.multi_scale))
    return max(2, round(params.multi_scale[choice] * params.image_size / CELL)) * CELL


def _choosing(tests: Mapping[str, Sequence[Sample]], name: str, dataset: Dataset) -> str:
    """Name of the test set that chooses the checkpoint."""
    if not tests:
        raise DataError(f"{dataset.uri} has no test images to choose the checkpoint by; use validation=holdout")
    if name and name not in tests:
        raise ParamsError(f"validation_set: {unknown_name('test set of this data', name, tests)}")
    return name or min(tests)


class WPFormerMethod:
    """Query transformer that segments defects; see `TrainedMethod` for the life cycle.

    Attributes:
        recipes: presets by name; see the module of that name.
    """

    name = NAME
    params_type = WPFormerParams
    chosen_by = "weighted_f"
    embedded = "synthetic-surface:"
    embedded_smoke = "synthetic-surface:?train=10&test=4&size=64"
    recipes = RECIPES

    def preprocess(self, params: WPFormerParams) -> Preprocess:
        """How these params frame an image."""
        return frame(params)

    def examples(self, params: WPFormerParams, dataset: Dataset) -> TrainingSet:
        """Images with masks; those that are evaluated come with their mask at full size.

        Raises:
            DataError: the dataset lacks training images or masks, or there is no test set to choose by.
            ParamsError: it has no test set of the name that the params give.
        """
        held_out = params.validation == "holdout"
        share = params.validation_share if held_out else 0.0
        train, validation, tests = segmentation_split(dataset, share, params.seed)
        if held_out:
            note = f"{len(validation)} training images, held out by seed {params.seed}, chose the checkpoint"
        else:
            name = _choosing(tests, params.validation_set, dataset)
            validation = tests[name]
            note = f"the test set {name} chose the checkpoint, as published: its figures are optimistic"

        def measured(samples: Sequence[Sample]) -> SegmentationExamples:
            return SegmentationExamples(samples, params.image_size, seed=params.seed, with_truth=True)

        return TrainingSet(
            SegmentationExamples(train, params.image_size, params.augmentation, params.seed),
            measured(validation),
            {name: measured(samples) for name, samples in tests.items()},
            (note,),
            params.validation,
        )

    def check(self, data: TrainingSet, progress: Callable[[int, int], None]) -> None:
        """Sizes of all images and masks, and the levels of all masks.

        Raises:
            DataError: a pair does not fit, or a mask breaks its rule; the message names the file.
        """
        parts: Sequence[Any] = (data.train, data.validation, *data.tests.values())
        check_pairs(tuple(dict.fromkeys(sample for part in parts for sample in part.samples)), progress=progress)

    def model(self, params: WPFormerParams) -> WPFormer:
        """The network with its starting weights."""
        return make_network(params).train()

    def optimizer(self, params: WPFormerParams, model: nn.Module) -> Optimizer:
        """Adam without weight decay, one rate for all parameters."""
        return Adam(model.parameters(), lr=params.lr)

    def rate(self, params: WPFormerParams, at: float) -> float:
        """Cosine to 1e-7 over all epochs, one step an epoch."""
        progress = math.floor(at) / params.epochs
        return FLOOR + (params.lr - FLOOR) * (1 + math.cos(math.pi * progress)) / 2

    def loss(self, params: WPFormerParams, model: nn.Module, batch: Batch, step: Step) -> Tensor:
        """Cross-entropy and IoU of all five predictions."""
        images, masks = batch["images"], batch["masks"]
        side = drawn_side(params, step)
        if images.shape[2:] != (side, side):
            images, masks = (
                functional.interpolate(each, (side, side), mode="bilinear", antialias=True) for each in (images, masks)
            )
        return segmentation_loss(model(images), masks, params.loss_form, params.iou_smoothing).total

    def evaluate(self, params: WPFormerParams, model: nn.Module, batch: Batch) -> Sequence[PictureScores]:
        """Scores of each image's 8-bit map at its own size."""
        logits_BHW = model(batch["images"], final_only=True)[:, 0].float().cpu()
        return [
            score_picture(
                prediction_map(logits, tuple(truth.shape), params.map_order, params.map_stretching), truth.cpu().numpy()
            )
            for logits, truth in zip(logits_BHW, batch["truth"], strict=True)
        ]

    def summarise(self, params: WPFormerParams, results: Sequence[PictureScores]) -> dict[str, float]:
        """Metrics of the published evaluation over all images."""
        return summarise_scores(list(results))

    def finish(self, params: WPFormerParams, model: nn.Module, about: Mapping[str, Any]) -> WPFormerSegmenter:
        """The segmenter of trained weights, its threshold at a probability of 0.5."""
        return WPFormerSegmenter(params, copy.deepcopy(cast("WPFormer", model)).cpu(), DEFAULT, about).eval()

    def restore(
        self, params: WPFormerParams, tensors: Mapping[str, Tensor], description: Mapping[str, Any]
    ) -> WPFormerSegmenter:
        """The segmenter that was saved with these tensors."""
        return restore_segmenter(params, tensors, parse_calibration(description), description["about"])

    def adopt(self, path: Path, values: Mapping[str, Any]) -> WPFormerSegmenter:
        """The segmenter of a published checkpoint."""
        return adopt_checkpoint(path, **{name: value for name, value in values.items() if name != "weights"})


WPFORMER = WPFormerMethod()
