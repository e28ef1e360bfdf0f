"""Settings that several jobs have, declared once; a job's own settings add to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from subband.errors import ParamsError
from subband.home import home
from subband.stages import DEFAULT_BUDGET_GB

Settings = TypeVar("Settings", bound=BaseModel)

RENAMED = {"register_champion": "register_model"}
"""Names of version 0.1, which saved settings still have."""

FLAGS = {"register_model": "register"}
"""Flags that have another name than their field: a pydantic field cannot be called ``register``."""


class RunSettings(BaseModel):
    """What every job that works on a dataset and logs a run may be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = Field(
        "photos:",
        description="Dataset URI: photos: (embedded), folder:PATH, table:FILE, mvtec:PATH, visa:PATH, synthetic: (embedded); add "
        "?categories=a,b for some categories only.",
    )
    check: Literal["headers", "full"] = Field(
        "headers",
        description="Checks before the start. headers: every file's header and content digest. full: every image is "
        "decoded too, so that none can fail hours later.",
    )
    name: str | None = Field(
        None, description="Name of the results' folder and of the MLflow run; by default made from method and time."
    )
    tracking_uri: str | None = Field(None, description="MLflow tracking URI; by default sqlite in HOME.")
    experiment: str | None = Field(None, description="MLflow experiment; by default METHOD/DATASET.")
    smoke: bool = Field(False, description="A tiny run that goes through every step in seconds.")

    @model_validator(mode="before")
    @classmethod
    def _old_names(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {RENAMED.get(name, name): value for name, value in values.items()}


class StoreSettings(BaseModel):
    """Where stages are shared."""

    store: Path | None = Field(None, description="Folder of the stage store, on every node; by default HOME/store.")
    store_gb: float = Field(
        DEFAULT_BUDGET_GB, gt=0, description="Size of the store, GB, beyond which old stages are removed."
    )

    @property
    def store_folder(self) -> Path:
        """Where stages lie on every node; absolute, because workers may have another current folder."""
        return (self.store or home() / "store").expanduser().absolute()


class WorkerSettings(BaseModel):
    """The Ray Train workers of one training or fit."""

    workers: int = Field(1, ge=1, description="Ray Train workers that share every batch; one runs without a group.")
    device: Literal["auto", "gpu", "cpu"] = Field(
        "auto", description="gpu: one for each worker. auto: that, where the cluster has enough."
    )
    cpus_per_worker: int | None = Field(
        None, ge=1, description="CPUs of each worker; by default they share those of the cluster."
    )
    max_failures: int = Field(
        2, ge=0, description="How often workers that died are started again, from the last checkpoint if there is one."
    )


class RegisterSettings(BaseModel):
    """Whether the result may be served."""

    register_model: bool = Field(
        True, description="Register the model in MLflow as champion, so that it is served; --no-register only saves it."
    )


def resumed_settings(
    given: Settings, kept: Settings, changeable: Collection[str], what: str, others: Iterable[str] = ()
) -> Settings:
    """The settings of what is resumed: its own, but for budgets, places and other things that may be given anew.

    Args:
        given: by the user; only what was really given (``model_fields_set``) counts.
        kept: that it was started with.
        changeable: names of settings that may be given anew.
        what: what is resumed ("sweep bottle-1"), for the message.
        others: names of params that were given another value, which is refused too.

    Raises:
        ParamsError: something else was given, which would be ignored.
    """
    changed = {name: value for name in given.model_fields_set if (value := getattr(given, name)) != getattr(kept, name)}
    refuse_changes([*(set(changed) - set(changeable)), *others], what)
    return kept.model_copy(update=changed)


def refuse_changes(names: Iterable[str], what: str, instead: str = "") -> None:
    """Refuse flags that a resumed job cannot follow.

    Raises:
        ParamsError: there is one.
    """
    if flags := ", ".join("--" + FLAGS.get(name, name).replace("_", "-") for name in sorted(names)):
        kind = what.split()[0]
        raise ParamsError(
            f"{flags} cannot be changed when resuming {what}: leave it out, or start a new {kind}{instead}"
        )
