"""Params that every trained method shares: what the training loop itself reads."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from subband.errors import ParamsError


class TrainingParams(BaseModel):
    """Base of the params of methods that the training loop trains."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(
        0,
        ge=0,
        lt=2**63,
        description="Seed of the starting weights, of the order of the data and of what is drawn for it.",
    )
    epochs: int = Field(50, ge=1, description="Passes over the training examples; the schedule ends with the last.")
    batch: int = Field(
        8, ge=1, description="Examples of one update, over all workers and accumulated micro-batches together."
    )
    accumulation: int = Field(1, ge=1, description="Micro-batches whose gradients are added up for one update.")
    lr: float = Field(1e-4, gt=0, allow_inf_nan=False, description="Learning rate at its highest.")
    clip: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Gradient norm above which gradients are scaled down before an update; 0: no clipping.",
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32",
        description="Autocast precision; weights stay float32, and float16 scales the loss.",
    )
    ema: float = Field(
        0.0, ge=0, lt=1, description="Decay of the moving average of the weights that is evaluated and kept; 0 is none."
    )
    gradient_checkpointing: bool = Field(
        False, description="Compute activations again in the backward pass, for less memory."
    )
    compile: bool = Field(False, description="Compile the network with torch.compile.")
    patience: int = Field(
        0, ge=0, description="Stop after this many evaluations without a better one; 0 trains all epochs."
    )
    validate_from: int = Field(1, ge=1, description="First epoch that is evaluated, from 1; the last one always is.")

    @property
    def mixes_pairs(self) -> bool:
        """Whether the loss mixes examples of a micro-batch in pairs, so that each worker's needs an even number."""
        return False

    @model_validator(mode="after")
    def _batch_divides(self) -> TrainingParams:
        if self.batch % self.accumulation:
            raise ParamsError(
                f"a batch of {self.batch} cannot be divided into {self.accumulation} equal micro-batches (accumulation)"
            )
        if self.validate_from > self.epochs:
            raise ParamsError(f"validate_from {self.validate_from} lies behind the last of {self.epochs} epochs")
        return self
