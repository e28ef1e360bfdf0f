"""Command-line flags of a job that trains or fits one method: its settings, and the method's params, one value each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any, Optional, TypeVar

import tyro
from pydantic import BaseModel, Field, create_model

from subband.methods import get_method
from subband.methods.registry import validated

Settings = TypeVar("Settings", bound=BaseModel)


def parse_flags(
    method: str, settings_type: type[Settings], description: str, argv: Sequence[str]
) -> tuple[Settings, dict[str, Any]]:
    """Settings and params from the command line.

    Args:
        method: name in the registry; every param of it is a flag.
        settings_type: the job's own settings.
        description: shown by ``--help``.
        argv: arguments behind the method's name.

    Returns:
        The settings, of which those that were given are the model's ``model_fields_set``, and the params that were given.

    Raises:
        ParamsError: an illegal setting, or no such method. The params' ranges are checked by `make_params`.
        SystemExit: after ``--help``, or for a flag that does not exist or a value that is not of its type.
    """
    params: Any = create_model(  # type: ignore[call-overload]
        "Params",
        **{
            name: (_optional(field), Field(None, description=field.description))
            for name, field in get_method(method).params_type.model_fields.items()
        },
    )
    params.__doc__ = f"Params of {method}."
    settings: Any = create_model(  # type: ignore[call-overload]
        "Settings",
        **{
            # The bare type: ranges are checked by the settings model, whose message names the field.
            name: (field.annotation, Field(field.get_default(), description=field.description))
            for name, field in settings_type.model_fields.items()
        },
    )
    settings.__doc__ = "Settings."

    def command(settings: Any, params: Any) -> tuple[Any, Any]:
        return settings, params

    flat: Any = tyro.conf.OmitArgPrefixes
    command.__annotations__ = {"settings": flat[settings], "params": flat[params]}
    given, values = tyro.cli(
        command,
        prog=f"{sys.argv[0].rsplit('/', 1)[-1]} {method}",
        description=description,
        args=argv,
        config=(tyro.conf.HelptextFromCommentsOff,),
    )
    # tyro makes a flag of a bool only where it has a default, so no value can stand for "not given": the words say it.
    words = {word[2:].partition("=")[0].replace("-", "_") for word in argv if word.startswith("--")}
    said = {name: value for name, value in given.model_dump().items() if words & {name, f"no_{name}"}}
    checked = validated(settings_type, said, "settings")
    return checked, {name: value for name, value in values.model_dump().items() if value is not None}


def _optional(field: Any) -> Any:
    """Type of a flag that may be left out; its help shows the param's own default."""
    default = str(field.default) if field.default is not None else "none"
    optional: Any = Optional.__getitem__(field.annotation)
    return Annotated[optional, tyro.conf.arg(help_behavior_hint=f"(default: {default})")]
