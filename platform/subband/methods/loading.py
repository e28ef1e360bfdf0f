"""Load a model from a folder or from the model registry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from subband.data.reading import reading_rule
from subband.errors import ModelError, ParamsError, unknown_name
from subband.home import home
from subband.methods.deployable import Deployable, read_description, read_tensors
from subband.methods.registry import get_method, list_methods, make_params
from subband.methods.trained_base import ImportsCheckpoint


def load(path_or_uri: str | Path, tracking_uri: str | None = None) -> Any:
    """A saved model, in eval mode on the CPU: a `Deployable` of the kind that its method makes.

    Args:
        path_or_uri: a folder written by `Deployable.save`, or an MLflow URI such as ``models:/NAME@champion``.
        tracking_uri: the registry of an MLflow URI; by default MLFLOW_TRACKING_URI, else the sqlite database in `home`.

    Raises:
        ModelError: nothing usable there; the message says what is missing.
        TrackingError: the registry cannot be reached or has no such model.
    """
    text = str(path_or_uri)
    if text.startswith(("models:/", "runs:/")):
        from subband.tracking import download_model, resolve_tracking  # MLflow is only needed for registry URIs

        folder = download_model(text, resolve_tracking(tracking_uri, home()))
    else:
        folder = Path(text)
    description = read_description(folder)
    method = get_method(description["method"])
    params = make_params(method, description["params"], restoring=True)
    model = method.restore(params, read_tensors(folder), description).eval()
    try:
        model.reading = reading_rule(description.get("reading"))
    except ParamsError as error:
        raise ModelError(f"the description of the model in {folder} is damaged: {error}") from error
    return model


def adopt(path: Path, recipe: str | None = None, values: Mapping[str, Any] | None = None) -> Deployable:
    """The model of a checkpoint file that a method's authors published, in eval mode on the CPU.

    Args:
        path: the file, of any method that adopts such.
        recipe: named params of its method, for what the file does not tell.
        values: further params, which win over the recipe's; only methods that have them all are tried.

    Raises:
        ModelError: no method knows the file; the message has each one's reason.
        ParamsError: no method has such a recipe or such params.
    """
    methods = [method for method in map(get_method, list_methods()) if isinstance(method, ImportsCheckpoint)]
    known = sorted({name for method in methods for name in method.recipes})
    if recipe is not None and recipe not in known:
        raise ParamsError(unknown_name("recipe", recipe, known))
    given = dict(values or {})
    methods = [method for method in methods if given.keys() <= method.params_type.model_fields.keys()]
    if not methods:
        raise ParamsError(f"no method whose checkpoints were published has the params {', '.join(given)}")
    reasons = []
    for method in methods:
        if recipe is None or recipe in method.recipes:
            try:
                return method.adopt(path, {**(method.recipes[recipe] if recipe else {}), **given}).eval()
            except ModelError as error:
                reasons.append(str(error))
    raise ModelError("; ".join(reasons))
