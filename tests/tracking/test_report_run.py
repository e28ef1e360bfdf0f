"""A finished analysis in MLflow: all of it, once, and later where MLflow was down."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient

from subband.errors import TrackingError
from subband.runs.description import LOCK_NAME
from subband.tracking import DatasetInfo, ReportFile, TrackingTarget, push
from subband.tracking.__main__ import main
from tests.waiting import PATIENCE


def results(folder: Path, target: TrackingTarget, **changes) -> Path:
    folder.mkdir()
    (folder / "curves").mkdir()
    (folder / "curves" / "noise.csv").write_text("Level,a\n0,99.00\n")
    (folder / "tile.png").write_bytes(b"\x89PNG")
    report = ReportFile(
        experiment="analysis/tiles",
        run_name="robustness-1",
        dataset=DatasetInfo(name="tiles", digest="d" * 64, source="synthetic:", categories=("weave",)),
        params={"analysis": "robustness", "levels": [0, 10], "seed": 42},
        points=[("weave/image_auroc/wepadim sigma=2", 0.9 - step / 1000, step) for step in range(250)],
        tags={"notes": "none"},
        tracking_uri=target.uri,
        artifact_root=target.artifact_root,
    )
    (folder / "report.json").write_text(report.model_copy(update=changes).model_dump_json())
    return folder


def runs(target: TrackingTarget):
    client = MlflowClient(target.uri)
    experiment = client.get_experiment_by_name("analysis/tiles")
    return client, client.search_runs([experiment.experiment_id])


def test_everything_is_logged_once(tmp_path, target):
    folder = results(tmp_path / "results", target)
    logged = push(folder)
    assert push(folder) == logged
    client, (run,) = runs(target)
    assert run.info.run_id == logged.run_id
    assert (run.info.status, run.info.run_name) == ("FINISHED", "robustness-1")
    assert run.data.params == {"analysis": "robustness", "levels": "0, 10", "seed": "42"}
    assert run.data.tags["role"] == "analysis"
    assert run.inputs.dataset_inputs[0].dataset.name == "tiles"
    (key,) = run.data.metrics
    assert key.startswith("weave/image_auroc/wepadim sigma_2")  # MLflow's legal letters
    history = client.get_metric_history(run.info.run_id, key)
    assert sorted((point.step, point.value) for point in history) == [(s, 0.9 - s / 1000) for s in range(250)]
    assert {entry.path for entry in client.list_artifacts(run.info.run_id)} == {"curves", "report.json", "tile.png"}
    assert [entry.path for entry in client.list_artifacts(run.info.run_id, "curves")] == ["curves/noise.csv"]


def test_a_run_that_was_cut_off_is_completed(tmp_path, target, monkeypatch):
    folder = results(tmp_path / "results", target)
    with monkeypatch.context() as patched:

        def full(self, *args, **kwargs):
            raise OSError("no space left on device")

        patched.setattr(MlflowClient, "log_artifact", full)
        with pytest.raises(TrackingError, match="no space left"):
            push(folder)
    _, (broken,) = runs(target)
    assert broken.info.status == "FAILED"
    logged = push(folder)
    _, (run,) = runs(target)
    assert run.info.run_id == logged.run_id == broken.info.run_id
    assert run.info.status == "FINISHED"
    assert len(run.data.params) == 3


def test_a_server_that_is_down_costs_nothing_and_gets_it_later(tmp_path, target, capsys):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = results(tmp_path / "results", target, tracking_uri=f"http://127.0.0.1:{port}", artifact_root=None)

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != LOCK_NAME}

    before = files()
    with pytest.raises(TrackingError, match="does not answer"):
        push(folder)
    assert files() == before
    assert main(["push", str(folder), "--tracking-uri", target.uri]) == 0
    _, (run,) = runs(target)
    assert f"run {run.info.run_id}" in capsys.readouterr().out


def test_a_folder_that_is_no_analysis_is_refused(tmp_path, target):
    with pytest.raises(TrackingError, match=r"neither sweep\.json nor report\.json"):
        push(tmp_path)
    folder = results(tmp_path / "results", target)
    (folder / "report.json").write_text(json.dumps({"params": 1}))
    with pytest.raises(TrackingError, match=r"report\.json cannot be read"):
        push(folder)


def test_a_deleted_experiment_says_how_to_go_on(tmp_path, target):
    folder = results(tmp_path / "results", target)
    logged = push(folder)
    MlflowClient(target.uri).delete_experiment(logged.experiment_id)
    with pytest.raises(TrackingError, match="was deleted in MLflow; give another --experiment") as caught:
        push(folder)
    command = str(caught.value).rpartition("or restore it: ")[2]
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, timeout=PATIENCE)
    assert push(folder).experiment_id == logged.experiment_id
