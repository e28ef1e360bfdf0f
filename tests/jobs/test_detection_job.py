"""`jobs/train.py` for detection, on two workers."""

from __future__ import annotations

import json

import pytest
from job_runs import Place
from PIL import Image

import subband


@pytest.mark.slow
def test_two_workers_train_a_detector_that_is_registered_and_loaded(place: Place) -> None:
    folder, output = place.smoke_training("wsfvit-detection")
    assert "registered: smoke-wsfvit-detection-synthetic-coco version 1" in output
    (found,) = subband.load(folder / "model").predict([Image.new("RGB", (90, 70))])
    assert found.size == (90, 70)
    tests = json.loads((folder / "report" / "results.json").read_text())["tests"]
    assert {"box_ap", "box_ap50", "mask_ap", "mask_ap50"} <= set(tests["test"])
    for name in ("learning-curves", "gallery-test"):
        assert (folder / "report" / f"{name}.png").stat().st_size > 10_000
