"""Training, validation and explanation of a classifier as a person starts them."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import pytest
from job_runs import ROOT, Place

import subband


@pytest.mark.slow
def test_a_classifier_is_trained_validated_and_explained(place: Place, tmp_path: Path) -> None:
    folder, output = place.smoke_training("wsfvit")
    assert "registered: smoke-wsfvit-synthetic-shapes version 1" in output
    tested = json.loads((folder / "report" / "results.json").read_text())["tests"]["test"]
    assert (folder / "report" / "confusion-test.png").is_file()
    champion = "models:/smoke-wsfvit-synthetic-shapes@champion"
    assert subband.load(champion, f"sqlite:///{place.home / 'mlflow.db'}").classes == ("disc", "square", "triangle")

    data = "synthetic-shapes:?classes=3&train=24&validation=6&test=6&size=32"
    validate = dataclasses.replace(place, job=ROOT / "jobs" / "validate.py")
    status, output = validate.run(champion, "--data", data, "--out", str(tmp_path / "validated"))
    assert status == 0, output
    found = json.loads((tmp_path / "validated" / "results.json").read_text())
    assert found["top1"] == pytest.approx(tested["top1"])
    assert found["cross_entropy"] == pytest.approx(tested["cross_entropy"], abs=1e-4)

    explain = dataclasses.replace(place, job=ROOT / "jobs" / "explain.py")
    asked = (str(folder / "model"), "resnet10t=random:0", "wsfvit_p0_224=random:0", "--data", data, "--images", "2")
    status, output = explain.run(*asked, "--out", str(tmp_path / "explained"))
    assert status == 0, output
    assert (tmp_path / "explained" / "grad-cam.png").is_file()
    status, output = explain.run(str(folder / "modell"), "--data", data)
    assert status == 1
    assert "is neither a saved model, nor a checkpoint's file, nor a model of timm's" in output


def test_models_are_counted_beside_the_published_figures(tmp_path: Path) -> None:
    place = Place(tmp_path / "home", tmp_path, job=ROOT / "jobs" / "count_wsfvit.py")
    status, output = place.run("--models", "wsfvit_p0_224", "--csv-file", str(tmp_path / "counts.csv"))
    assert status == 0, output
    with (tmp_path / "counts.csv").open() as handle:
        (row,) = csv.DictReader(handle)
    assert f"{int(row['parameters']):,}" in output
    assert abs(float(row["difference_from_published_percent"])) < 1
    status, output = place.run("--models", "wsfvit_q_224")
    assert status == 1
    assert "error: 'wsfvit_q_224' is not" in output
