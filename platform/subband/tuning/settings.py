"""Settings of a sweep: everything but the method's own params."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from subband.champions.settings import ThresholdSettings
from subband.errors import ParamsError, unknown_name
from subband.methods import is_trained, trained_method
from subband.metrics import COSTS, METRICS, OBJECTIVES
from subband.runs.settings import RegisterSettings, RunSettings, StoreSettings

Search = Literal["tpe", "random", "gp", "nsga2", "qmc", "grid", "pbt"]


class SweepSettings(ThresholdSettings, RegisterSettings, StoreSettings, RunSettings):
    """What to sweep over, how to choose, and where results go."""

    preset: str | None = Field(None, description="An exact published grid instead of a search; see the list below.")
    search: Search = Field(
        "tpe",
        description="Who proposes trials: an Optuna sampler (tpe, gp, nsga2, qmc, random), or grid: every combination of the "
        "values given by the params flags.",
    )
    trials: int = Field(64, ge=1, description="Trials of a search; presets and grids bring their own number.")
    minutes: float | None = Field(
        None, gt=0, description="Time budget; the sweep stops proposing after it and reports what it has."
    )
    objective: tuple[str, ...] = Field(
        ("image_auroc",),
        min_length=1,
        description="What to optimise. The first is a metric and chooses the champion; with several there is a Pareto front. "
        f"Metrics: {', '.join(METRICS)}. Costs: {'; '.join(f'{name}: {OBJECTIVES[name].meaning}' for name in COSTS)}. While "
        "several workers run, latency_ms and fps are noisy: give --workers 1 to quote them.",
    )
    selection: Literal["auto", "test", "holdout", "synthetic"] = Field(
        "auto",
        description="Which labels choose the winner. holdout: half of the labelled test images choose, the other half report. "
        "synthetic: made-up defects on good images choose, no real defect is needed. test: the test labels choose and report, as "
        "papers do (optimistic). auto: holdout where enough defects are labelled, else synthetic.",
    )
    racing: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Stop poor configurations after a few categories, or epochs of a trained method (successive halving). auto: on "
        "for searches with one objective over four or more of them; exact grids are always finished.",
    )
    seed: int = Field(0, ge=0, description="Seed of the search, of the splits and of trainings.")
    workers: int | None = Field(
        None,
        ge=1,
        description="Trials at a time.",
    )
    workers_per_trial: int = Field(1, ge=1, description="Ray Train workers that share every batch of a trial.")
    recipe: str | None = Field(
        None, description="A named preset of params; params given beside it and those searched win."
    )
    resume: str | None = Field(None, description="Continue an interrupted sweep: its name, or 'last'.")
    top: int = Field(10, ge=1, description="Rows of the final table.")

    @field_validator("objective")
    @classmethod
    def _known_objectives(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in OBJECTIVES:
                raise ParamsError(unknown_name("metric or cost", name, OBJECTIVES))
        if value and value[0] in COSTS:
            raise ParamsError(
                f"{value[0]} is a cost, by which a detector that finds nothing may win: put an accuracy metric first, "
                f"for instance --objective image_auroc {' '.join(name for name in value if name in COSTS)}"
            )
        if len(set(value)) != len(value):
            raise ParamsError(f"objective {' '.join(value)} names a metric or cost twice")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> SweepSettings:
        if self.preset is not None and self.search != "tpe":
            raise ParamsError(
                f"preset {self.preset!r} is an exact grid: leave --search out, or leave --preset out to search"
            )
        if self.racing == "on" and len(self.objective) > 1:
            raise ParamsError("racing compares one objective: leave --racing out, or give one objective")
        if self.search == "pbt":
            if len(self.objective) > 1:
                raise ParamsError("population-based training compares one objective: give one, or another --search")
            if self.trials < 2:
                raise ParamsError("population-based training needs 2 or more --trials: they learn from each other")
            if self.racing == "on":
                raise ParamsError("population-based training stops no trial early: leave --racing out")
        return self


def default_settings(method: str) -> SweepSettings:
    """Settings of a sweep for which nothing is given: a trained method brings its own data and the metric by which it chooses."""
    if not is_trained(method):
        return SweepSettings.model_validate({})
    trained = trained_method(method)
    return SweepSettings.model_validate({"data": trained.embedded, "objective": (trained.chosen_by,)})
