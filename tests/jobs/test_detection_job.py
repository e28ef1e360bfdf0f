"""`jobs/train.py` for detection, on two workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from job_runs import ROOT, Place
from PIL import Image

import subband


@pytest.mark.slow
def test_two_workers_train_a_detector_that_is_registered_and_loaded(tmp_path: Path) -> None:
    training = Place(tmp_path / "home", tmp_path, job=ROOT / "jobs" / "train.py")
    status, output = training.run("wsfvit-detection", "--smoke", "--workers", "2", "--name", "first")
    assert status == 0, output
    assert "registered: smoke-wsfvit-detection-synthetic-coco version 1" in output
    folder = training.home / "trainings" / "first"
    (found,) = subband.load(folder / "model").predict([Image.new("RGB", (90, 70))])
    assert found.size == (90, 70)
    tests = json.loads((folder / "report" / "results.json").read_text())["tests"]
    assert {"box_ap", "box_ap50", "mask_ap", "mask_ap50"} <= set(tests["test"])
    for name in ("learning-curves", "gallery-test"):
        assert (folder / "report" / f"{name}.png").stat().st_size > 10_000
