"""The tracking server is down: the sweep ends well, says how to log later, and that works."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from job_runs import ROOT, SMALL_PARAMS, TINY
from mlflow.tracking import MlflowClient

import subband
from subband.trials import read_records
from tests.waiting import PATIENCE


@pytest.mark.slow
def test_what_a_dead_server_missed_is_pushed_later(place):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{probe.getsockname()[1]}"
    arguments = ("--data", TINY, *SMALL_PARAMS, "--search", "grid", "--sigma", "2", "4")
    status, output = place.run(*arguments, "--tracking-uri", dead, "--name", "unheard")
    folder = place.sweep("unheard")
    assert status == 0, output
    assert "Traceback" not in output
    assert f"python -m subband.tracking push {folder}" in " ".join(output.split())
    assert [record.status for record in read_records(folder)] == ["complete"] * 2
    assert (folder / "champions" / "weave").is_dir()

    uri = f"sqlite:///{place.home / 'later.db'}"
    environment = {**place.environment, "PYTHONPATH": str(ROOT / "platform")}
    command = [sys.executable, "-m", "subband.tracking", "push", str(folder), "--tracking-uri", uri]
    pushed = subprocess.run(
        command, env=environment, cwd=place.folder, capture_output=True, text=True, timeout=PATIENCE
    )
    assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    assert "all 2 trials (2 new)" in pushed.stdout
    client = MlflowClient(uri)
    assert client.get_model_version_by_alias("wepadim-synthetic-weave", "champion").version in (1, "1")
    runs = [run for e in client.search_experiments() for run in client.search_runs([e.experiment_id])]
    assert sorted(run.info.status for run in runs) == ["FINISHED"] * 3
    detector = subband.load("models:/wepadim-synthetic-weave@champion", uri)
    assert detector.calibration.threshold == subband.load(folder / "champions" / "weave").calibration.threshold
