"""Sweeps whose trials are trainings, as a person starts them."""

from __future__ import annotations

from pathlib import Path

import pytest
from job_runs import ROOT, Place

import subband
from subband.trials import read_records


@pytest.mark.slow
def test_a_sweep_of_trainings_ends_with_a_model_that_is_registered(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    place = Place(tmp_path / "home", tmp_path / "elsewhere", job=ROOT / "jobs" / "sweep_wpformer.py")
    status, output = place.run("--smoke", "--preset", "ablation", "--name", "first")
    assert status == 0, output
    assert "Trials ranked by weighted_f (selection: holdout)" in output
    assert "as it was trained" in output
    records = read_records(place.home / "runs" / "first")
    assert [(record.params["wavelet"], record.params["prototypes"]) for record in records] == [
        (True, True),
        (True, False),
    ]
    tracking = f"sqlite:///{place.home / 'mlflow.db'}"
    model = subband.load("models:/smoke-wpformer-synthetic-surface@champion", tracking)
    assert model.about["selection"] == "holdout"

    status, output = place.run("--smoke", "--search", "pbt", "--channels", "16", "32")
    assert status == 1
    assert "channels cannot change" in output


@pytest.mark.slow
def test_a_sweep_of_classifiers_says_what_each_wavelet_gave(tmp_path: Path) -> None:
    place = Place(tmp_path / "home", tmp_path, job=ROOT / "jobs" / "sweep_wsfvit.py")
    status, output = place.run("--smoke", "--preset", "wavelets", "--name", "stems")
    assert status == 0, output
    assert "Trials ranked by top1 (selection: holdout)" in output
    records = read_records(place.home / "runs" / "stems")
    assert len({record.params["wavelet"] for record in records}) == len(records) > 1
    champion = "models:/smoke-wsfvit-synthetic-shapes@champion"
    assert subband.load(champion, f"sqlite:///{place.home / 'mlflow.db'}").classes == ("disc", "square", "triangle")
