"""What a person chooses about a training beside the method's params."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TrainSettings(BaseModel):
    """Settings of one training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str | None = Field(None, description="Dataset URI; by default the method's embedded data.")
    check: Literal["headers", "full"] = Field(
        "headers",
        description="What is checked before the start. headers: every file's header and content digest. full: every image is "
        "decoded too, so that none can fail hours later.",
    )
    recipe: str | None = Field(None, description="A named preset of params; params given beside it win.")
    workers: int = Field(1, ge=1, description="Ray Train workers that share every batch.")
    device: Literal["auto", "gpu", "cpu"] = Field(
        "auto", description="gpu: one for each worker. auto: that, where the cluster has enough."
    )
    cpus_per_worker: int | None = Field(
        None, ge=1, description="Processors of each worker; by default they share those of the cluster."
    )
    loaders: int | None = Field(
        None,
        ge=0,
        description="Processes of each worker that prepare examples; by default none on CPUs, 4 beside a GPU.",
    )
    max_failures: int = Field(
        2, ge=0, description="How often workers that died are started again from the last checkpoint."
    )
    name: str | None = Field(
        None, description="Name of the training's folder and MLflow run; by default made from method and time."
    )
    resume: str | None = Field(None, description="Continue an interrupted training: its name, or 'last'.")
    tracking_uri: str | None = Field(None, description="MLflow tracking URI; by default sqlite in HOME.")
    experiment: str | None = Field(None, description="MLflow experiment; by default METHOD/DATASET.")
    register_model: bool = Field(True, description="Register the trained model in MLflow, so that it is served.")
    smoke: bool = Field(False, description="A tiny training that goes through every step in a minute.")
