"""The front door in Python: fit, evaluate and sweep with the defaults of the jobs.

    import subband

    detector = subband.fit("wepadim", "folder:/data/bottles", sigma=2)
    answer = detector.predict([image])                      # scores, decisions, maps
    print(subband.evaluate(detector, "folder:/data/bottles"))
    found = subband.sweep("wepadim", "folder:/data/bottles", trials=50, wavelet=["haar", "sym4"])
    print(found.best.params, found.champions)

Nothing here computes anything of its own: each function is a short way to what the jobs call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch

from subband.analysis.scoring import everything_reports
from subband.champions.fitted import Winner, champion_split, fit_winner
from subband.champions.settings import ThresholdSettings
from subband.champions.trained import finished, without_fetching
from subband.data import Category, Dataset, is_embedded, load_images, open_dataset
from subband.data.ruled import category_as_taught
from subband.errors import ModelError, ParamsError, unknown_name
from subband.evaluation import Scorer, split_runner
from subband.home import home
from subband.methods import (
    Deployable,
    Detector,
    TrainedMethod,
    TrainingParams,
    get_method,
    is_trained,
    load,
    make_params,
    recipe_params,
    settled_params,
    space_of,
    staged_method,
    trained_method,
)
from subband.methods.weights_rule import settled_for_job, weights_record
from subband.stages import Store
from subband.training.batches import WorkerContext
from subband.training.loop import Training
from subband.validating import validated

if TYPE_CHECKING:
    from subband.tuning.result import SweepResult

Say = Callable[[str], None]


def quiet(line: str) -> None:
    """Say nothing."""


def fit(
    method: str,
    data: str | Dataset | None = None,
    *,
    category: str | None = None,
    recipe: str | None = None,
    say: Say = quiet,
    fpr: float = 0.05,
    pixel_fpr: float = 0.001,
    **params: Any,
) -> Any:
    """Fit or train a method on data, in this process; nothing is logged or registered.

    Args:
        method: a name of `subband.list_methods`.
        data: dataset URI, or an open dataset; by default embedded data.
        category: the category that a detector is fitted to; may be left out where there is one.
        recipe: of a trained method: a named preset of its params.
        say: called with one line for the user at every step.
        fpr: share of good images that a detector may call defective, above 0 and below 1.
        pixel_fpr: share of the pixels of good images that it may call defective.
        params: the method's params; the others keep their defaults.

    Returns:
        A `Detector`, or the model of a trained method, in eval mode on the CPU: it can `predict`, and be saved and served.

    Raises:
        ParamsError: no such method, category or recipe, or an illegal param.
        DataError: the data cannot be learnt from.

    Example:
        >>> subband.fit("wepadim", "folder:/data/bottles", sigma=2).save("bottle")  # doctest: +SKIP
    """
    if is_trained(method):
        return _train(trained_method(method), _opened(data or trained_method(method).embedded), recipe, params, say)
    if recipe is not None:
        raise ParamsError(f"{method} has no recipes: leave recipe out")
    rates = validated(ThresholdSettings, {"fpr": fpr, "pixel_fpr": pixel_fpr}, "fit")
    staged, dataset = staged_method(method), _opened(data or "photos:?categories=brick")
    chosen = _category(dataset, category)
    settled, decision = settled_for_job(staged, params, embedded=is_embedded(dataset.uri))
    if decision is not None:
        say(str(decision))
    winner = Winner(
        method=staged,
        params=make_params(staged, settled),
        category=chosen,
        reported=None,
        fpr=rates.fpr,
        pixel_fpr=rates.pixel_fpr,
        about={"dataset": dataset.name, "data": dataset.uri, **weights_record([decision] if decision else [])},
    )
    return fit_winner(winner, split_runner(champion_split(chosen), Store(home() / "store")))


def evaluate(model: Any, data: str | Dataset, *, category: str | None = None) -> dict[str, float]:
    """Metrics of a model on test images.

    Args:
        model: of `fit`, `subband.load`, or what `subband.load` opens: a folder or a ``models:/`` URI.
        data: dataset URI, or an open dataset.
        category: whose test images; by default the one that a detector was fitted to.

    Returns:
        Of a detector, image and pixel metrics of all labelled test images (those that are undefined are left out); of a trained
        model, the metrics of its task, with ``NAME.`` in front where there are several test sets.

    Raises:
        ModelError: no usable model is there.
        ParamsError: no such category.
        DataError: there are no test images.
    """
    model = model if isinstance(model, Deployable) else load(model)
    dataset = _opened(data)
    if is_trained(model.method):
        return _evaluate_trained(model, dataset)
    if not isinstance(model, Detector):
        raise ModelError(f"a model for {model.task} cannot be evaluated here; jobs/validate.py may")
    found = category_as_taught(_category(dataset, category or _fitted_to(model, dataset)), model.reading)
    scorer = Scorer(everything_reports(found))
    maps, scores = model.score(load_images([sample.image for sample in found.test], model.preprocess))
    return scorer.judge(maps, scores, model.preprocess)[0]


def sweep(
    method: str,
    data: str | None = None,
    *,
    say: Say = quiet,
    watch: Callable[[Any, int], None] = lambda record, expected: None,
    **given: Any,
) -> SweepResult:
    """Search a method's params on data, refit the winner, and register it; all is kept as the sweep job keeps it.

    Args:
        method: a name of `subband.list_methods`.
        data: dataset URI; by default embedded data.
        say: called with one line for the user at every step.
        watch: called with every ended trial, and the number of trials that are expected.
        given: settings of the job (``trials``, ``objective``, ``selection``, ``minutes``, ...; see `SweepSettings`), and params: a
            value fixes one, a list of values is searched.

    Returns:
        The ranked trials (``ranked``), the best (``best``), and the champions by category.

    Raises:
        ParamsError: no such method, setting or param, or an illegal value.
        DataError: the data cannot be used with this selection.

    Example:
        >>> subband.sweep("wepadim", "folder:/data/bottles", trials=50).best.params  # doctest: +SKIP
    """
    from subband.tuning.plan import make_plan
    from subband.tuning.settings import SweepSettings, default_settings
    from subband.tuning.sweep import run_sweep

    space, fields = space_of(method), get_method(method).params_type.model_fields
    if unknown := [name for name in given if name not in SweepSettings.model_fields and name not in fields]:
        legal = [*SweepSettings.model_fields, *fields]
        raise ParamsError(f"{method}: {unknown_name('setting or parameter', unknown[0], legal)}")
    values = {name: value for name, value in given.items() if name in SweepSettings.model_fields}
    if data is not None:
        values["data"] = data
    if isinstance(values.get("objective"), str):
        values["objective"] = (values["objective"],)
    defaults = default_settings(method)
    settings = validated(SweepSettings, {"data": defaults.data, "objective": defaults.objective, **values}, "settings")
    settings.model_fields_set.intersection_update(values)
    axes = {name: _values(value) for name, value in given.items() if name not in SweepSettings.model_fields}
    return run_sweep(make_plan(space, axes, settings), watch, say)


def _values(given: Any) -> tuple[Any, ...]:
    return tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)


def _opened(data: str | Dataset) -> Dataset:
    return open_dataset(data) if isinstance(data, str) else data


def _category(dataset: Dataset, name: str | None) -> Category:
    if name is None and len(dataset.categories) > 1:
        raise ParamsError(
            f"{dataset.uri} has {len(dataset.categories)} categories, and a detector belongs to one: give category="
            f"{' or '.join(repr(each) for each in dataset.categories[:3])}{', ...' if len(dataset.categories) > 3 else ''}"
        )
    return dataset.category(name or dataset.categories[0])


def _fitted_to(model: Detector, dataset: Dataset) -> str | None:
    name = model.about.get("category")
    return name if name in dataset.categories else None


def _train(method: TrainedMethod, dataset: Dataset, recipe: str | None, values: dict[str, Any], say: Say) -> Deployable:
    given = {**({} if recipe is None else {"validate_from": 1, **recipe_params(method, recipe)}), **values}
    given, decision = settled_for_job(method, given, embedded=is_embedded(dataset.uri))
    if decision is not None:
        say(str(decision))
    params: TrainingParams = settled_params(method, make_params(method, given), dataset)
    examples = method.examples(params, dataset)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training = Training(method, params, examples, WorkerContext(device=device))
    for epoch in training.run():
        say(f"epoch {epoch.number}/{params.epochs}: " + ", ".join(f"{k} {v:.4g}" for k, v in epoch.metrics.items()))
        if epoch.diverged:
            raise ModelError(f"the training diverged: {epoch.stop}")
    network = training.use_best().cpu()
    return finished(
        method, params, network, training.history, examples, weights_record([decision] if decision else []), dataset
    )


def _evaluate_trained(model: Any, dataset: Dataset) -> dict[str, float]:
    method = trained_method(model.method)
    examples = method.examples(model.params, dataset)
    training = Training(method, without_fetching(model.params), examples)
    training.model.load_state_dict(model.network.state_dict())
    training.average = None
    tests = examples.tests or {"validation": examples.validation}
    found = {name: training.evaluate(part) for name, part in tests.items()}
    if len(found) == 1:
        return next(iter(found.values()))
    return {f"{name}.{key}": value for name, metrics in found.items() for key, value in metrics.items()}
