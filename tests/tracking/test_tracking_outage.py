"""A tracking server that is down, dies in the middle and comes back: the sweep goes on and nothing is lost."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from subband.errors import TrackingError
from subband.tracking import SweepLog, download_model, list_champions, push, resolve_tracking
from subband.tracking.__main__ import main
from subband.trials import append_record
from tests.tracking import detector, sweeps
from tests.waiting import PATIENCE, until

LOADER = "tests.tracking.detector.load"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children_of(url, run_id):
    client = MlflowClient(url)
    experiment = client.get_run(run_id).info.experiment_id
    return client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")


def test_a_server_that_was_never_there_costs_one_warning(tmp_path, caplog):
    folder = tmp_path / "sweep"
    target = resolve_tracking(f"http://127.0.0.1:{free_port()}", tmp_path)
    with caplog.at_level(logging.INFO, logger="subband"), SweepLog(folder, sweeps.info(), target) as log:
        for record in sweeps.trials(4):
            append_record(folder, record)
            log.log_trial(record)
        model = detector.save(tmp_path / "model", (0.5, 0.5, 0.5), 0.4)
        assert log.register_champion(model, "colour", {}, loader=LOADER, timeout=3) is None
        assert not log.flush(timeout=0.1)
        assert log.run_id is None
        assert log.comparison_url() is None
        assert not log.close()
    messages = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert (
        len([message for message in messages if "does not answer" in message and "the job continues" in message]) == 1
    )
    assert all(f"python -m subband.tracking push {folder}" in message for message in messages)
    with pytest.raises(TrackingError, match="does not answer"):
        push(folder)


def test_a_server_that_dies_in_the_middle_gets_the_rest_later(tmp_path, server, caplog, capsys):
    server.start()
    folder = tmp_path / "sweep"
    target = resolve_tracking(server.url, tmp_path)
    records = sweeps.trials(8)
    with caplog.at_level(logging.INFO, logger="subband"), SweepLog(folder, sweeps.info(), target) as log:
        for record in records[:3]:
            append_record(folder, record)
            log.log_trial(record)
        assert log.flush()
        run_id = log.run_id
        assert len(children_of(server.url, run_id)) == 3
        server.stop()
        for record in records[3:]:
            append_record(folder, record)
            log.log_trial(record)
        log.log_text("summary.md", "# what the sweep found")
        model = detector.save(tmp_path / "model", (0.5, 0.5, 0.5), 0.4)
        assert log.register_champion(model, "colour", {"selection": "holdout"}, loader=LOADER, timeout=3) is None
        assert not log.close()
    assert "the job continues" in caplog.text

    assert main(["push", str(folder)]) == 2
    assert "does not answer" in capsys.readouterr().err

    server.start()
    assert MlflowClient(server.url).get_run(run_id).info.status == "RUNNING"  # nobody could tell the server
    assert main(["push", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "all 8 trials (5 new) and 1 files" in said
    assert f"{server.url}/#/compare-runs" in said
    parent = MlflowClient(server.url).get_run(run_id)
    children = children_of(server.url, run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["trials/done"] == 8
    assert sorted(child.data.tags["trial_id"] for child in children) == [record.trial_id for record in records]
    assert {child.info.status for child in children} == {"FINISHED"}
    assert [file.path for file in MlflowClient(server.url).list_artifacts(run_id, "report")] == ["report/summary.md"]
    assert [(c.name, c.version, c.run_id) for c in list_champions(target)] == [("colour", 1, run_id)]
    assert detector.load(download_model("models:/colour@champion", target)).threshold == 0.4
    assert push(folder).new_trials == 0
    assert len(children_of(server.url, run_id)) == 8


def test_a_server_that_comes_back_during_the_sweep_gets_everything_from_the_log_itself(tmp_path, server, caplog):
    folder = tmp_path / "sweep"
    target = resolve_tracking(server.url, tmp_path)
    with caplog.at_level(logging.INFO, logger="subband"), SweepLog(folder, sweeps.info(), target) as log:
        for record in sweeps.trials(3):
            append_record(folder, record)
            log.log_trial(record)
        until(lambda: "does not answer" in caplog.text, "the outage is noticed")
        server.start()
        assert log.flush(timeout=PATIENCE)
        run_id = log.run_id
        assert log.close()
    assert "answers again" in caplog.text
    assert len(children_of(server.url, run_id)) == 3


def test_the_command_says_what_is_wrong_without_a_traceback(tmp_path):
    project = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "subband.tracking", "push", str(tmp_path)],
        env={"PYTHONPATH": str(project / "platform"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == f"error: {tmp_path} is not the folder of a run: it has neither sweep.json nor report.json\n"
