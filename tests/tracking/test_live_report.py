"""A run that grows with its training: what is resumed, what MLflow missed, and how it ends."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from subband.errors import TrackingError
from subband.tracking import DatasetInfo, LiveReport, ReportFile, push
from tests.waiting import PATIENCE


def report(target, **changes) -> ReportFile:
    return ReportFile(
        **{
            "experiment": "live",
            "run_name": "first",
            "dataset": DatasetInfo(name="tiles", digest="d" * 64, source="synthetic:", categories=("weave",)),
            "params": {"lr": 0.1, "epochs": 2},
            "tags": {"role": "training"},
            "tracking_uri": target.uri,
            "artifact_root": target.artifact_root,
            **changes,
        }
    )


def the_run(target):
    client = MlflowClient(target.uri)
    (run,) = client.search_runs([client.get_experiment_by_name("live").experiment_id])
    return run


def steps(target, run) -> list[tuple[int, float]]:
    history = MlflowClient(target.uri).get_metric_history(run.info.run_id, "loss")
    return sorted((point.step, point.value) for point in history)


def hiccup(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def silent(self, *args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(MlflowClient, name, silent)


KILLED = """
import os, sys
from pathlib import Path
from mlflow import MlflowClient
from subband.tracking import LiveReport, resolve_tracking
from tests.tracking.test_live_report import report

folder, swallowed = Path(sys.argv[1]), sys.argv[2] == "swallowed"
target = resolve_tracking(None, folder)
live = LiveReport(folder / "report", report(target), target)
assert live.flush(timeout=120)
if swallowed:
    def silent(self, *args, **kwargs):
        raise OSError("no route to host")
    MlflowClient.log_batch = silent
live.log_numbers([("loss", 1.0, 1)])
assert live.flush(timeout=2 if swallowed else 120) is not swallowed
print(live.run_id, flush=True)
os._exit(1)
"""


def killed(folder: Path, how: str = "heard") -> str:
    """A process logs a number, which MLflow hears or not, and dies; gives its run."""
    project = Path(__file__).resolve().parents[2]
    environment = {"PYTHONPATH": f"{project / 'platform'}:{project}", "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    command = [sys.executable, "-c", KILLED, str(folder), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False)
    assert done.returncode == 1, done.stderr
    return done.stdout.strip()


def test_a_loss_that_is_no_number_can_be_read_again(tmp_path, target):
    with LiveReport(tmp_path / "report", report(target), target) as live:
        live.log_numbers([("loss", 1.0, 1), ("learning_rate", 0.1, 1)])
        live.log_numbers([("loss", math.nan, 2), ("learning_rate", 0.1, 2)])
        live.status = "failed"
    assert the_run(target).info.status == "FAILED"
    with LiveReport(tmp_path / "report", report(target, params={"lr": 0.01, "epochs": 2}), target) as live:
        live.log_numbers([("loss", 0.5, 2)])
    run = the_run(target)
    assert run.info.status == "FINISHED"
    assert steps(target, run) == [(1, 1.0), (2, 0.5)]
    assert run.data.params["lr"] == "0.1"
    assert run.data.tags["changed.lr"] == "0.1; after step 2: 0.01"
    assert "changed.epochs" not in run.data.tags


def test_a_run_that_mlflow_lost_is_made_again_with_its_earlier_points(tmp_path, target):
    with LiveReport(tmp_path / "report", report(target), target) as live:
        live.log_numbers([("loss", 1.0, 1)])
    MlflowClient(target.uri).delete_run(live.run_id)
    with LiveReport(tmp_path / "report", report(target), target) as again:
        assert again.flush()
        assert steps(target, the_run(target)) == [(1, 1.0)]
        again.log_numbers([("loss", 0.5, 2)])
    assert again.run_id != live.run_id
    assert steps(target, the_run(target)) == [(1, 1.0), (2, 0.5)]


def test_points_that_a_hiccup_swallowed_come_with_the_resumed_run(tmp_path, target):
    run_id = killed(tmp_path, "swallowed")
    with LiveReport(tmp_path / "report", report(target), target) as again:
        assert again.flush()
        run = the_run(target)
        assert run.info.run_id == run_id
        assert steps(target, run) == [(1, 1.0)]


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (RuntimeError, "FAILED")])
def test_a_run_is_ended_though_a_hiccup_came_before_the_failure(tmp_path, target, monkeypatch, error, status):
    with pytest.raises(error), LiveReport(tmp_path / "report", report(target), target) as live:  # noqa: PT012
        with monkeypatch.context() as patched:
            hiccup(patched, "log_batch")
            live.log_numbers([("loss", 1.0, 1)])
        raise error
    run = the_run(target)
    assert run.info.status == status
    assert steps(target, run) == [(1, 1.0)]
    assert live.problem is None


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_a_push_keeps_how_it_ended_and_is_done_once(tmp_path, target, monkeypatch, status):
    with monkeypatch.context() as patched:
        hiccup(patched, "search_experiments")
        with LiveReport(tmp_path / "report", report(target), target) as live:
            live.log_numbers([("loss", 1.0, 1)])
            live.status = status.lower()
    assert "push" in live.problem
    logged = push(tmp_path / "report")
    assert the_run(target).info.status == status
    assert push(tmp_path / "report") == logged


def test_a_training_whose_process_vanished_is_pushed_as_killed(tmp_path, target):
    killed(tmp_path)
    assert the_run(target).info.status == "RUNNING"
    push(tmp_path / "report")
    assert the_run(target).info.status == "KILLED"


def test_a_finished_run_that_went_on_unheard_is_pushed_whole(tmp_path, target, monkeypatch):
    with LiveReport(tmp_path / "report", report(target), target) as live:
        live.log_numbers([("loss", 1.0, 1)])
    with monkeypatch.context() as patched:
        hiccup(patched, "search_experiments")
        with LiveReport(tmp_path / "report", report(target), target) as live:
            live.log_numbers([("loss", 0.5, 2)])
    push(tmp_path / "report")
    assert steps(target, the_run(target)) == [(1, 1.0), (2, 0.5)]


def test_a_damaged_report_is_named(tmp_path, target):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.json").write_text("{")
    with pytest.raises(TrackingError, match=r"report\.json cannot be read"):
        LiveReport(tmp_path / "report", report(target), target)
