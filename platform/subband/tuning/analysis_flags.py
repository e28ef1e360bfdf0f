"""Command-line flags of the analysis jobs, made from their settings models and, for one of them, from a method's params."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import tyro
from pydantic import Field, create_model

from subband.analysis.settings import AnalysisSettings
from subband.methods import get_method, list_staged_methods
from subband.methods.registry import validated
from subband.tuning.flags import several

Settings = TypeVar("Settings", bound=AnalysisSettings)
_OF_A_METHOD = ("method", "axes")


def parse_settings(
    settings_type: type[Settings],
    description: str,
    argv: Sequence[str] | None,
    positional: Sequence[str] = (),
    method: str | None = None,
) -> Settings:
    """Settings from the command line.

    Args:
        settings_type: its fields are the flags.
        description: the job's docstring.
        argv: arguments; by default those of the process.
        positional: names of the settings that are written without their flag.
        method: given for a settings type with the fields ``method`` and ``axes``: the first argument names the method (this
            one if it is left out), and its params are flags that take any number of values.

    Raises:
        ParamsError: an illegal setting; the message names its field and what would be right.
        SystemExit: after ``--help``, or for a flag that does not exist or a value that is not of its type.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if method is None:
        (given,) = _cli([_settings_model(settings_type, positional)], description, arguments)
        return _checked(settings_type, given.model_dump())
    if arguments and not arguments[0].startswith("-"):
        method = arguments.pop(0)
    description += (
        f"\n\nMethods, named first: {', '.join(list_staged_methods())}. The flags below are those of {method}."
    )
    models = [_settings_model(settings_type, positional), _params_model(method)]
    given, axes = _cli(models, description, arguments)
    values = {name: tuple(several) for name, several in axes.model_dump().items() if several}
    return _checked(settings_type, {**given.model_dump(), "method": method, "axes": values})


def _checked(settings_type: type[Settings], values: dict[str, Any]) -> Settings:
    settings: Settings = validated(settings_type, values, "settings")
    return settings


def _settings_model(settings_type: type[AnalysisSettings], positional: Sequence[str]) -> Any:
    fields: dict[str, Any] = {}
    for name, field in settings_type.model_fields.items():
        if name not in _OF_A_METHOD:
            # The bare type: ranges are checked by the settings model, whose message names the field.
            kind: Any = Annotated[field.annotation, tyro.conf.Positional] if name in positional else field.annotation
            fields[name] = (kind, Field(field.get_default(), description=field.description))
    model = create_model("Settings", **fields)
    model.__doc__ = "Settings of the analysis."
    return model


def _params_model(method: str) -> Any:
    fields: dict[str, Any] = {
        name: (several(field), Field((), description=field.description))
        for name, field in get_method(method).params_type.model_fields.items()
    }
    model = create_model("Params", **fields)
    model.__doc__ = f"Params of {method}: one value fixes a param, several values of one param are compared."
    return model


def _cli(models: Sequence[Any], description: str, arguments: Sequence[str]) -> tuple[Any, ...]:
    flat: Any = tyro.conf.OmitArgPrefixes

    def one(settings: Any) -> tuple[Any, ...]:
        return (settings,)

    def two(settings: Any, params: Any) -> tuple[Any, ...]:
        return settings, params

    called = one if len(models) == 1 else two
    called.__annotations__ = {name: flat[model] for name, model in zip(("settings", "params"), models, strict=False)}
    parsed: tuple[Any, ...] = tyro.cli(
        called,
        prog=sys.argv[0].rsplit("/", 1)[-1],
        description=description,
        args=arguments,
        config=(tyro.conf.HelptextFromCommentsOff,),
    )
    return parsed
