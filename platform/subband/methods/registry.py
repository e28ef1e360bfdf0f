"""The one registry of methods: a built-in method has one line here, one of another package an entry point there."""

from __future__ import annotations

import functools
import importlib
import logging
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from subband.errors import ParamsError, unknown_name
from subband.methods.base import Method, StagedMethod
from subband.nn.backbones import RESTORING
from subband.validating import validated

if TYPE_CHECKING:
    from subband.methods.trained_base import TrainedMethod
    from subband.spaces import Space

FIRST = "wepadim"
"""The method that a newcomer is led to."""

GROUP = "subband.methods"
"""Group of the entry points by which other packages add methods."""

_STAGED_INTERFACE = ("name", "params_type", "preprocess", "chain", "build", "fit_inputs", "fit", "restore")
_TRAINED_INTERFACE = (
    "name",
    "params_type",
    "recipes",
    "chosen_by",
    "embedded",
    "examples",
    "model",
    "loss",
    "evaluate",
    "finish",
    "restore",
)
_log = logging.getLogger(__name__)

# Two tables, so that the kind of a method is known without importing it: it may need an extra that is not installed.
_STAGED = {
    "patchcore": "subband.methods.patchcore.method:PATCHCORE",
    "wedgenet": "subband.methods.wedgenet.method:WEDGENET",
    "wepadim": "subband.methods.wepadim.method:WEPADIM",
}
_TRAINED = {
    "wsfvit": "subband.methods.wsfvit.classify.method:WSFVIT",
    "wpformer": "subband.methods.wpformer.method:WPFORMER",
    "wsfvit-video": "subband.methods.wsfvit.video.method:WSFVIT_VIDEO",
    "wsfvit-detection": "subband.methods.wsfvit.detect.method:WSFVIT_DETECTION",
}
_METHODS = _STAGED | _TRAINED


@functools.cache
def third_party() -> dict[str, EntryPoint]:
    """Methods of other packages, by name: entry points of the group ``subband.methods``.

    One whose name is taken, and one that does not load or is no method, is left out with a warning that names it; the others work.
    """
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        owner = entry_owner(entry)
        taken = "subband" if entry.name in _METHODS else entry_owner(found.get(entry.name))
        if taken:
            _log.warning("the method %r of %s is not used: %s has one of that name", entry.name, owner, taken)
            continue
        try:
            check_method(entry.name, entry.load())
        except Exception as error:  # whatever another package raises when it is imported
            _log.warning("the method %r of %s is not used: %s: %s", entry.name, owner, type(error).__name__, error)
            continue
        found[entry.name] = entry
    return found


def entry_owner(entry: EntryPoint | None) -> str:
    """The package that an entry point belongs to; empty for none."""
    if entry is None:
        return ""
    return entry.dist.name if entry.dist else entry.value


def check_method(name: str, method: Any) -> None:
    """Refuse what does not have the interface of a `StagedMethod` or `TrainedMethod`.

    Raises:
        ParamsError: the message says what is missing; whether it behaves is for `subband.testing` to say.
    """
    needed = _TRAINED_INTERFACE if hasattr(method, "loss") else _STAGED_INTERFACE
    if missing := [attribute for attribute in needed if not hasattr(method, attribute)]:
        raise ParamsError(f"{type(method).__name__} lacks {', '.join(missing)}")
    if method.name != name:
        raise ParamsError(f"its name is {method.name!r}, but it is registered as {name!r}")
    if not (isinstance(method.params_type, type) and issubclass(method.params_type, BaseModel)):
        raise ParamsError("params_type is not a pydantic model")


def list_methods() -> tuple[str, ...]:
    """Names of every method, sorted; those of other packages too."""
    return tuple(sorted({*_METHODS, *third_party()}))


def list_staged_methods() -> tuple[str, ...]:
    """Names of the methods that are fitted stage by stage, sorted."""
    return tuple(name for name in list_methods() if not is_trained(name))


def get_method(name: str) -> Method:
    """The method of that name.

    Raises:
        ParamsError: no such method; near matches are given.
    """
    if name in _METHODS:
        module, attribute = _METHODS[name].split(":")
        return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]
    if name in third_party():
        return third_party()[name].load()  # type: ignore[no-any-return]
    raise ParamsError(unknown_name("method", name, list_methods()))


def space_of(name: str) -> Space:
    """The search space of a method: ``SPACE`` in the module ``space`` beside the method's own.

    Raises:
        ParamsError: no such method, or one that nobody has written a space for.
    """
    get_method(name)
    place = _METHODS[name] if name in _METHODS else third_party()[name].value
    parent, _, _ = place.split(":")[0].rpartition(".")
    module = f"{parent}.space" if parent else "space"
    try:
        space: Space = importlib.import_module(module).SPACE
    except ModuleNotFoundError as error:
        if error.name not in (module, parent):
            raise
        raise ParamsError(f"{name} has no search space (there is no module {module}): fit or train it") from None
    return space


def is_trained(name: str) -> bool:
    """Whether the method of that name is trained, instead of fitted stage by stage.

    Raises:
        ParamsError: no such method; near matches are given.
    """
    return name in _TRAINED or (name not in _STAGED and hasattr(get_method(name), "loss"))


def staged_method(name: str) -> StagedMethod:
    """The method of that name, which is made of stages.

    Raises:
        ParamsError: no such method, or one that is trained.
    """
    method = get_method(name)
    if is_trained(name):
        raise ParamsError(
            f"{name} is trained, not fitted stage by stage: use jobs/train.py, and its folder as a detector"
        )
    return cast("StagedMethod", method)


def trained_method(name: str) -> TrainedMethod:
    """The method of that name, which is trained.

    Raises:
        ParamsError: no such method, or one without training.
    """
    method = get_method(name)
    if not is_trained(name):
        raise ParamsError(f"{name} has no weights to train: it is fitted stage by stage")
    return cast("TrainedMethod", method)


def make_params(method: Method, values: dict[str, Any], restoring: bool = False) -> Any:
    """Validated params of a method from plain values.

    Args:
        method: whose params they are.
        values: by field; the others keep their defaults.
        restoring: whether they come with a saved detector, so that what only fitting reads need not be there.

    Raises:
        ParamsError: names every wrong field as ``method.field`` with what would be right; unknown fields get near matches.
    """
    return validated(method.params_type, values, method.name, RESTORING if restoring else None)
