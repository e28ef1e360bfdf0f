"""TrainedMethod: the interface through which one training loop trains every method whose weights are learnt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel
from torch import Tensor, nn
from torch.optim import Optimizer

from subband.data import Dataset, ExampleKey, Examples
from subband.errors import ParamsError, unknown_name
from subband.methods.base import Method
from subband.methods.deployable import Deployable

__all__ = [
    "PROGRESS",
    "Batch",
    "DataDependentParams",
    "ExampleKey",
    "Examples",
    "ImportsCheckpoint",
    "Scheduling",
    "Step",
    "TrainedMethod",
    "TrainingSet",
    "best_epoch",
    "recipe_params",
    "settled_params",
]

PROGRESS = ("loss", "learning_rate", "gradient_norm", "seconds", "examples_per_second")
"""Metrics of an epoch that say how the training went; the others are what the validation gave."""

Batch = Mapping[str, Tensor]
"""Tensors of B examples by name, the first dimension B."""


@dataclass(frozen=True)
class Step:
    """Where a batch stands in a training; what is drawn at random for a whole batch is a function of these.

    Attributes:
        epoch: from 0.
        update: of the optimiser within the epoch, from 0.
        seed: of the training.
    """

    epoch: int
    update: int
    seed: int


@dataclass(frozen=True)
class TrainingSet:
    """Examples of one training.

    Attributes:
        train: learnt from.
        validation: chooses the checkpoint.
        tests: reported by name, never looked at before the end.
        notes: what a reader must know, for instance which split chooses.
        selection: ``test`` where the validation examples are a test set too, so that what is reported of it is optimistic.
        about: what the trained model must know of the data, for instance names of classes; plain JSON values that `finish` gets.
    """

    train: Examples
    validation: Examples
    tests: Mapping[str, Examples] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    selection: Literal["holdout", "test"] = "holdout"
    about: Mapping[str, Any] = field(default_factory=dict)


class TrainedMethod(Method, Protocol):
    """A method that the training loop trains.

    Life cycle: `examples` opens the data and checks it; `model` builds the network, with its starting weights; the loop then calls
    `loss` for every micro-batch, with the learning rate of `rate`, and after every epoch `evaluate` for every batch of validation
    examples and `summarise` for what all of them gave; `finish` makes the deployable model of the weights that were best by
    `chosen_by`. None of these know how many workers there are: batches are divided, gradients and evaluations are brought
    together outside.

    Attributes:
        chosen_by: the metric of `summarise` that chooses the checkpoint, higher is better.
        embedded: URI of the data that a first run needs no download for.
        embedded_smoke: the same, tiny.
        recipes: named presets: params that differ from the defaults. The recipe ``smoke`` trains in seconds.
    """

    chosen_by: str
    embedded: str
    embedded_smoke: str
    recipes: Mapping[str, Mapping[str, Any]]

    def examples(self, params: Any, dataset: Dataset) -> TrainingSet:
        """The examples that these params ask for.

        Raises:
            DataError: the dataset is not of the form that the method learns from; the message names what is missing.
        """
        ...

    def check(self, data: TrainingSet, progress: Callable[[int, int], None]) -> None:
        """Look at all files of the examples; called once before a training starts.

        Args:
            data: from `examples`.
            progress: called with the number of files looked at, and of all.

        Raises:
            DataError: one cannot be used; the message names it.
        """
        ...

    def model(self, params: Any) -> nn.Module:
        """The network with its starting weights, on the CPU, in training mode.

        The same params give the same weights.
        """
        ...

    def optimizer(self, params: Any, model: nn.Module) -> Optimizer:
        """Over the model's trainable parameters, at learning rate `params.lr`.

        A parameter group may hold ``lr_scale``, by which the loop multiplies the rate.
        """
        ...

    def rate(self, params: Any, at: float) -> float:
        """Learning rate at a moment of the training, in epochs: 1.5 is the middle of the second."""
        ...

    def loss(self, params: Any, model: nn.Module, batch: Batch, step: Step) -> Tensor:
        """Mean loss of a micro-batch, a float32 scalar; called under the training's autocast.

        Args:
            params: of the training.
            model: the network, maybe wrapped: call it, do not look inside.
            batch: of `Examples`, on the model's device.
            step: where in the training.
        """
        ...

    def evaluate(self, params: Any, model: nn.Module, batch: Batch) -> Sequence[Any]:
        """What `summarise` needs of each example of a batch, in its order: small picklable values.

        The model is in evaluation mode, without gradients.
        """
        ...

    def summarise(self, params: Any, results: Sequence[Any]) -> dict[str, float]:
        """Metrics of examples from what `evaluate` gave for each of them, in their order."""
        ...

    def finish(self, params: Any, model: nn.Module, about: Mapping[str, Any]) -> Deployable:
        """The deployable model of trained weights.

        Args:
            params: of the training.
            model: with the chosen weights.
            about: what a reader must know of the training; plain JSON values.
        """
        ...


@runtime_checkable
class Scheduling(Protocol):
    """A trained method whose schedule counts updates, or moves more than the learning rate: momentum, for instance."""

    def scheduled(self, params: Any, update: int, updates: int) -> Mapping[str, Any]:
        """Entries of the optimiser's parameter groups for one update, by name.

        Args:
            params: of the training.
            update: from 0, counted over the whole training.
            updates: of the whole training.

        Returns:
            For instance ``{"lr": 1e-3, "betas": (0.9, 0.999)}``; ``lr`` takes the place of what `rate` gives.
        """
        ...


@runtime_checkable
class ImportsCheckpoint(Protocol):
    """A trained method whose authors published checkpoints: these become its deployable model without a training."""

    name: str
    params_type: type[BaseModel]
    recipes: Mapping[str, Mapping[str, Any]]

    def adopt(self, path: Path, values: Mapping[str, Any]) -> Deployable:
        """The deployable model of a published checkpoint.

        Args:
            path: the file.
            values: params that the file does not tell.

        Raises:
            ModelError: it is no checkpoint of this method, or of other params.
            ParamsError: illegal values.
        """
        ...


@runtime_checkable
class DataDependentParams(Protocol):
    """A trained method of which some params are settled by the data, for instance the number of classes."""

    def settled(self, params: Any, dataset: Dataset) -> Any:
        """The params with what the data say.

        Raises:
            DataError: the dataset is not of the form that the method learns from.
            ParamsError: the params say otherwise.
        """
        ...


def best_epoch(history: Sequence[Mapping[str, float]], metric: str) -> int | None:
    """Number, from 1, of the first epoch with the highest value; None where none was validated."""
    scored = [(row[metric], -number) for number, row in enumerate(history, 1) if metric in row]
    return -max(scored)[1] if scored else None


def recipe_params(method: TrainedMethod, name: str) -> dict[str, Any]:
    """The params of a method's recipe.

    Raises:
        ParamsError: no such recipe; near matches are given.
    """
    if name not in method.recipes:
        raise ParamsError(unknown_name("recipe", name, method.recipes))
    return dict(method.recipes[name])


def settled_params(method: TrainedMethod, params: Any, dataset: Dataset) -> Any:
    """The params as they are trained with: those of a `DataDependentParams` method are completed from the data."""
    return method.settled(params, dataset) if isinstance(method, DataDependentParams) else params
