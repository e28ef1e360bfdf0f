"""The two faithful modes that every published method has, as a base of its params."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, model_validator


class FaithfulModes(BaseModel):
    """Params of which `mode` chooses the defaults; a field given explicitly wins over the mode.

    Attributes:
        reference: values of the fields in which the published code has its own behaviour.
        corrected: their values with the defects mended.
    """

    reference: ClassVar[Mapping[str, Any]] = {}
    corrected: ClassVar[Mapping[str, Any]] = {}

    mode: Literal["corrected", "reference"] = Field(
        "corrected",
        description="corrected: the published method with its defects mended. reference: the published code's behaviour, "
        "warts included.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_mode(cls, values: Any) -> Any:
        if isinstance(values, dict):
            defaults = cls.reference if values.get("mode") == "reference" else cls.corrected
            return {**defaults, **values}
        return values
