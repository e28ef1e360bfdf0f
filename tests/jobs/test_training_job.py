"""`jobs/train.py` for a trained method: two workers, interruption and death, and what is refused before anything starts."""

from __future__ import annotations

import csv
import functools
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from job_runs import ROOT, Place, ended
from mlflow.tracking import MlflowClient
from PIL import Image
from safetensors.torch import load_file

import subband
from subband.data import open_dataset
from subband.training.job import training_job
from tests.waiting import until

TINY = ("wpformer", "--recipe", "smoke", "--data", "synthetic-surface:?train=10&test=3&size=64", "--dropout", "0")


@pytest.fixture
def training(tmp_path: Path) -> Place:
    (tmp_path / "elsewhere").mkdir()
    return Place(tmp_path / "home", tmp_path / "elsewhere", job=ROOT / "jobs" / "train.py")


def folder(training: Place, name: str) -> Path:
    return training.home / "trainings" / name


def curve(training: Place, name: str) -> list[float]:
    with (folder(training, name) / "report" / "curves.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def wait_for_epoch(process: subprocess.Popen[str], epoch: int) -> str:
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if re.search(rf"epoch {epoch}/\d+ ", line):
            return read
    pytest.fail(f"the training never ended epoch {epoch}:\n{read}")


def train_workers(process: subprocess.Popen[str]) -> list[int]:
    """Processes of the training's workers, by what Ray calls them."""
    session = os.getsid(process.pid)
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(entry.name)) == session and b"RayTrainWorker" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_two_workers_train_a_segmenter_that_is_logged_registered_and_loaded(training: Place) -> None:
    status, output = training.run(*TINY, "--workers", "2", "--name", "first")
    assert status == 0, output
    assert "workers: 2 with" in output
    assert re.search(r"registered: wpformer-synthetic-surface version 1", output), output
    place = folder(training, "first")
    detector = subband.load(place / "model")
    sample = open_dataset("synthetic-surface:?train=2&test=1&size=80").category("surface").test[0]
    (map_HW,) = detector.prediction_maps([sample.image.open()])
    assert map_HW.shape == (80, 80)
    assert (place / "report" / "learning-curves.png").stat().st_size > 10_000
    assert (place / "report" / "gallery-surface.png").stat().st_size > 10_000
    results = json.loads((place / "report" / "results.json").read_text())
    assert set(results["tests"]) == {"surface"}

    client = MlflowClient(f"sqlite:///{training.home / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "wpformer/synthetic-surface"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.tags["role"] == "training"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert sorted((point.step, round(point.value, 5)) for point in history) == [
        (epoch, round(loss, 5)) for epoch, loss in enumerate(curve(training, "first"), 1)
    ]
    assert f"surface.{'weighted_f'}" in run.data.metrics
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"curves.csv", "gallery-surface.png"}
    assert client.get_model_version_by_alias("wpformer-synthetic-surface", "champion").run_id == run.info.run_id


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_as_one_that_was_not(training: Place) -> None:
    common = (*TINY, "--epochs", "8", "--no-register", "--cpus-per-worker", "1")
    job = training.start(*common, "--name", "cut")
    wait_for_epoch(job, 1)
    os.killpg(job.pid, signal.SIGKILL)
    ended(job)
    status, output = training.run("wpformer", "--resume", "last")
    assert status == 0, output
    assert re.search(r"resumed from the checkpoint of epoch [1-7]", output), output
    status, whole = training.run(*common, "--name", "whole")
    assert status == 0, whole
    assert curve(training, "cut") == curve(training, "whole")
    one, other = (load_file(folder(training, name) / "model" / "model.safetensors") for name in ("cut", "whole"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    status, output = training.run("wpformer", "--resume", "cut", "--image-size", "96")
    assert status == 1
    assert "cannot be changed when resuming training" in output


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_from_the_last_checkpoint(training: Place) -> None:
    job = training.start(*TINY, "--epochs", "6", "--workers", "2", "--name", "mourned", "--no-register")
    wait_for_epoch(job, 2)  # the checkpoint of the first is kept by now
    workers = until(lambda: train_workers(job), "the workers of the training")
    os.kill(workers[-1], signal.SIGKILL)
    status, output = ended(job)
    assert status == 0, output
    assert re.search(r"resumed from the checkpoint of epoch [1-5]", output), output
    assert len(curve(training, "mourned")) == 6


@pytest.mark.slow
def test_an_interrupted_training_says_how_it_goes_on(training: Place) -> None:
    job = training.start(*TINY, "--epochs", "50", "--name", "stopped")
    wait_for_epoch(job, 1)
    job.terminate()
    status, output = ended(job)
    assert status == 130, output
    assert "continue with --resume stopped" in output
    assert "Traceback" not in output


def test_more_workers_than_there_are_processors_is_told_at_once(training: Place) -> None:
    status, output = training.run(
        *TINY, "--workers", "64", "--batch", "64", "--data", "synthetic-surface:?train=80&test=1&size=64"
    )
    assert status == 1
    assert re.search(r"64 workers of \d+ CPUs do not fit: the cluster has \d+ CPUs", output), output
    assert "give at most" in output
    assert not (training.home / "trainings").exists()
    assert not (training.home / "mlflow.db").exists()


def pairs(root: Path) -> None:
    for part in ("train", "test"):
        for kind in ("images", "gt"):
            (root / part / kind).mkdir(parents=True)
        for number in range(6):
            mask = np.zeros((48, 40), np.uint8)
            mask[10:20, 5:30] = 255
            Image.fromarray(np.full((48, 40, 3), 40 * number, np.uint8)).save(root / part / "images" / f"{number}.jpg")
            Image.fromarray(mask).save(root / part / "gt" / f"{number}.png")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "train/gt/3.png").unlink(), r"3\.jpg"),
        (lambda root: (root / "train/images/2.jpg").unlink(), r"2\.png"),
        (lambda root: Image.new("L", (10, 10), 255).save(root / "train/gt/1.png"), r"10 x 10"),
        (lambda root: Image.new("L", (40, 48), 7).save(root / "test/gt/1.png"), r"1\.png.*\b7\b.*masks="),
    ],
    ids=["no mask", "no image", "another size", "not binary"],
)
def test_pairs_that_do_not_fit_are_named_before_anything_is_trained(
    training: Place, tmp_path: Path, spoil, message
) -> None:
    pairs(tmp_path / "data")
    spoil(tmp_path / "data")
    status, output = training.run(
        "wpformer", "--recipe", "smoke", "--weights", "random:0", "--data", f"pairs:{tmp_path / 'data'}"
    )
    assert status == 1, output
    assert re.search(message, output.replace("\n", " ")), output
    assert not (training.home / "trainings").exists()


@pytest.mark.slow
def test_a_loss_that_is_no_number_keeps_the_last_good_checkpoint(training: Place) -> None:
    status, output = training.run(*TINY, "--lr", "1e30", "--name", "burst", "--epochs", "3")
    assert status == 1, output
    assert "the training diverged" in output
    assert "a lower lr" in output
    assert not (folder(training, "burst") / "model").exists()
    status, output = training.run("wpformer", "--resume", "burst", "--lr", "1e-4", "--no-register")
    assert status == 0, output
    assert len(curve(training, "burst")) == 3
    client = MlflowClient(f"sqlite:///{training.home / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "wpformer/synthetic-surface"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert re.fullmatch(r"1e\+30; after step \d: 0\.0001", run.data.tags["changed.lr"])


@pytest.mark.slow
def test_a_training_cut_off_before_its_first_validation_is_validated_and_its_model_made(training: Place) -> None:
    job = training.start(*TINY, "--epochs", "50", "--validate-from", "50", "--name", "early", "--smoke")
    wait_for_epoch(job, 1)
    status, output = training.run("wpformer", "--resume", "early")
    assert status == 1
    assert "the training early is running in another process" in output, output
    os.killpg(job.pid, signal.SIGKILL)
    ended(job)
    # As if it had been killed between writing its last checkpoint and reporting it.
    kept = max((folder(training, "early") / "train").glob("checkpoint_*/training.json")).parent
    unreported = kept.with_name("checkpoint_2999-01-01_00-00-00.000000")
    shutil.copytree(kept, unreported)
    about = json.loads((unreported / "training.json").read_text())
    (unreported / "training.json").write_text(json.dumps({**about, "epoch": about["epoch"] + 1}))
    status, output = training.run("wpformer", "--resume", "early", "--epochs", "1", "--validate-from", "1")
    assert status == 0, output
    assert re.search(r"kept: epoch \d+ of \d+", output), output
    assert "registered: smoke-wpformer-synthetic-surface version 1" in output
    status, output = training.run("wpformer", "--resume", "early")
    assert status == 1
    assert "done already" in output
    assert "give more --epochs" in output


def test_a_job_without_a_method_names_them_all(training: Place) -> None:
    status, output = training.run()
    assert status == 2
    assert "Methods: " in output
    assert "wpformer (trained)" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("wpformr",), "did you mean 'wpformer'"),
        (("wpformer", "--recipe", "smal"), "did you mean 'small'"),
        (("wpformer", "--channels", "63"), "multiple of 8"),
        (("wpformer", "--smoke", "--batch", "500"), "do not fill one batch of 500"),
        (("wsfvit", "--smoke", "--batch", "6", "--workers", "2"), "give a batch of 8, or mix none"),
        (("wpformer", "--weights", "random:0", "--data", "synthetic:?train=4&test=4&size=64"), "no mask"),
        (("wpformer", "--resume", "last"), "no wpformer training to resume"),
    ],
)
def test_what_is_wrong_is_told_at_once(
    refused: Callable[..., tuple[int, str]], arguments: tuple[str, ...], message: str
) -> None:
    status, output = refused(functools.partial(training_job, ""), *arguments)
    assert status in (1, 2)
    assert message in output, output
