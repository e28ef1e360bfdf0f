"""Overlays: at the right place of the image, on one colour scale."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from subband.data import Preprocess
from subband.methods import Calibration
from subband.serving.heatmap import colour_scale, inspected_box, overlay_png
from tests.serve.conftest import noise


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (64, 64), (101, 257), (40, 40)])
@pytest.mark.parametrize(
    "preprocess",
    [Preprocess(framing="stretch", image_size=64), Preprocess(framing="crop", resize=80, image_size=64)],
)
def test_the_inspected_box_is_what_the_detector_sees(size, preprocess):
    smooth = noise(8, 8).resize(size, Image.Resampling.BICUBIC)
    box = inspected_box(preprocess, *size)
    assert 0 <= box[0] < box[2] <= size[0] + 1e-9
    assert 0 <= box[1] < box[3] <= size[1] + 1e-9
    seen = preprocess.image(smooth).astype(float)
    cut = np.asarray(smooth.resize((64, 64), Image.Resampling.LANCZOS, box=box)).astype(float)
    assert np.abs(seen - cut).mean() < 1.5
    if preprocess.framing == "crop":
        whole = np.asarray(smooth.resize((64, 64), Image.Resampling.LANCZOS)).astype(float)
        assert np.abs(seen - whole).mean() > 4


def test_the_scale_starts_at_the_quietest_good_picture_and_has_the_threshold_in_its_middle():
    calibration = Calibration(good_scores=(2.0, 3.0, 5.0), threshold=6.0, rule="test")
    map_SS = np.array([[0.5, 9.0]], np.float32)
    assert colour_scale(calibration, 6.0, map_SS) == (2.0, 6.0, 10.0)
    assert colour_scale(calibration, 6.0, 3 * map_SS) == (2.0, 6.0, 27.0)
    assert colour_scale(calibration, 4.0, map_SS) == (2.0, 4.0, 9.0)
    assert colour_scale(calibration, 1.5, map_SS) == (0.5, 1.5, 9.0)
    low, middle, high = colour_scale(calibration, 0.5, map_SS)
    assert low < middle == 0.5 < high


def test_the_overlay_shows_the_map_at_its_place_and_the_picture_elsewhere():
    picture = noise(120, 90)
    map_SS = np.zeros((10, 10), np.float32)
    map_SS[2:4, 6:8] = 10.0
    png = overlay_png(picture, map_SS, (0, 0, 120, 90), (5.0, 7.5, 10.0))
    shown = np.asarray(Image.open(io.BytesIO(png))).astype(int)
    grey = np.asarray(picture.convert("L").convert("RGB")).astype(int)
    assert shown.shape == (90, 120, 3)
    changed = np.abs(shown - grey).max(axis=2) > 1
    rows, columns = np.nonzero(changed)
    # Map rows 2 and 3 of 10 are image rows 18 to 35 of 90, give or take half a cell of interpolation.
    assert (18 - 5 <= rows.min() <= 18, 35 <= rows.max() <= 35 + 5) == (True, True)
    assert (72 - 7 <= columns.min() <= 72, 95 <= columns.max() <= 95 + 7) == (True, True)
    hot = shown[25:29, 80:88]
    assert (hot[..., 0] > 190).all()
    assert (hot[..., 2] < 200).all()


def test_values_outside_the_scale_stay_in_it():
    picture = noise(20, 20)
    grey = np.asarray(picture.convert("L").convert("RGB"))
    quiet = overlay_png(picture, np.full((4, 4), -3, np.float32), (0, 0, 20, 20), (0.0, 0.5, 1.0))
    assert (np.asarray(Image.open(io.BytesIO(quiet))) == grey).all()
    loud = [
        overlay_png(picture, np.full((4, 4), value, np.float32), (0, 0, 20, 20), (0.0, 0.5, 1.0))
        for value in (1.0, 50.0)
    ]
    assert loud[0] == loud[1] != quiet
