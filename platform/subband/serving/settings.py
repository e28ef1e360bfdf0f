"""Settings of the server: builder arguments, environment variables and flags are all made from this one model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from subband.data.decoding import pixel_limit
from subband.errors import ParamsError, unknown_name
from subband.home import home
from subband.tracking import resolve_tracking
from subband.validating import validated

PREFIX = "SUBBAND_SERVE_"
DEFAULT_NAME = "subband"


class ServeSettings(BaseModel):
    """What is served, and with which limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models_dir: Path | None = Field(
        None, description="Folder of saved detectors, one folder each; the folder's name is the model's name."
    )
    tracking_uri: str | None = Field(
        None,
        description="MLflow whose champions are served; by default MLFLOW_TRACKING_URI, else sqlite in HOME, "
        "else (where models_dir is given) none.",
    )
    keep: int = Field(
        8, ge=1, description="Detectors kept in the memory of a replica; the least recently used goes first."
    )
    refresh_seconds: float = Field(
        5.0, ge=0.1, le=3600, description="How often a replica looks for new champions and changed folders."
    )
    batch: int = Field(16, ge=1, le=512, description="Images scored at a time, at most.")
    max_body_mb: float = Field(64.0, gt=0, le=4096, description="Largest request body, MB.")
    max_images: int = Field(64, ge=1, le=1000, description="Most files of one form.")
    max_pixels: int | None = Field(
        None, ge=1, description="Largest image, width x height; by default SUBBAND_MAX_PIXELS, else 100 million."
    )
    replicas: int = Field(1, ge=1, description="Replicas; each loads its own detectors.")
    cpus: int = Field(1, ge=1, description="Processors, and torch threads, of each replica.")
    gpus: float = Field(0.0, ge=0, le=1, description="GPU of each replica, or a share of one.")

    @field_validator("models_dir")
    @classmethod
    def _is_a_folder(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        value = value.expanduser().absolute()
        if not value.is_dir():
            raise ParamsError(f"{value} is not a folder; give one that holds saved detectors")
        if (value / "model.json").is_file():
            raise ParamsError(f"{value} is itself a saved detector; give the folder around it, {value.parent}")
        return value


RENAMED = {"max_pictures": "max_images"}
"""Names of version 0.1, which arguments and environment variables may still have."""


def make_settings(values: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> ServeSettings:
    """Settings from builder arguments, and below them ``SUBBAND_SERVE_*``; what depends on this machine is decided here.

    Args:
        values: by field name.
        environment: environment variables, such as ``SUBBAND_SERVE_MODELS_DIR``.

    Returns:
        Settings whose `tracking_uri` is None only where no registry is served, and whose `max_pixels` is a number.

    Raises:
        ParamsError: an unknown or illegal setting; the message names it and what would be right.
        TrackingError: the tracking URI is malformed.
        DataError: ``SUBBAND_MAX_PIXELS`` is not a number.
    """
    given = {name: value for name, value in environment.items() if name.startswith(PREFIX) and value.strip()}
    legal = {PREFIX + name.upper(): name for name in ServeSettings.model_fields}
    legal |= {PREFIX + old.upper(): now for old, now in RENAMED.items() if PREFIX + old.upper() in given}
    values = {RENAMED.get(name, name): value for name, value in values.items()}
    for name in given:
        if name not in legal:
            raise ParamsError(unknown_name("environment variable of serve", name, legal))
    merged = {**{legal[name]: value for name, value in given.items()}, **values}
    settings: ServeSettings = validated(ServeSettings, merged, "serve")
    decided: dict[str, Any] = {"max_pixels": settings.max_pixels or pixel_limit()}
    if settings.tracking_uri or environment.get("MLFLOW_TRACKING_URI", "").strip() or settings.models_dir is None:
        decided["tracking_uri"] = resolve_tracking(settings.tracking_uri, home()).uri
    return settings.model_copy(update=decided)
