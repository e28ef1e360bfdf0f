"""The one builder of command-line flags: from a job's settings model and, where there is one, a method's params."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Optional, TypeVar

import tyro
from pydantic import BaseModel, Field, create_model

from subband.runs.settings import FLAGS
from subband.validating import validated

Settings = TypeVar("Settings", bound=BaseModel)

RENAMED = {
    "register-champion": "register",
    "register-model": "register",
    "pictures": "images",
    "max-pictures": "max-images",
}
"""Flags of version 0.1, which 0.2 accepts with a warning."""


@dataclass(frozen=True)
class ParamFlags:
    """Flags of a method's params; one that is left out keeps the param's default.

    Attributes:
        method: name of the method, for the help.
        model: its params.
        several: whether a flag takes any number of values instead of one.
        meaning: what values do, for the help.
    """

    method: str
    model: type[BaseModel]
    several: bool = False
    meaning: str = ""


def parse_flags(
    settings: type[Settings],
    description: str,
    argv: Sequence[str] | None = None,
    *,
    params: ParamFlags | None = None,
    defaults: Mapping[str, Any] | None = None,
    hidden: Collection[str] = (),
    kinds: Mapping[str, Any] | None = None,
    positional: Collection[str] = (),
    more_help: Mapping[str, str] | None = None,
) -> tuple[Settings, dict[str, Any]]:
    """Settings and params from the command line.

    Args:
        settings: its fields are the flags.
        description: the job's docstring, shown by ``--help``.
        argv: arguments; by default those of the process.
        params: whose fields are flags too; those that the settings have are left out.
        defaults: settings of this job that differ from the model's defaults.
        hidden: settings that are no flags here.
        kinds: types of settings that take fewer values here.
        positional: settings that are written without their flag.
        more_help: text behind the description of a setting.

    Returns:
        The settings, of which those that were given are ``model_fields_set``; and by name the params that were given.

    Raises:
        ParamsError: an illegal setting; the message names its field and what would be right. Params are checked by `make_params`,
            which knows the values that they are combined with.
        SystemExit: after ``--help``, or for a flag that does not exist or a value that is not of its type.
    """
    given = renamed(sys.argv[1:] if argv is None else argv)
    defaults, more_help, kinds = defaults or {}, more_help or {}, kinds or {}
    # The bare types: ranges are checked by the models themselves, whose messages name the field.
    fields: dict[str, Any] = {
        name: (
            _kind(name, kinds.get(name, field.annotation), name in positional),
            Field(
                defaults.get(name, ... if field.is_required() else field.get_default()),
                description=" ".join(filter(None, (field.description, more_help.get(name)))),
            ),
        )
        for name, field in settings.model_fields.items()
        if name not in hidden
    }
    models = [_model("Settings", "Settings of this job.", fields)]
    if params is not None:
        taken = settings.model_fields
        flags = {name: _param(field, params.several) for name, field in params.model.model_fields.items()}
        flags = {name: flag for name, flag in flags.items() if name not in taken}
        models.append(_model("Params", f"Params of {params.method}{params.meaning}.", flags))
    found, *values = _parsed(models, description, given, params.method if params and not params.several else "")
    # tyro makes a flag of a bool only where it has a default, so no value can stand for "not given": the words say it.
    words = {word[2:].partition("=")[0].replace("-", "_") for word in given if word.startswith("--")}
    said = {
        name
        for name, value in found.items()
        if words & {flag := FLAGS.get(name, name), f"no_{flag}"}
        or (name in positional and value != fields[name][1].default)
    }
    checked = validated(settings, {**defaults, **{name: found[name] for name in said}}, "settings")
    checked.model_fields_set.intersection_update(said)
    return checked, {name: value for name, value in (values[0] if values else {}).items() if value not in (None, ())}


def renamed(argv: Sequence[str]) -> list[str]:
    """Arguments with the names that flags have now; a warning names those that were renamed."""
    words = []
    for word in argv:
        flag, equals, value = word.partition("=")
        no = "no-" if flag.startswith("--no-") else ""
        now = RENAMED.get(flag[2 + len(no) :]) if flag.startswith("--") else None
        if now is not None:
            sys.stderr.write(f"warning: {flag} is now --{no}{now}; the old name goes with the next version\n")
            word = f"--{no}{now}{equals}{value}"
        words.append(word)
    return words


def _model(name: str, about: str, fields: dict[str, Any]) -> Any:
    model = create_model(name, **fields)
    model.__doc__ = about
    return model


def _kind(name: str, annotation: Any, positional: bool) -> Any:
    if positional:
        return Annotated[annotation, tyro.conf.Positional]
    return Annotated[annotation, tyro.conf.arg(name=FLAGS[name])] if name in FLAGS else annotation


def _param(field: Any, several: bool) -> Any:
    """Type and default of a param's flag; its help shows the param's own default."""
    shown = tyro.conf.arg(help_behavior_hint=f"(default: {'none' if field.default is None else field.default})")
    kind: Any = tuple.__class_getitem__((field.annotation, ...)) if several else Optional.__getitem__(field.annotation)
    return Annotated[kind, shown], Field(() if several else None, description=field.description)


def _parsed(models: Sequence[Any], description: str, argv: Sequence[str], behind: str) -> list[dict[str, Any]]:
    flat: Any = tyro.conf.OmitArgPrefixes

    def one(settings: Any) -> tuple[Any, ...]:
        return (settings,)

    def two(settings: Any, params: Any) -> tuple[Any, ...]:
        return settings, params

    called = one if len(models) == 1 else two
    called.__annotations__ = {name: flat[model] for name, model in zip(("settings", "params"), models, strict=False)}
    parsed: tuple[Any, ...] = tyro.cli(
        called,
        prog=" ".join(filter(None, (sys.argv[0].rsplit("/", 1)[-1], behind))),
        description=description,
        args=argv,
        config=(tyro.conf.HelptextFromCommentsOff,),
    )
    return [each.model_dump() for each in parsed]
