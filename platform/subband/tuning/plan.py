"""Everything a sweep decides before its first trial, each decision made once and said with its reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from subband.champions.fitted import copies_noticed
from subband.data import (
    Dataset,
    Selection,
    Truth,
    fingerprint,
    is_embedded,
    open_dataset,
    pooled_fingerprint,
    split_category,
)
from subband.data.checks import data_decisions
from subband.data.content_record import require_unchanged, write_content
from subband.decisions import Decision
from subband.errors import DataError, ParamsError
from subband.home import home
from subband.methods import Method, get_method, is_trained, make_params, trained_method
from subband.methods.weights_rule import AUTO, settled_for_job
from subband.metrics import METRICS, SEGMENTATION_METRICS
from subband.runs.folders import named_folder, read_settings, write_settings
from subband.runs.settings import resumed_settings
from subband.spaces import Point, Preset, Space, product
from subband.trials import TrialRecord
from subband.tuning.lanes import refuse_training_settings
from subband.tuning.settings import SweepSettings, default_settings
from subband.tuning.space import NarrowedSearch, quiet_optuna
from subband.tuning.training_plan import (
    RACING_NEEDS,
    changing,
    check_training,
    early_stopping,
    recipe_values,
)

LEARNT_FROM_AT_LEAST = 2
_BRANCH_DRAWS = 64
_GIVEN_ANEW = {"resume", "check", "trials", "minutes", "workers", "tracking_uri", "store", "store_gb", "top"}
"""Settings that a resumed sweep may be given anew: budgets, places, what is shown."""


@dataclass(frozen=True)
class SweepPlan:
    """A sweep, decided and checked.

    Attributes:
        settings: as given, or as saved by the sweep that is resumed.
        space: what is explored.
        method: the method.
        axes: values the user gave for params; one value fixes a param, several are searched.
        base: what the user or the preset settled; every other param keeps its default.
        dataset: opened.
        digest: fingerprint of its images, labels and masks.
        categories: its categories, those first that can choose.
        folder: of the sweep.
        resumed: whether the folder has results already.
        racing: whether poor trials stop after a few categories or epochs.
        decisions: for the person and for MLflow.
    """

    settings: SweepSettings
    space: Space
    method: Method
    axes: Mapping[str, tuple[Any, ...]]
    base: dict[str, Any]
    dataset: Dataset
    digest: str
    categories: tuple[str, ...]
    folder: Path
    resumed: bool
    racing: bool
    decisions: tuple[Decision, ...]

    @property
    def trained(self) -> bool:
        """Whether its trials train weights, instead of recombining stored stages."""
        return is_trained(self.method.name)

    @property
    def preset(self) -> Preset | None:
        """The exact grid, if there is one."""
        if self.settings.preset is not None:
            return self.space.preset(self.settings.preset)
        if self.settings.search == "grid":
            searched = {name: values for name, values in self.axes.items() if len(values) > 1}
            return Preset("the values given on the command line", (lambda records, objective: product(**searched),))
        return None

    @property
    def selection(self) -> Selection:
        """Which labels choose the winner; settled, never ``auto``."""
        assert self.settings.selection != "auto"
        return self.settings.selection

    @property
    def searched(self) -> tuple[str, ...]:
        """Names of the params that a search varies; empty if every one of them was given one value."""
        varied = _searched(self.space, self.axes)
        return changing(varied, self.axes) if self.settings.search == "pbt" else varied

    def points(self, round_number: int, records: Sequence[TrialRecord]) -> list[Point]:
        """Points of one round of the preset, validated, with values in the method's own spelling.

        A value given by the user wins over the preset's, several restrict it, and several values of a param that the preset leaves
        alone multiply it.

        Raises:
            ParamsError: a point is illegal for the method, or no trial of an earlier round succeeded.
        """
        if self.preset is None:
            raise ParamsError("a search has no list of points")
        found = self.preset.rounds[round_number](records, self.settings.objective[0])
        fixed = {name: values[0] for name, values in self.axes.items() if len(values) == 1}
        allowed = {name: set(values) for name, values in self.axes.items() if len(values) > 1}
        unique: dict[str, Point] = {}
        for point in found:
            more = {name: values for name, values in self.axes.items() if len(values) > 1 and name not in point}
            point = {**point, **{name: value for name, value in fixed.items() if name in point}}
            for varied in product(**more):
                names = (*point, *varied)
                params = make_params(self.method, {**self.base, **point, **varied}).model_dump(mode="json")
                if all(params[name] in values for name, values in allowed.items()):
                    whole = {name: params[name] for name in names}
                    unique[json.dumps(whole, sort_keys=True)] = whole
        if not unique:
            raise ParamsError(
                "the params flags leave nothing of the grid; give values that it contains, or drop the preset"
            )
        points = list(unique.values())
        return points[:2] if self.settings.smoke else points


def make_plan(space: Space, axes: Mapping[str, tuple[Any, ...]], settings: SweepSettings) -> SweepPlan:
    """Resolve and check everything before anything is started or written.

    Raises:
        ParamsError: a param, preset, objective or combination of settings is illegal.
        DataError: the dataset cannot be used with this selection, or is another one than the resumed sweep's.
    """
    settled, kept_reason = dict[str, Any](), ""
    folder, resumed = named_folder(home() / "runs", "sweep", space.method, settings.name, settings.resume)
    if resumed:
        settings, axes, settled, kept_reason = _saved(space.method, folder, settings, axes)
    method = get_method(space.method)
    decisions: list[Decision] = []
    axes = {name: tuple(values) for name, values in axes.items() if values}
    if settings.smoke:
        settings, axes = _shrunk(space, settings, axes)
        decisions.append(
            Decision("smoke", "on", "two trials on a tiny dataset: checks the path, says nothing about quality")
        )
    dataset = open_dataset(settings.data)
    base = {name: values[0] for name, values in axes.items() if len(values) == 1}
    if settings.preset is not None:
        base = {**space.preset(settings.preset).base, **base}
    trained = trained_method(space.method) if is_trained(space.method) else None
    if trained is not None:
        settings, recipe, decided = recipe_values(trained, settings, space.embedded_recipe)
        decisions += decided
        base = {"seed": settings.seed, **recipe, **base}
    else:
        refuse_training_settings(space.method, settings)
    preset = settings.preset if settings.preset and space.preset(settings.preset).published else None
    base, decision = settled_for_job(
        method,
        {**base, **settled},
        {name: values for name, values in axes.items() if len(values) > 1},
        embedded=is_embedded(dataset.uri),
        smoke=settings.smoke,
        preset=preset or "",
        resumed=resumed,
    )
    axes = {name: values for name, values in axes.items() if values != (AUTO,)}
    if decision is not None:
        decisions.append(decision._replace(reason=kept_reason or decision.reason))
    make_params(method, base)
    for name, values in axes.items():
        # In the method's own spelling (HL+LL is LL+HL), so that equal values are seen to be equal.
        spelt = (make_params(method, {**base, name: value}).model_dump(mode="json")[name] for value in values)
        axes[name] = tuple(dict.fromkeys(spelt))
    searched = _searched(space, axes)
    if settings.search == "pbt":
        changing(searched, axes)
    elif settings.preset is None and settings.search != "grid" and not searched and settings.trials > 1:
        settings = settings.model_copy(update={"trials": 1})
        decisions.append(Decision("trials", "1", "every searched param has one value, so there is one configuration"))
    decisions += data_decisions(dataset, settings.check)
    if resumed:
        require_unchanged(folder, dataset, "sweep")
    if trained is not None:
        settings, decided = check_training(trained, base, axes, dataset, settings)
        racing, raced = early_stopping(trained, base, axes, settings)
        decisions += [*decided, *raced]
        digest, categories = pooled_fingerprint(dataset), dataset.categories
    else:
        racing, raced = _racing(settings, len(dataset.categories))
        settings, decided = _selection_settled(dataset, settings)
        digest, categories, noticed = _check_data(dataset, settings)
        decisions += [*raced, *decided, *noticed]
    plan = SweepPlan(
        settings=settings,
        space=space,
        method=method,
        axes=axes,
        base=base,
        dataset=dataset,
        digest=digest,
        categories=categories,
        folder=folder,
        resumed=resumed,
        racing=racing,
        decisions=tuple(decisions),
    )
    if settings.search == "grid" and not any(len(values) > 1 for values in axes.values()):
        raise ParamsError(
            "--search grid needs a param with several values, for instance --sigma 2 4 8 --wavelet haar sym4"
        )
    if plan.preset is not None:
        plan.points(0, ())
    return plan


def save_settings(plan: SweepPlan) -> None:
    """Keep what `--resume` needs in the sweep's folder.

    Raises:
        ParamsError: another process has just started a sweep of that name.
    """
    if plan.resumed:
        return
    write_content(plan.folder, plan.dataset)
    content = {
        "method": plan.method.name,
        # The dataset's own URI is absolute: the sweep may be resumed from another folder.
        "settings": {**plan.settings.model_dump(mode="json"), "data": plan.dataset.uri},
        "axes": dict(plan.axes),
        # What the rule settled stays, whether or not the hub answers when the sweep is resumed.
        "settled": {name: plan.base[name] for name in ("backbone", "weights") if name in plan.base},
        "weights_reason": next((reason for what, _, reason in plan.decisions if what == "weights"), ""),
    }
    write_settings(plan.folder, "sweep", content)


def _saved(
    method: str, folder: Path, given: SweepSettings, given_axes: Mapping[str, tuple[Any, ...]]
) -> tuple[SweepSettings, dict[str, tuple[Any, ...]], dict[str, Any], str]:
    """The resumed sweep's own settings, network and weights, and why these; only budgets and places may be given anew.

    Raises:
        ParamsError: something else was given, which would be ignored.
    """
    content = read_settings(folder)
    kept = SweepSettings.model_validate(content["settings"])
    if "data" in given.model_fields_set:
        given = given.model_copy(update={"data": open_dataset(given.data).uri})  # the saved one is absolute
    axes = {name: tuple(values) for name, values in content["axes"].items()}
    changed = [name for name, values in given_axes.items() if values and tuple(values) != axes.get(name)]
    settings = resumed_settings(given, kept, _GIVEN_ANEW, f"sweep {folder.name}", changed)
    if "settled" in content:
        return settings, axes, content["settled"], content.get("weights_reason", "as when the sweep began")
    return settings, axes, _settled_before_the_rule(method, kept.data, axes), "the default when the sweep began"


def _settled_before_the_rule(method: str, data: str, axes: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Network and weights of a sweep from the time when both had a fixed default."""
    published = getattr(get_method(method).params_type, "published_backbone", None)
    if published is None:
        return {}
    defaults = {"backbone": published, "weights": "random:0" if is_embedded(data) else "pretrained"}
    return {name: value for name, value in defaults.items() if name not in axes}


def _shrunk(
    space: Space, settings: SweepSettings, axes: Mapping[str, tuple[Any, ...]]
) -> tuple[SweepSettings, dict[str, tuple[Any, ...]]]:
    smaller: dict[str, Any] = {"trials": min(settings.trials, 2)}
    if settings.data == default_settings(space.method).data:
        smaller["data"] = "synthetic:?train=6&test=6&size=64&categories=weave,nut"
        if is_trained(space.method):
            smaller["data"] = trained_method(space.method).embedded_smoke
    if settings.preset is None and settings.search == "grid":
        axes = {name: values[:2] for name, values in axes.items()}
    return settings.model_copy(update=smaller), {**{name: (value,) for name, value in space.smoke.items()}, **axes}


def _searched(space: Space, axes: Mapping[str, tuple[Any, ...]]) -> tuple[str, ...]:
    """Names that any branch of the search varies: a branch that is missed would be missing in every table and figure."""
    quiet_optuna()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    search = NarrowedSearch(space.suggest, axes)
    names = dict.fromkeys(name for _ in range(_BRANCH_DRAWS) for name in search(study.ask()))
    return tuple(name for name in names if len(axes.get(name, ())) != 1)


def _racing(settings: SweepSettings, categories: int) -> tuple[bool, list[Decision]]:
    exact = settings.preset is not None or settings.search == "grid"
    if settings.racing == "on":
        if categories < 2:
            raise ParamsError("racing compares trials over categories: this dataset has one; leave --racing out")
        return True, []
    if settings.racing == "off" or exact or len(settings.objective) > 1 or categories < RACING_NEEDS:
        return False, []
    why = f"a search over {categories} categories: poor trials stop early (--racing off for all)"
    return True, [Decision("racing", "on", why)]


def _selection_settled(dataset: Dataset, settings: SweepSettings) -> tuple[SweepSettings, list[Decision]]:
    """The settings with a selection in place of ``auto``: real defects choose wherever there are enough of them."""
    if settings.selection != "auto":
        return settings, []
    reasons = {}
    for name in dataset.categories:
        category = dataset.category(name)
        reason = "it has no test images"
        if category.test:
            reason = _undefined(split_category(category, "holdout", settings.seed)[1], settings.objective[0])
        if not reason:
            return settings.model_copy(update={"selection": "holdout"}), []
        reasons[name] = reason
    name, reason = next(iter(reasons.items()))
    why = f"made-up defects choose, because real ones cannot ({name}: {reason})"
    return settings.model_copy(update={"selection": "synthetic"}), [Decision("selection", "synthetic", why)]


def _undefined(truth: Truth, objective: str) -> str:
    """Why an objective cannot choose among these labels; empty where it can."""
    labels = [truth.samples[index].label for index in truth.choose]
    if not labels:
        return "it has fewer than 2 good or 2 defective test images"
    if len(set(labels)) < 2:
        return f"the images that choose are all {'good' if 0 in labels else 'defective'}"
    if not objective.startswith("image") and all(truth.samples[i].mask is None for i in truth.choose):
        return f"no masks, so {objective} is undefined"
    return ""


def _check_data(dataset: Dataset, settings: SweepSettings) -> tuple[str, tuple[str, ...], list[Decision]]:
    """Open every category, try the split, and see where the objectives can be computed.

    Returns:
        The dataset's fingerprint, its categories with those first that can choose by the first objective, and what was noticed.
    """
    assert settings.selection != "auto"
    selection: Selection = settings.selection
    for name in settings.objective:
        if name in SEGMENTATION_METRICS:
            raise ParamsError(
                f"{name} is measured of segmenters that learn from masks; this method gives anomaly maps, so choose "
                f"among {', '.join(METRICS)}"
            )
    digests, decisions = [], list[Decision]()
    # Costs are measured without labels, so they are defined everywhere.
    undefined: dict[str, dict[str, str]] = {name: {} for name in settings.objective if name in METRICS}
    for name in dataset.categories:
        category = dataset.category(name)
        split, truth = split_category(category, selection, settings.seed)
        decisions += copies_noticed(category)
        if len(split.fit) < LEARNT_FROM_AT_LEAST:
            raise DataError(
                f"{name}: {len(split.fit)} good training image is left to learn from with selection={selection!r}; "
                f"at least {LEARNT_FROM_AT_LEAST} are needed to see how good ones vary"
            )
        digests.append(fingerprint((*category.train, *category.test), include_labels=True))
        for objective, where in undefined.items():
            if reason := _undefined(truth, objective):
                where[name] = reason
    for objective, where in undefined.items():
        if len(where) == len(dataset.categories):
            name, reason = next(iter(where.items()))
            raise DataError(
                f"nothing can be chosen by {objective} with selection={selection!r} ({name}: {reason}); add labelled "
                "defective test images, or use --selection synthetic, which needs none"
            )
    silent = undefined[settings.objective[0]]
    for name, reason in silent.items():
        decisions.append(Decision(name, "excluded from selection", f"{reason}; still evaluated and reported"))
    ordered = sorted(dataset.categories, key=lambda name: name in silent)
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest(), tuple(ordered), decisions
