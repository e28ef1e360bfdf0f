"""What a sweep of a trained method decides beyond what every sweep does: recipe, examples, and which images choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from subband.data import Dataset
from subband.decisions import Decision
from subband.errors import ParamsError
from subband.methods import TrainedMethod, TrainingParams, make_params, recipe_params, settled_params
from subband.training.batches import check_division
from subband.training.plan import examples_decision
from subband.tuning.settings import SweepSettings

RACING_NEEDS = 4
"""Categories or epochs."""

PERTURBED = ("lr", "clip", "ema")
"""Params that population-based training changes on the way."""


def recipe_values(
    method: TrainedMethod, settings: SweepSettings, embedded: str | None
) -> tuple[SweepSettings, dict[str, Any], list[Decision]]:
    """The recipe that was asked for, or the one for embedded data: settings that name it, its params, and the decision.

    Args:
        method: whose recipes they are.
        settings: of the sweep.
        embedded: name of the recipe for embedded data.

    Raises:
        ParamsError: no such recipe.
    """
    name, why = settings.recipe, "--recipe"
    if name is None and settings.data == method.embedded and not settings.smoke:
        name, why = embedded, "the embedded data are small; --recipe chooses another"
    if name is None:
        return settings, {}, []
    values = recipe_params(method, name)
    words = ", ".join(f"{key}={value}" for key, value in values.items())
    return settings.model_copy(update={"recipe": name}), values, [Decision("recipe", f"{name}: {words}", why)]


def check_training(
    method: TrainedMethod,
    base: Mapping[str, Any],
    axes: Mapping[str, Sequence[Any]],
    dataset: Dataset,
    settings: SweepSettings,
) -> tuple[SweepSettings, list[Decision]]:
    """Open the examples under every value that was given, and see which images choose.

    Returns:
        The settings with the selection that the params decide, and the decisions.

    Raises:
        ParamsError: batches cannot be divided, or what chooses is asked for in the wrong place or differs between trials.
        DataError: the dataset is not one that the method learns from.
    """
    varied = [{**base, name: value} for name, values in axes.items() if len(values) > 1 for value in values]
    selections: dict[str, Mapping[str, Any]] = {}
    for values in varied or [dict(base)]:
        params: TrainingParams = settled_params(method, make_params(method, dict(values)), dataset)
        examples = method.examples(params, dataset)
        check_division(len(examples.train), params, settings.workers_per_trial)
        selections[examples.selection] = values
    if len(selections) > 1:
        given = ", ".join(name for name in axes if len({str(values.get(name)) for values in selections.values()}) > 1)
        raise ParamsError(
            f"with some values of {given} test images choose, with others held-out ones: their scores cannot be compared; "
            "give one value a sweep"
        )
    (selection,) = selections
    notes = "; ".join(examples.notes)
    if settings.selection not in ("auto", "holdout", selection):
        raise ParamsError(
            f"--selection {settings.selection}: the params of {method.name} say which images choose ({notes}); "
            "leave --selection out"
        )
    decided = Decision("selection", selection, f"the params of {method.name} decide: {notes}")
    return settings.model_copy(update={"selection": selection}), [examples_decision(examples, dataset), decided]


def early_stopping(
    method: TrainedMethod,
    base: Mapping[str, Any],
    axes: Mapping[str, Sequence[Any]],
    settings: SweepSettings,
) -> tuple[bool, list[Decision]]:
    """Whether poor trials stop after some epochs, and the decision; a search over few epochs, or several objectives, finishes all.

    Raises:
        ParamsError: it was asked for, and no epoch is left at which trials could be compared.
    """
    if settings.search == "pbt":
        epochs = interval(epochs_of(method, base, axes)[0])
        why = f"every {epochs} epochs the worst quarter takes over the weights of the best quarter"
        return False, [Decision("population", f"{settings.trials} trials", why)]
    epochs, validated = epochs_of(method, base, axes)
    compared = rungs(epochs, validated)
    if settings.racing == "on" and not compared:
        raise ParamsError(
            f"early stopping compares trials on the way: {epochs} epochs, validated from {validated} on, leave none for it; "
            "leave --racing out"
        )
    search = settings.preset is None and settings.search != "grid"
    on = settings.racing == "on" or (
        settings.racing == "auto" and search and len(settings.objective) == 1 and epochs >= RACING_NEEDS
    )
    if not (on and compared):
        return False, []
    words = " and ".join(map(str, compared))
    why = f"after {words} of {epochs} epochs the worse two thirds stop (--racing off trains all)"
    return True, [Decision("early stopping", "on", why)]


def epochs_of(method: TrainedMethod, base: Mapping[str, Any], axes: Mapping[str, Sequence[Any]]) -> tuple[int, int]:
    """Epochs of the longest trial, and the first that every trial validates."""
    varied = [{**base, name: value} for name in ("epochs", "validate_from") for value in axes.get(name, ())]
    found = [make_params(method, values) for values in varied or [dict(base)]]
    return max(params.epochs for params in found), max(params.validate_from for params in found)


def changing(searched: Sequence[str], axes: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
    """Those of the searched params that population-based training changes.

    Raises:
        ParamsError: there are none, or the user gave several values to one that cannot change on the way.
    """
    wrong = [name for name, values in axes.items() if len(values) > 1 and name not in PERTURBED]
    found = tuple(name for name in searched if name in PERTURBED)
    if wrong or not found:
        what = f"{', '.join(wrong)} cannot change" if wrong else f"of {', '.join(PERTURBED)} none is searched"
        raise ParamsError(f"population-based training varies {', '.join(PERTURBED)} while weights are learnt: {what}")
    return found


def rungs(epochs: int, validated: int) -> list[int]:
    """Epochs after which early stopping compares trials: from a ninth of the training on, each three times the one before."""
    first = max(validated, round(epochs / 9), 1)
    return [first * 3**step for step in range(10) if first * 3**step < epochs]


def interval(epochs: int) -> int:
    """Epochs between two comparisons of a population: there are about five in a training."""
    return max(1, epochs // 5)
