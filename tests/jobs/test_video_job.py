"""`jobs/train.py` for video prediction, on two workers."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from job_runs import Place

import subband


@pytest.mark.slow
def test_two_workers_train_a_predictor_that_is_registered_and_loaded(place: Place) -> None:
    folder, output = place.smoke_training("wsfvit-video")
    assert "set aside chose the checkpoint" in output
    assert re.search(r"registered: smoke-wsfvit-video-moving-digits version 1", output), output
    predictor = subband.load(folder / "model")
    assert predictor.predict(np.zeros((4, 64, 64), np.uint8)).shape == (4, 64, 64)
    tests = json.loads((folder / "report" / "results.json").read_text())["tests"]
    assert {"frame_mse", "copy_last_mse", "ssim", "psnr_wrapped"} <= set(tests["test"])
    for name in ("learning-curves", "strips-test", "frame-errors-test"):
        assert (folder / "report" / f"{name}.png").stat().st_size > 10_000
