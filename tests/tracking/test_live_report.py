"""A run that grows with its training: what is resumed, what MLflow missed, and how it ends."""

from __future__ import annotations

import math

import pytest
from mlflow import MlflowClient

from subband.errors import TrackingError
from subband.tracking import DatasetInfo, LiveReport, ReportFile, log_report


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


def test_a_loss_that_is_no_number_can_be_read_again(tmp_path, target):
    with LiveReport(tmp_path / "report", report(target), target) as live:
        live.points([("loss", 1.0, 1), ("learning_rate", 0.1, 1)])
        live.points([("loss", math.nan, 2), ("learning_rate", 0.1, 2)])
        live.status = "FAILED"
    assert the_run(target).info.status == "FAILED"
    with LiveReport(tmp_path / "report", report(target, params={"lr": 0.01, "epochs": 2}), target) as live:
        live.points([("loss", 0.5, 2)])
    run = the_run(target)
    assert run.info.status == "FINISHED"
    assert steps(target, run) == [(1, 1.0), (2, 0.5)]
    assert run.data.params["lr"] == "0.1"
    assert run.data.tags["changed.lr"] == "0.1; after step 2: 0.01"
    assert "changed.epochs" not in run.data.tags


def test_a_run_that_mlflow_lost_is_made_again_with_its_earlier_points(tmp_path, target):
    with LiveReport(tmp_path / "report", report(target), target) as live:
        live.points([("loss", 1.0, 1)])
    MlflowClient(target.uri).delete_run(live.run_id)
    with LiveReport(tmp_path / "report", report(target), target) as again:
        assert steps(target, the_run(target)) == [(1, 1.0)]
        again.points([("loss", 0.5, 2)])
    assert again.run_id != live.run_id
    assert steps(target, the_run(target)) == [(1, 1.0), (2, 0.5)]


def test_points_that_a_hiccup_swallowed_come_with_the_resumed_run(tmp_path, target, monkeypatch):
    live = LiveReport(tmp_path / "report", report(target), target).__enter__()
    with monkeypatch.context() as patched:
        hiccup(patched, "log_batch")
        live.points([("loss", 1.0, 1)])
    assert live.problem is not None
    # The process is killed here: nobody leaves the block.
    with LiveReport(tmp_path / "report", report(target), target):
        run = the_run(target)
        assert run.info.run_id == live.run_id
        assert steps(target, run) == [(1, 1.0)]


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (RuntimeError, "FAILED")])
def test_a_run_is_ended_though_a_hiccup_came_before_the_failure(tmp_path, target, monkeypatch, error, status):
    with pytest.raises(error), LiveReport(tmp_path / "report", report(target), target) as live:  # noqa: PT012
        with monkeypatch.context() as patched:
            hiccup(patched, "log_batch")
            live.points([("loss", 1.0, 1)])
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
            live.points([("loss", 1.0, 1)])
            live.status = status
    assert "push" in live.problem
    logged = log_report(tmp_path / "report")
    assert the_run(target).info.status == status
    assert log_report(tmp_path / "report") == logged


def test_a_training_whose_process_vanished_is_pushed_as_killed(tmp_path, target):
    LiveReport(tmp_path / "report", report(target), target).__enter__().points([("loss", 1.0, 1)])
    assert the_run(target).info.status == "RUNNING"
    log_report(tmp_path / "report")
    assert the_run(target).info.status == "KILLED"


def test_a_finished_run_that_went_on_unheard_is_pushed_whole(tmp_path, target, monkeypatch):
    with LiveReport(tmp_path / "report", report(target), target) as live:
        live.points([("loss", 1.0, 1)])
    with monkeypatch.context() as patched:
        hiccup(patched, "search_experiments")
        with LiveReport(tmp_path / "report", report(target), target) as live:
            live.points([("loss", 0.5, 2)])
    log_report(tmp_path / "report")
    assert steps(target, the_run(target)) == [(1, 1.0), (2, 0.5)]


def test_a_damaged_report_is_named(tmp_path, target):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.json").write_text("{")
    with pytest.raises(TrackingError, match=r"report\.json cannot be read"):
        LiveReport(tmp_path / "report", report(target), target).__enter__()
