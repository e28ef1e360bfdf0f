"""A sweep that is interrupted or killed loses at most its running trials; two sweeps at once share their work."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest
from job_runs import SMALL_PARAMS, TINY, ended, wait_for_trials
from mlflow.tracking import MlflowClient

from subband.stages import Store
from subband.trials import read_records

GRID = ("--search", "grid", "--wavelet", "haar", "db2", "--subbands", "LL", "LH", "HL", "HH")
SIGMAS = [str(sigma) for sigma in range(2, 12)]
GRID += ("--sigma", *SIGMAS, "--cov-reg", "0.01", "0.1")
POINTS = 2 * 4 * len(SIGMAS) * 2  # so many that a signal on a busy machine still arrives before the last
SEARCHED = ("wavelet", "subbands", "sigma", "cov_reg")


def finished_points(folder):
    return Counter(tuple(r.params[name] for name in SEARCHED) for r in read_records(folder) if r.status == "complete")


def runs(place, name):
    """The parent run of the sweep, and the statuses of all its children."""
    client = MlflowClient(f"sqlite:///{place.home / 'mlflow.db'}")
    found = [run for e in client.search_experiments() for run in client.search_runs([e.experiment_id], max_results=500)]
    (parent,) = [run for run in found if run.info.run_name == name]
    children = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return parent, Counter(run.info.status for run in children)


def test_an_interrupted_and_then_killed_sweep_is_resumed_to_its_end(place):
    arguments = ("--data", TINY, *SMALL_PARAMS, *GRID, "--name", "cut", "--no-register")
    job = place.start(*arguments)
    wait_for_trials(job, place.ledger("cut"), 3)
    job.send_signal(signal.SIGINT)
    status, output = ended(job)
    assert status == 130, output
    assert "Continue with: --resume cut" in output
    assert "Traceback" not in output
    first = finished_points(place.sweep("cut"))
    assert 3 <= sum(first.values()) < POINTS, "interrupted too late to show anything"
    parent, children = runs(place, "cut")
    assert parent.info.status == "KILLED"
    assert children == {"FINISHED": sum(first.values())}

    job = place.start("--resume", "cut")
    wait_for_trials(job, place.ledger("cut"), sum(first.values()) + 3)
    os.killpg(job.pid, signal.SIGKILL)
    ended(job)
    second = finished_points(place.sweep("cut"))
    assert sum(second.values()) < POINTS, "killed too late to show anything"
    assert runs(place, "cut")[0].info.status == "RUNNING"

    status, output = place.run("--resume", "last")
    assert status == 0, output
    assert "finished trials are kept" in output
    points = finished_points(place.sweep("cut"))
    assert len(points) == POINTS
    assert set(points.values()) == {1}, "a finished point was run again"
    numbers = [record.number for record in read_records(place.sweep("cut"))]
    assert numbers == list(range(POINTS))
    assert Store(place.home / "store").verify() == []
    parent, children = runs(place, "cut")
    assert parent.info.status == "FINISHED"
    assert children == {"FINISHED": POINTS}


@pytest.mark.slow
def test_terminating_a_job_is_an_interruption(place):
    """`ray job stop` and cluster managers send SIGTERM."""
    job = place.start("--data", TINY, *SMALL_PARAMS, *GRID, "--name", "term", "--no-register")
    wait_for_trials(job, place.ledger("term"), 2)
    job.terminate()
    status, output = ended(job)
    assert status == 130, output
    assert "Continue with: --resume term" in output
    assert runs(place, "term")[0].info.status == "KILLED"


@pytest.mark.slow
def test_two_sweeps_at_once_on_one_store_and_one_database(place):
    common = ("--data", TINY, *SMALL_PARAMS, "--workers", "1", "--search", "grid", "--no-register")
    jobs = [
        place.start(*common, "--name", name, "--sigma", "2", "4", "--wavelet", wavelet, "haar")
        for name, wavelet in (("left", "db2"), ("right", "sym4"))
    ]
    for job in jobs:
        status, output = ended(job)
        assert status == 0, output
    computed = Counter()
    for name in ("left", "right"):
        assert [record.status for record in read_records(place.sweep(name))] == ["complete"] * 4
        parent, children = runs(place, name)
        assert parent.info.status == "FINISHED"
        assert children == {"FINISHED": 4}
        for record in read_records(place.sweep(name)):
            computed.update(record.timings.keys() - {"stages", "trial"})
    # The backbone pass was prepared before the first trial of either sweep; what trials computed, they computed once.
    assert computed["images"] == computed["features"] == 0
    assert computed["grams"] == 3, "a stage of one key was computed by both sweeps"  # db2, sym4, and haar once
    assert Counter(row["stage"] for row in Store(place.home / "store").info())["features"] == 1
