"""One local Ray for all tests of this folder, and small real sweeps on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from search_spaces.wepadim import SPACE
from subband.tuning.plan import SweepPlan, make_plan
from subband.tuning.settings import SweepSettings
from subband.tuning.sweep import SweepResult, run_sweep
from tests.local_ray import connect_with_test_methods

TINY = {"image_size": (64,), "grid": (8,), "weights": ("random:0",)}


@pytest.fixture(scope="session")
def sweep_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """SUBBAND_HOME of all sweeps: they share one store and one MLflow database, as a person's do."""
    folder = tmp_path_factory.mktemp("home")
    settled = {"SUBBAND_HOME": str(folder), "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    before = {name: os.environ.get(name) for name in (*settled, "RAY_ADDRESS", "MLFLOW_TRACKING_URI")}
    for name in before:
        os.environ.pop(name, None)
    os.environ.update(settled)
    yield folder
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture(scope="session")
def local_ray(sweep_home: Path) -> Iterator[None]:
    import ray

    connect_with_test_methods()
    yield
    ray.shutdown()


Plan = Callable[..., SweepPlan]
Sweep = Callable[..., SweepResult]


@pytest.fixture(scope="session")
def plan(sweep_home: Path) -> Plan:
    """A plan from settings; what is no setting is a param, as a tuple of values."""

    def make(**given: Any) -> SweepPlan:
        settings = {name: given.pop(name) for name in list(given) if name in SweepSettings.model_fields}
        resumed = "resume" in settings
        return make_plan(SPACE, given if resumed else {**TINY, **given}, SweepSettings(**settings))

    return make


@pytest.fixture(scope="session")
def sweep(local_ray: None, plan: Plan) -> Sweep:
    """Run a planned sweep; what it said is in ``said``."""

    def run(**given: Any) -> SweepResult:
        said: list[str] = []
        result = run_sweep(plan(**given), lambda record, expected: None, said.append)
        result.said = said  # type: ignore[attr-defined]
        return result

    return run
