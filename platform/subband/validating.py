"""Pydantic models made from plain values, with errors that a person can act on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from subband.errors import ParamsError, unknown_name

Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], values: Mapping[str, Any], prefix: str, context: Any = None) -> Model:
    """`model` made from plain values.

    Args:
        model: a pydantic model.
        values: by field; the others keep their defaults.
        prefix: what the fields belong to, for messages: a method's name, or ``settings``.
        context: of the model's validators.

    Raises:
        ParamsError: one line a wrong field, as ``prefix.field: what is wrong``; unknown fields get near matches.
    """
    unknown = [name for name in values if name not in model.model_fields]
    if unknown:
        raise ParamsError(f"{prefix}: {unknown_name('parameter', unknown[0], model.model_fields)}")
    try:
        return model.model_validate(dict(values), context=context)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            field = ".".join(str(part) for part in problem["loc"][:1])
            reason = problem["msg"].removeprefix("Value error, ")
            given = "" if not field or repr(problem["input"]) in reason else f" (given: {problem['input']!r})"
            line = f"{prefix}.{field}: {reason}{given}" if field else f"{prefix}: {reason}"
            if line not in lines:
                lines.append(line)
        raise ParamsError("\n".join(lines)) from error
