"""Everything a training decides before it starts, each decision made once and said with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from subband.data import Dataset, fingerprint, open_dataset
from subband.errors import ParamsError, unknown_name
from subband.home import home
from subband.methods import TrainedMethod, TrainingParams, TrainingSet, make_params, trained_method
from subband.named_folders import named_folder, read_settings, write_settings
from subband.training.checkpoint import CHANGEABLE
from subband.training.order import check_division
from subband.training.settings import TrainSettings

_GIVEN_ANEW = {
    "resume",
    "workers",
    "device",
    "cpus_per_worker",
    "loaders",
    "max_failures",
    "tracking_uri",
    "register_model",
}
"""Settings that a resumed training may be given anew."""


@dataclass(frozen=True)
class TrainPlan:
    """A training, decided and checked.

    Attributes:
        settings: as given, or as saved by the training that is resumed.
        method: what is trained.
        params: its params.
        dataset: opened.
        digest: fingerprint of its pictures, labels and masks.
        examples: of the training.
        folder: of the training.
        resumed: whether the folder was there before.
        decisions: (what, choice, reason) lines for the person and for MLflow.
    """

    settings: TrainSettings
    method: TrainedMethod
    params: TrainingParams
    dataset: Dataset
    digest: str
    examples: TrainingSet
    folder: Path
    resumed: bool
    decisions: tuple[tuple[str, str, str], ...]


def make_train_plan(name: str, values: Mapping[str, Any], settings: TrainSettings) -> TrainPlan:
    """Resolve and check everything before anything is started or written.

    Args:
        name: of the method.
        values: params that the user gave.
        settings: the rest.

    Raises:
        ParamsError: a param, recipe or setting is illegal, or batches cannot be divided among the workers.
        DataError: the dataset is not one that the method learns from.
    """
    method = trained_method(name)
    folder, resumed = named_folder(home() / "trainings", "training", name, settings.name, settings.resume)
    if resumed:
        settings, values = _saved(folder, settings, values)
    decisions: list[tuple[str, str, str]] = []
    recipe = settings.recipe or ("smoke" if settings.smoke else None)
    if recipe is not None and recipe not in method.recipes:
        raise ParamsError(unknown_name("recipe", recipe, method.recipes))
    uri = settings.data or method.embedded
    if settings.smoke and settings.data is None:
        uri = method.embedded_smoke
        decisions.append(("smoke", "on", "a tiny training: checks the path, says nothing about quality"))
    dataset = open_dataset(uri)
    given = {**(method.recipes[recipe] if recipe else {}), **values}
    if recipe:
        decisions.append(("recipe", recipe, ", ".join(f"{key}={value}" for key, value in given.items())))
    if "weights" in method.params_type.model_fields and "weights" not in given:
        if dataset.uri.startswith("synthetic"):
            given["weights"] = "random:0"
            why = "the embedded demo needs no download: give --weights pretrained for real use"
        else:
            why = "the default for real data; --weights random:SEED or a path works without a network"
        decisions.append(("weights", given.get("weights", "pretrained"), why))
    params: TrainingParams = make_params(method, given)
    if resumed:
        _refuse_other_params(folder, params)
    examples = method.examples(params, dataset)
    check_division(len(examples.train), params.batch, params.accumulation, settings.workers)
    sizes = {"training": examples.train, "validation": examples.validation, **examples.tests}
    counts = ", ".join(f"{len(part)} {name}" for name, part in sizes.items())
    decisions.append(("examples", counts, "; ".join(examples.notes) or dataset.uri))
    return TrainPlan(
        settings, method, params, dataset, dataset_digest(dataset), examples, folder, resumed, tuple(decisions)
    )


def dataset_digest(dataset: Dataset) -> str:
    """Fingerprint of all its pictures, labels and masks."""
    categories = [dataset.category(category) for category in dataset.categories]
    samples = dict.fromkeys(sample for category in categories for sample in (*category.train, *category.test))
    return fingerprint(tuple(samples), include_labels=True)


def save_settings(plan: TrainPlan) -> None:
    """Keep what `--resume` needs in the training's folder.

    Raises:
        ParamsError: another process has just started a training of that name.
    """
    if plan.resumed:
        return
    content = {
        "method": plan.method.name,
        # The dataset's own URI is absolute: the training may be resumed from another folder.
        "settings": {**plan.settings.model_dump(mode="json"), "data": plan.dataset.uri, "smoke": False, "recipe": None},
        "params": plan.params.model_dump(mode="json"),
    }
    write_settings(plan.folder, "training", content)


def _refuse_other_params(folder: Path, params: TrainingParams) -> None:
    saved = read_settings(folder)["params"]
    now = params.model_dump(mode="json")
    if other := [name for name in now if name not in CHANGEABLE and now[name] != saved.get(name)]:
        flags = ", ".join("--" + name.replace("_", "-") for name in other)
        raise ParamsError(
            f"the training {folder.name} goes on with its own params: leave out {flags}, or start a new one "
            f"(it may be given another {', '.join(CHANGEABLE)})"
        )


def _saved(folder: Path, given: TrainSettings, values: Mapping[str, Any]) -> tuple[TrainSettings, dict[str, Any]]:
    """The resumed training's own settings and params; what it may be given anew wins.

    Raises:
        ParamsError: something else was given, which would be ignored.
    """
    content = read_settings(folder)
    kept = TrainSettings.model_validate(content["settings"])
    if given.data is not None:
        given = given.model_copy(update={"data": open_dataset(given.data).uri})  # the saved one is absolute
    default = TrainSettings.model_validate({})
    changed = {name: value for name, value in given if value != getattr(default, name) and value != getattr(kept, name)}
    if fixed := sorted(set(changed) - _GIVEN_ANEW):
        flags = ", ".join("--" + name.replace("_", "-") for name in fixed)
        raise ParamsError(
            f"the training {folder.name} goes on with its own settings: leave out {flags}, or start a new one"
        )
    return kept.model_copy(update={**changed, "resume": given.resume}), {**content["params"], **values}
