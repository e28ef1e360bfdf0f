"""WSFViTVideoMethod: frames to the frames that follow, trained end to end on the squared error."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from subband.data import Dataset
from subband.data.video.examples import SequenceExamples, Sequences
from subband.data.video.moving_mnist import MovingDigits
from subband.errors import DataError
from subband.methods.trained_base import Batch, Step, TrainingSet
from subband.methods.wsfvit.video.network import VideoNetwork
from subband.methods.wsfvit.video.params import WSFViTVideoParams
from subband.methods.wsfvit.video.predictor import (
    NAME,
    VideoPredictor,
    adopt_checkpoint,
    make_network,
    restore_predictor,
)
from subband.methods.wsfvit.video.recipes import RECIPES
from subband.methods.wsfvit.video.schedule import HIGH_BETA, one_cycle
from subband.metrics import SequenceScores, score_sequence, summarise_sequences

PUBLISHED_UPDATES = 625  # an epoch: 10,000 sequences in batches of 16
SECOND_BETA = 0.999


class WSFViTVideoMethod:
    """Video prediction with WSF-ViT; see `TrainedMethod` for the life cycle.

    Attributes:
        chosen_by: the skill over repeating the last frame, which ranks checkpoints as the mean squared error does.
        recipes: presets by name; see the module of that name.
    """

    name = NAME
    params_type = WSFViTVideoParams
    chosen_by = "skill"
    embedded = "moving-digits:"
    embedded_smoke = "moving-digits:?train=8&validation=2&test=2&length=8"
    recipes = RECIPES

    def examples(self, params: WSFViTVideoParams, dataset: Dataset) -> TrainingSet:
        """Sequences, each cut into frames that are seen and frames that follow.

        Raises:
            DataError: the dataset has no sequences, or too short ones, or frames of another size.
        """
        if not isinstance(dataset, MovingDigits):
            raise DataError(f"{dataset.uri} holds no sequences; {NAME} learns from moving-mnist:PATH or moving-digits:")
        if dataset.options.size != params.image_size:
            raise DataError(
                f"{dataset.uri} has frames of {dataset.options.size} pixels, the params image_size={params.image_size}; open the "
                f"data with size={params.image_size}, or give image_size {dataset.options.size}"
            )

        def cut(sequences: Sequences) -> SequenceExamples:
            return SequenceExamples(sequences, params.frames_in, params.frames_out)

        held_out = params.validation == "holdout"
        test = cut(dataset.test())
        if held_out:
            note = f"{dataset.options.validation} sequences of training digits that were set aside chose the checkpoint"
        else:
            note = "the test sequences chose the checkpoint, as published: their figures are optimistic"
        return TrainingSet(
            cut(dataset.training(params.seed, hold_out=held_out)),
            cut(dataset.validation()) if held_out else test,
            {"test": test},
            (note,),
            params.validation,
        )

    def check(self, data: TrainingSet, progress: Callable[[int, int], None]) -> None:
        """Nothing is left to look at: digits and test file are checked when the data are opened."""

    def model(self, params: WSFViTVideoParams) -> VideoNetwork:
        """The network with its starting weights."""
        return make_network(params).train()

    def optimizer(self, params: WSFViTVideoParams, model: nn.Module) -> Optimizer:
        """Adam without weight decay, one rate for all parameters."""
        return Adam(model.parameters(), lr=params.lr, betas=(HIGH_BETA, SECOND_BETA))

    def rate(self, params: WSFViTVideoParams, at: float) -> float:
        """One cycle over all epochs of the published 625 updates; `scheduled` knows how many there are."""
        return one_cycle(params.lr, at * PUBLISHED_UPDATES, params.epochs * PUBLISHED_UPDATES)[0]

    def scheduled(self, params: WSFViTVideoParams, update: int, updates: int) -> dict[str, Any]:
        """Rate and momentum of one update: one cycle over all of them."""
        rate, beta = one_cycle(params.lr, update, updates)
        return {"lr": rate, "betas": (beta, SECOND_BETA)}

    def loss(self, params: WSFViTVideoParams, model: nn.Module, batch: Batch, step: Step) -> Tensor:
        """Mean squared error over all pixels."""
        return functional.mse_loss(model(batch["frames"]).float(), batch["following"])

    def evaluate(self, params: WSFViTVideoParams, model: nn.Module, batch: Batch) -> Sequence[SequenceScores]:
        """Scores of each sequence's predicted frames."""
        predicted = model(batch["frames"]).float()
        parts = (each[:, :, 0].cpu().numpy() for each in (predicted, batch["following"], batch["frames"][:, -1:]))
        return [score_sequence(found, truth, last[0]) for found, truth, last in zip(*parts, strict=True)]

    def summarise(self, params: WSFViTVideoParams, results: Sequence[SequenceScores]) -> dict[str, float]:
        """Means over sequences and frames, as published, and the skill."""
        return summarise_sequences(results)

    def finish(self, params: WSFViTVideoParams, model: nn.Module, about: Mapping[str, Any]) -> VideoPredictor:
        """The predictor of trained weights."""
        return VideoPredictor(params, copy.deepcopy(cast("VideoNetwork", model)).cpu(), about).eval()

    def restore(
        self, params: WSFViTVideoParams, tensors: Mapping[str, Tensor], description: Mapping[str, Any]
    ) -> VideoPredictor:
        """The predictor that was saved with these tensors."""
        return restore_predictor(params, tensors, description["about"])

    def adopt(self, path: Path, values: Mapping[str, Any]) -> VideoPredictor:
        """The predictor of a published checkpoint."""
        return adopt_checkpoint(path, **values)


WSFVIT_VIDEO = WSFViTVideoMethod()
