"""Everything a training decides before it starts, each decision made once and said with its reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from subband.data import Dataset, is_embedded, open_dataset, pooled_fingerprint
from subband.data.checks import data_decisions
from subband.data.content_record import require_unchanged, write_content
from subband.decisions import Decision
from subband.errors import ParamsError
from subband.home import home
from subband.methods import (
    TrainedMethod,
    TrainingParams,
    TrainingSet,
    make_params,
    recipe_params,
    settled_params,
    trained_method,
)
from subband.methods.weights_rule import settled_for_job
from subband.runs.folders import named_folder, read_settings, write_settings
from subband.runs.settings import refuse_changes, resumed_settings
from subband.training.batches import check_division
from subband.training.checkpoint import CHANGEABLE, DESCRIPTION, read_description
from subband.training.settings import TrainSettings

RUN_NAME, RESULTS, LOCK_NAME = "train", "report/results.json", "training.lock"

_GIVEN_ANEW = {
    "resume",
    "check",
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
        digest: fingerprint of its images, labels and masks.
        examples: of the training.
        folder: of the training.
        resumed: whether the folder was there before.
        decisions: for the person and for MLflow.
    """

    settings: TrainSettings
    method: TrainedMethod
    params: TrainingParams
    dataset: Dataset
    digest: str
    examples: TrainingSet
    folder: Path
    resumed: bool
    decisions: tuple[Decision, ...]


def make_train_plan(name: str, values: Mapping[str, Any], settings: TrainSettings) -> TrainPlan:
    """Resolve and check everything before anything is started or written.

    Args:
        name: of the method.
        values: params that the user gave.
        settings: the rest.

    Raises:
        ParamsError: a param, recipe or setting is illegal, or batches cannot be divided among the workers.
        DataError: the dataset is not one that the method learns from, or is another one than the resumed training's.
    """
    method = trained_method(name)
    folder, resumed = named_folder(home() / "trainings", "training", name, settings.name, settings.resume)
    if resumed:
        settings, values = _saved(folder, settings, values)
    decisions: list[Decision] = []
    # What is resumed has all its params already.
    recipes = () if resumed else tuple(filter(None, (settings.recipe, "smoke" if settings.smoke else None)))
    given: dict[str, Any] = {}
    for recipe in recipes:
        # A longer recipe's first evaluation may lie behind the last epoch of the one laid over it.
        given |= {"validate_from": 1, **recipe_params(method, recipe)}
    given |= values
    if settings.smoke:
        decisions.append(Decision("smoke", "on", "a tiny training: checks the path, says nothing about quality"))
    dataset = open_dataset(settings.data or (method.embedded_smoke if settings.smoke else method.embedded))
    if recipes:
        words = ", ".join(f"{key}={value}" for key, value in given.items())
        decisions.append(Decision("recipe", " under ".join(recipes), words))
    if Path(weights := str(given.get("weights", ""))).is_file():
        given["weights"] = str(Path(weights).absolute())  # the training may be resumed from another folder
    given, decision = settled_for_job(method, given, embedded=is_embedded(dataset.uri))
    if decision is not None:
        decisions.append(decision)
    params: TrainingParams = settled_params(method, make_params(method, given), dataset)
    if resumed:
        _refuse_other_params(folder, params)
        _refuse_what_is_done(folder, params)
    decisions += data_decisions(dataset, settings.check)
    if resumed:
        require_unchanged(folder, dataset, "training")
    examples = method.examples(params, dataset)
    check_division(len(examples.train), params, settings.workers)
    decisions.append(examples_decision(examples, dataset))
    digest = pooled_fingerprint(dataset)
    return TrainPlan(settings, method, params, dataset, digest, examples, folder, resumed, tuple(decisions))


def examples_decision(examples: TrainingSet, dataset: Dataset) -> Decision:
    """How many examples are learnt from, choose and are reported on, and why these."""
    sizes = {"training": examples.train, "validation": examples.validation, **examples.tests}
    counts = ", ".join(f"{len(part)} {name}" for name, part in sizes.items())
    return Decision("examples", counts, "; ".join(examples.notes) or dataset.uri)


def save_settings(plan: TrainPlan) -> None:
    """Keep what `--resume` needs in the training's folder.

    What a resumed training was given anew is kept too: it goes on with that when it is cut off once more.

    Raises:
        ParamsError: another process has just started a training of that name.
    """
    if not plan.resumed:
        write_content(plan.folder, plan.dataset)
    content = {
        "method": plan.method.name,
        # The dataset's own URI is absolute: the training may be resumed from another folder.
        "settings": {**plan.settings.model_dump(mode="json"), "data": plan.dataset.uri, "recipe": None, "resume": None},
        "params": plan.params.model_dump(mode="json"),
    }
    write_settings(plan.folder, "training", content, again=plan.resumed)


def _refuse_what_is_done(folder: Path, params: TrainingParams) -> None:
    """Only a training that has come to its end has results; one that was cut off before goes on to them."""
    results = folder / RESULTS
    if not results.exists():
        return
    tested = int(json.loads(results.read_text(encoding="utf-8")).get("epochs", 0))
    begun = [read_description(path.parent)["epoch"] for path in folder.glob(f"{RUN_NAME}/checkpoint_*/{DESCRIPTION}")]
    if params.epochs <= tested and max(begun, default=0) <= tested:
        raise ParamsError(
            f"{tested} epochs of the training {folder.name} are done already, and its model is saved: give more --epochs"
        )


def _refuse_other_params(folder: Path, params: TrainingParams) -> None:
    saved = read_settings(folder)["params"]
    now = params.model_dump(mode="json")
    other = [name for name in now if name not in CHANGEABLE and now[name] != saved.get(name)]
    refuse_changes(other, f"training {folder.name}", f" (it may be given another {', '.join(CHANGEABLE)})")


def _saved(folder: Path, given: TrainSettings, values: Mapping[str, Any]) -> tuple[TrainSettings, dict[str, Any]]:
    """The resumed training's own settings and params; what it may be given anew wins.

    Raises:
        ParamsError: something else was given, which would be ignored.
    """
    content = read_settings(folder)
    kept = TrainSettings.model_validate(content["settings"])
    if given.data is not None:
        given = given.model_copy(update={"data": open_dataset(given.data).uri})  # the saved one is absolute
    settings = resumed_settings(given, kept, _GIVEN_ANEW, f"training {folder.name}")
    return settings, {**content["params"], **values}
