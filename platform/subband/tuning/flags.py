"""Command-line flags made from the params and settings models, so that nothing is declared twice."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import tyro
from pydantic import Field, create_model

from subband.methods import get_method
from subband.methods.registry import validated
from subband.tuning.settings import SweepSettings, default_settings
from subband.tuning.space import Space


def parse(
    space: Space, description: str, argv: Sequence[str] | None = None
) -> tuple[SweepSettings, dict[str, tuple[Any, ...]]]:
    """Settings and params from the command line.

    Every param of the method is a flag that takes any number of values: one fixes the param, several are searched.

    Args:
        space: what the job explores; its presets are listed in the help.
        description: the job's docstring.
        argv: arguments; by default those of the process.

    Returns:
        The settings, and by param name the values given (nothing where the flag was left out).

    Raises:
        ParamsError: an illegal setting; the message names its field and what would be right. The params' ranges are checked by
            `make_plan`, which knows the values they are combined with.
        SystemExit: after ``--help``, or for a flag that does not exist or a value that is not of its type.
    """
    params_model = get_method(space.method).params_type
    axes_model: Any = create_model(  # type: ignore[call-overload]
        "Params",
        **{
            name: (several(field), Field((), description=field.description))
            for name, field in params_model.model_fields.items()
            if name not in SweepSettings.model_fields  # the seed of a sweep is that of its trainings
        },
    )
    axes_model.__doc__ = f"Params of {space.method}: one value fixes a param, several values are searched."
    defaults = default_settings(space.method)
    settings_model: Any = create_model(  # type: ignore[call-overload]
        "Settings",
        **{
            name: (field.annotation, Field(getattr(defaults, name), description=field.description))
            for name, field in SweepSettings.model_fields.items()
        },
    )
    settings_model.__doc__ = "Settings of the sweep."
    presets = "\n".join(f"  {name}: {preset.about}" for name, preset in space.presets.items())

    def command(settings: Any, params: Any) -> tuple[Any, Any]:
        return settings, params

    flat: Any = tyro.conf.OmitArgPrefixes
    command.__annotations__ = {
        "settings": flat[settings_model],
        "params": flat[axes_model],
    }
    given, axes = tyro.cli(
        command,
        prog=sys.argv[0].rsplit("/", 1)[-1],
        description=f"{description}\n\nSearched by default: {space.about}.\n\nPresets:\n{presets}",
        args=argv,
        config=(tyro.conf.HelptextFromCommentsOff,),
    )
    settings = validated(SweepSettings, given.model_dump(), "settings")
    return settings, {name: tuple(values) for name, values in axes.model_dump().items() if values}


def several(field: Any) -> Any:
    """Type of a flag that takes any number of a param's values; its help shows the param's own default."""
    default = str(field.default) if field.default is not None else "none"
    # The bare type: ranges are checked by the params model, whose message names the field and not a Python location.
    several: Any = tuple.__class_getitem__((field.annotation, ...))
    return Annotated[several, tyro.conf.arg(help_behavior_hint=f"(default: {default})")]
