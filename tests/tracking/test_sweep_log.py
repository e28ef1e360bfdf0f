"""A sweep's log on a real sqlite MLflow: what it writes, and that it may be interrupted, resumed and repeated."""

from __future__ import annotations

import json
import logging
import math
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import ViewType

from subband.errors import TrackingError
from subband.runs.description import SweepFile
from subband.tracking import SweepLog, push, resolve_tracking
from subband.trials import append_record
from tests.tracking import sweeps
from tests.waiting import PATIENCE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "sweep"
    path.mkdir()
    return path


def log_sweep(folder, target, records, info=None):
    with SweepLog(folder, info or sweeps.info(), target) as log:
        for record in records:
            append_record(folder, record)
            log.log_trial(record)
    return log


def runs_of(target):
    client = MlflowClient(target.uri)
    experiments = [e.experiment_id for e in client.search_experiments(filter_string="name != 'Default'")]
    runs = client.search_runs(experiments, run_view_type=ViewType.ALL, max_results=1000)
    parents = [run for run in runs if run.data.tags.get("role") == "sweep"]
    children = sorted((run for run in runs if run.data.tags.get("role") == "trial"), key=lambda run: run.info.run_name)
    return parents, children


def test_a_sweep_becomes_a_parent_run_with_a_child_for_each_trial(folder, target):
    records = sweeps.trials(3)
    log_sweep(folder, target, records)
    [parent], children = runs_of(target)

    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == "wepadim on synthetic, 12 trials"
    tags = parent.data.tags
    assert (tags["method"], tags["selection"], tags["seed"], tags["weights"]) == ("wepadim", "holdout", "0", "random:0")
    assert tags["objective"] == "image_auroc (max), pixel_auroc (max)"
    assert len(tags["mlflow.source.git.commit"].removesuffix("-dirty")) == 40
    assert parent.data.params["budget.seconds"] == "60"
    assert parent.data.params["preset"] == "none"
    [dataset] = parent.inputs.dataset_inputs
    assert dataset.dataset.name == "synthetic"
    assert tags["dataset_digest"].startswith(dataset.dataset.digest)
    assert json.loads(dataset.dataset.source) == {"uri": "synthetic:?train=16&seed=0"}

    assert [child.info.run_name for child in children] == [
        "000 sym4 LL+LH+HL+HH level=2 sigma=2",
        "001 db4 LL+LH+HL+HH level=2 sigma=2",
        "002 haar LL+LH+HL level=1 sigma=2",
    ]
    for child, record in zip(children, records, strict=True):
        assert child.info.status == "FINISHED"
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.info.end_time - child.info.start_time == 1200
        assert child.data.params["sigma"] == f"{record.params['sigma']:g}"
        assert child.data.metrics["image_auroc"] == record.choose["image_auroc"]
        assert child.data.metrics["report/aupro_30"] == record.report["aupro_30"]
        assert child.data.metrics["within/weave/image_ap"] == record.categories["weave"]["choose"]["image_ap"]
        assert child.data.metrics["within/weave/report/image_ap"] == record.categories["weave"]["report"]["image_ap"]
        assert child.data.metrics["seconds/gram"] == 0.2
    best = max(records, key=lambda record: record.choose["image_auroc"])
    assert tags["best_run"] == next(c.info.run_id for c in children if c.data.tags["trial_id"] == best.trial_id)
    assert tags["best_chosen_by"] == "image_auroc, selection=holdout"


def test_the_parent_has_the_best_value_so_far_as_a_series(folder, target):
    records = sweeps.trials(5)
    log_sweep(folder, target, records)
    [parent], _ = runs_of(target)
    history = MlflowClient(target.uri).get_metric_history(parent.info.run_id, "best/image_auroc")
    values = [record.choose["image_auroc"] for record in records]
    expected = [max(values[: step + 1]) for step in range(5)]
    assert [(point.step, point.value) for point in sorted(history, key=lambda p: p.step)] == list(
        enumerate(expected, 1)
    )


def test_stopped_failed_and_undefined_are_told_apart(folder, target):
    complete, stopped, failed = sweeps.trials(3)
    complete = complete.model_copy(update={"choose": {**complete.choose, "pixel_ap": math.nan}})
    stopped = stopped.model_copy(update={"status": "stopped", "notes": ("stopped after 1 of 3 categories",)})
    failed = failed.model_copy(
        update={
            "status": "failed",
            "choose": {},
            "report": {},
            "categories": {},
            "error": "StoreError: disk full " + "x" * 9000,
        }
    )
    log_sweep(folder, target, [complete, stopped, failed])
    [parent], (first, second, third) = runs_of(target)
    assert [run.info.status for run in (first, second, third)] == ["FINISHED", "FINISHED", "FAILED"]
    assert "pixel_ap" not in first.data.metrics
    assert first.data.tags["undefined_metrics"] == "pixel_ap"
    assert "stopped_early" not in first.data.tags
    assert second.data.tags["stopped_early"] == "true"
    assert second.data.tags["notes"] == "stopped after 1 of 3 categories"
    assert third.data.tags["error"].startswith("StoreError: disk full")
    assert parent.data.metrics["trials/failed"] == 1
    assert parent.data.metrics["trials/stopped"] == 1


def test_many_metrics_and_params_are_split_into_legal_batches(folder, target):
    record = sweeps.trial(0, "haar", 1, "LL", 4.0)
    record = record.model_copy(
        update={
            "params": {f"param_{i}": i for i in range(230)},
            "categories": {f"category {i}": {"choose": record.choose, "report": record.report} for i in range(80)},
        }
    )
    log_sweep(folder, target, [record])
    _, [child] = runs_of(target)
    assert len(child.data.params) == 230
    assert child.data.metrics["within/category 79/report/aupro_5"] == record.report["aupro_5"]
    assert len(child.data.metrics) == 80 * 16 + 16 + 6


def test_a_resumed_sweep_continues_its_run_and_logs_no_trial_twice(folder, target):
    records = sweeps.trials(6)
    log_sweep(folder, target, records[:3])
    more = sweeps.info(settings={**sweeps.info().settings, "trials": 24})
    log_sweep(folder, target, records[3:], info=more)
    log_sweep(folder, target, [], info=more)
    [parent], children = runs_of(target)
    assert [child.data.tags["trial_id"] for child in children] == [record.trial_id for record in records]
    assert parent.info.status == "FINISHED"
    assert parent.data.params["trials"] == "12"
    assert parent.data.tags["changed.trials"] == "12; 24"
    history = MlflowClient(target.uri).get_metric_history(parent.info.run_id, "trials/done")
    assert sorted(point.step for point in history) == [1, 2, 3, 4, 5, 6]


def test_a_trial_that_failed_and_was_run_again_keeps_one_run(folder, target):
    record = sweeps.trial(0, "haar", 1, "LL", 4.0)
    log_sweep(folder, target, [record.model_copy(update={"status": "failed", "error": "killed"})])
    log_sweep(folder, target, [record])
    _, [child] = runs_of(target)
    assert child.info.status == "FINISHED"
    assert child.data.tags["trial_status"] == "complete"


def test_another_sweep_in_the_same_folder_is_refused_and_the_folder_stays_free(folder, target):
    log_sweep(folder, target, sweeps.trials(1))
    before = (folder / SweepFile.file_name).read_bytes()
    with pytest.raises(TrackingError, match="holds a sweep with selection=holdout, not test"):
        SweepLog(folder, sweeps.info(selection="test"), target)
    assert (folder / SweepFile.file_name).read_bytes() == before
    log_sweep(folder, target, [])


def test_two_logs_of_one_folder_are_refused(folder, target):
    with SweepLog(folder, sweeps.info(), target):
        with pytest.raises(TrackingError, match="another process is logging"):
            SweepLog(folder, sweeps.info(), target)
        with pytest.raises(TrackingError, match="another process is logging"):
            push(folder)


def test_a_damaged_sweep_file_is_named(folder, target):
    (folder / SweepFile.file_name).write_text('{"format": 1, "inf')
    with pytest.raises(TrackingError, match=r"sweep\.json cannot be read as the description of a sweep"):
        SweepLog(folder, sweeps.info(), target)


@pytest.mark.parametrize(("raised", "status"), [(ValueError("boom"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_an_exception_leaves_no_running_run(folder, target, raised, status):
    def interrupted_sweep():
        with SweepLog(folder, sweeps.info(), target) as log:
            for record in sweeps.trials(2):
                append_record(folder, record)
                log.log_trial(record)
            raise raised

    with pytest.raises(type(raised)):
        interrupted_sweep()
    [parent], children = runs_of(target)
    assert parent.info.status == status
    assert [child.info.status for child in children] == ["FINISHED", "FINISHED"]
    assert SweepFile.load(folder).status == status.lower()


def test_after_the_end_nothing_more_is_taken(folder, target):
    log = log_sweep(folder, target, sweeps.trials(1))
    with pytest.raises(TrackingError, match="too late"):
        log.log_trial(sweeps.trials(2)[1])
    assert log.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "subband-tracking"]


def test_figures_texts_and_tables_are_artifacts_and_files(folder, target, tmp_path):
    figure = Figure()
    figure.subplots().plot([0, 1], [0, 1])
    ready = tmp_path / "ready.png"
    figure.savefig(ready)
    with SweepLog(folder, sweeps.info(), target) as log:
        log.log_figure("roc", figure)
        log.log_figure("heatmaps", ready)
        log.log_text("summary.md", "# Fünf")
        log.log_table("ranking", [{"trial": 1, "image_auroc": 0.9}, {"trial": 0, "image_auroc": 0.8}])
        with pytest.raises(TrackingError, match="plain file name"):
            log.log_text("../outside.md", "")
    [parent], _ = runs_of(target)
    client = MlflowClient(target.uri)
    assert [file.path for file in client.list_artifacts(parent.info.run_id, "figures")] == [
        "figures/heatmaps.png",
        "figures/roc.png",
    ]
    table = Path(client.download_artifacts(parent.info.run_id, "report/ranking.csv", str(tmp_path)))
    assert table.read_text() == "trial,image_auroc\n1,0.9\n0,0.8\n"
    assert (folder / "figures" / "roc.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "report" / "summary.md").read_text(encoding="utf-8") == "# Fünf"
    assert Path(parent.info.artifact_uri.removeprefix("file://")).is_relative_to(tmp_path / "mlartifacts")


def test_push_to_another_place_writes_everything_once(folder, target, tmp_path, empty_database):
    with SweepLog(folder, sweeps.info(), target) as log:
        for record in sweeps.trials(3):
            append_record(folder, record)
            log.log_trial(record)
        log.log_text("summary.md", "text")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mlflow.db").write_bytes(empty_database.read_bytes())
    uri = f"sqlite:///{tmp_path}/other/mlflow.db"
    first, second = push(folder, uri), push(folder, uri)
    assert (first.trials, first.new_trials, first.files) == (3, 3, 1)
    assert (second.new_trials, second.run_id) == (0, first.run_id)
    [parent], children = runs_of(resolve_tracking(uri, tmp_path))
    [original], originals = runs_of(target)
    assert parent.info.status == "FINISHED"
    for copy, source in zip(children, originals, strict=True):
        assert copy.data.metrics == source.data.metrics
        assert copy.data.params == source.data.params
    assert parent.data.metrics == original.data.metrics
    assert push(folder).new_trials == 0


def test_push_gives_a_killed_sweep_its_end_and_completes_a_half_written_trial(folder, target):
    """The process dies without a word: parent and one child are left RUNNING."""
    records = sweeps.trials(3)
    log_sweep(folder, target, records[:2])
    for record in records[2:]:
        append_record(folder, record)
    [parent], children = runs_of(target)
    client = MlflowClient(target.uri)
    client.update_run(parent.info.run_id, status="RUNNING")
    client.update_run(children[1].info.run_id, status="RUNNING")
    file = SweepFile.load(folder)
    file.status = "running"
    file.save(folder)

    pushed = push(folder)
    assert (pushed.trials, pushed.new_trials) == (3, 2)
    [parent], children = runs_of(target)
    assert parent.info.status == "KILLED"
    assert [child.info.status for child in children] == ["FINISHED"] * 3


def test_undefined_metrics_survive_the_ledger(folder, target):
    record = sweeps.trial(0, "haar", 1, "LL", 4.0)
    record = record.model_copy(update={"choose": {**record.choose, "pixel_ap": math.nan, "aupro_5": math.inf}})
    with SweepLog(folder, sweeps.info(), target):
        append_record(folder, record)  # the process dies before it logs the trial
    assert push(folder).new_trials == 1
    _, [child] = runs_of(target)
    assert child.data.tags["undefined_metrics"] == "pixel_ap, aupro_5"


def test_push_needs_a_sweep(tmp_path):
    with pytest.raises(TrackingError, match=r"neither sweep\.json nor report\.json"):
        push(tmp_path)


def test_a_deleted_experiment_is_said_and_the_sweep_goes_on(folder, target, caplog):
    client = MlflowClient(target.uri)
    client.delete_experiment(client.create_experiment("wepadim synthetic"))
    with caplog.at_level(logging.WARNING):
        log_sweep(folder, target, sweeps.trials(2))
    [warning] = [r.getMessage() for r in caplog.records if "deleted in MLflow" in r.getMessage()]
    assert f"python -m subband.tracking push {folder}" in warning


def test_the_calling_thread_never_waits_for_mlflow(folder, target):
    """Not a clock: the database is locked by somebody else all the while, and the sweep still ends its trials."""
    with closing(sqlite3.connect(target.sqlite_path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        log = SweepLog(folder, sweeps.info(), target)
        for record in sweeps.trials(4):
            append_record(folder, record)
            log.log_trial(record)
        assert log.run_id is None
        other.execute("ROLLBACK")
    assert log.close()
    assert len(runs_of(target)[1]) == 4


SWEEP_IN_A_PROCESS = """
import sys
from pathlib import Path
from subband.tracking import SweepLog, resolve_tracking
from subband.trials import append_record
from tests.tracking import sweeps

root, name = Path(sys.argv[1]), sys.argv[2]
folder = root / name
folder.mkdir()
with SweepLog(folder, sweeps.info(run_name=name), resolve_tracking(None, root)) as log:
    for record in sweeps.trials(12, seed=int(name[-1])):
        append_record(folder, record)
        log.log_trial(record)
    complete = log.close()
sys.exit(0 if complete else 1)
"""


def test_two_sweeps_at_once_create_and_share_one_database(tmp_path):
    project = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", SWEEP_IN_A_PROCESS, str(tmp_path)]
    environment = {"PYTHONPATH": f"{project / 'platform'}:{project}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    processes = [
        subprocess.Popen([*command, f"sweep-{i}"], env=environment, stderr=subprocess.PIPE, text=True) for i in range(2)
    ]
    outputs = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert not any("locked" in output or "Traceback" in output for output in outputs), outputs
    parents, children = runs_of(resolve_tracking(None, tmp_path))
    assert sorted(parent.info.run_name for parent in parents) == ["sweep-0", "sweep-1"]
    assert {run.info.status for run in parents + children} == {"FINISHED"}
    assert len(children) == 24


def test_the_saved_view_ranks_the_trials_and_old_views_go(folder, target, tmp_path):
    log_sweep(folder, target, sweeps.trials(1))
    client = MlflowClient(target.uri)
    experiment = client.get_experiment_by_name("wepadim synthetic")
    [key] = [tag for tag in experiment.tags if tag.startswith("mlflow.sharedViewState.sweep-")]
    view = json.loads(experiment.tags[key])
    state = json.loads(view["state"])
    assert view["name"] == "wepadim on synthetic, 12 trials"
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`image_auroc`", False)
    assert "params.`wavelet`" in state["selectedColumns"]
    for age in range(30):
        content = json.dumps({**view, "createdAt": age})
        client.set_experiment_tag(experiment.experiment_id, f"mlflow.sharedViewState.sweep-{age:012d}", content)
    client.set_experiment_tag(experiment.experiment_id, "mlflow.sharedViewState.mine", json.dumps(view))
    log_sweep(tmp_path / "another", target, sweeps.trials(1))
    tags = client.get_experiment(experiment.experiment_id).tags
    ours = sorted(tag for tag in tags if tag.startswith("mlflow.sharedViewState.sweep-"))
    assert len(ours) == 25
    assert key in ours
    assert "mlflow.sharedViewState.sweep-000000000029" in ours
    assert "mlflow.sharedViewState.sweep-000000000000" not in ours
    assert "mlflow.sharedViewState.mine" in tags


def test_addresses_point_at_the_best_trials(folder, target):
    records = sweeps.trials(4)
    with SweepLog(folder, sweeps.info(), target) as log:
        for record in records:
            log.log_trial(record)
        assert log.flush(timeout=PATIENCE)
        address = log.comparison_url(2)
        assert "viewStateShareKey=sweep-" in log.sweep_url("http://page")
    _, children = runs_of(target)
    ranked = sorted(children, key=lambda run: -run.data.metrics["image_auroc"])
    assert address.index(ranked[0].info.run_id) < address.index(ranked[1].info.run_id)
    assert ranked[2].info.run_id not in address
