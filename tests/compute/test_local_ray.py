"""A local Ray starts on a machine so busy that Ray's own limits would have ended it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from subband.compute import raise_start_limits
from tests.waiting import PATIENCE

PLATFORM = Path(__file__).resolve().parents[2] / "platform"
SLOW_NODE = """
import time
from ray._private import services
from subband.compute import start_local_ray

ask, started = services.get_node, time.monotonic()

def registers_late(*arguments):
    if time.monotonic() < started + 36:
        raise RuntimeError("no such node yet")
    return ask(*arguments)

services.get_node = registers_late
start_local_ray(num_cpus=1, log_to_driver=False)
import ray
assert ray.get(ray.remote(num_cpus=1)(lambda: 7).remote()) == 7
assert services.get_node is registers_late, "what was there is put back"
print("started")
"""


@pytest.mark.slow
def test_a_node_that_registers_after_rays_fixed_30_seconds_is_awaited(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", SLOW_NODE],
        env={**environment, "PYTHONPATH": str(PLATFORM), "RAY_USAGE_STATS_ENABLED": "0"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout.strip().endswith("started"), done.stderr[-3000:]


def test_limits_that_the_user_has_set_stay(monkeypatch):
    monkeypatch.setenv("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "7")
    monkeypatch.delenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", raising=False)
    raise_start_limits()
    assert os.environ["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] == "7"
    assert int(os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"]) >= 300
