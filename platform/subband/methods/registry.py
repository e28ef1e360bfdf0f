"""The one registry of methods: adding a method adds one line here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, cast

from subband.errors import ParamsError, unknown_name
from subband.methods.base import Method, StagedMethod
from subband.nn.backbones import RESTORING
from subband.validating import validated

if TYPE_CHECKING:
    from subband.methods.trained_base import TrainedMethod

_METHODS = {
    "patchcore": "subband.methods.patchcore.method:PATCHCORE",
    "wedgenet": "subband.methods.wedgenet.method:WEDGENET",
    "wepadim": "subband.methods.wepadim:WEPADIM",
    "wsfvit": "subband.methods.wsfvit.classification:WSFVIT",
    "wpformer": "subband.methods.wpformer.method:WPFORMER",
    "wsfvit-video": "subband.methods.wsfvit_video.method:WSFVIT_VIDEO",
    "wsfvit-detection": "subband.methods.wsfvit_detection.method:WSFVIT_DETECTION",
}


def list_methods() -> tuple[str, ...]:
    """Names of every method, sorted."""
    return tuple(sorted(_METHODS))


def list_staged_methods() -> tuple[str, ...]:
    """Names of the methods that are fitted stage by stage, sorted."""
    return tuple(name for name in list_methods() if not is_trained(name))


def get_method(name: str) -> Method:
    """The method of that name.

    Raises:
        ParamsError: no such method; near matches are given.
    """
    if name not in _METHODS:
        raise ParamsError(unknown_name("method", name, list_methods()))
    module, attribute = _METHODS[name].split(":")
    return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]


def is_trained(name: str) -> bool:
    """Whether the method of that name is trained, instead of fitted stage by stage.

    Raises:
        ParamsError: no such method; near matches are given.
    """
    return hasattr(get_method(name), "loss")


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
