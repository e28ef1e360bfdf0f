"""Segmentation metrics: properties on any image, the corner cases, and what is refused."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from subband.errors import DataError, UndefinedMetricError
from subband.metrics import SEGMENTATION_METRICS, mean_curves, score_picture, summarise_scores
from subband.metrics.segmentation import e_measure

sides = arrays.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=24)


@st.composite
def pictures(draw):
    """A map of any grey levels, and a mask of any shape."""
    shape = draw(sides)
    prediction = draw(arrays.arrays(np.uint8, shape, elements=st.integers(0, 255)))
    return prediction, draw(arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 128, 129, 255])))


@settings(max_examples=100, deadline=None)
@given(pictures())
def test_values_lie_in_their_ranges(pair):
    score = score_picture(*pair)
    summary = summarise_scores([score])
    assert tuple(summary) == SEGMENTATION_METRICS
    for name, value in summary.items():
        above = 1e-12 + (1 / (score.pixels - 1) if name.startswith("e_") else 0)
        assert 0 <= value <= 1 + above, name
    curves = mean_curves([score])
    assert all(curve.shape == (256,) and np.isfinite(curve).all() for curve in curves)
    assert (np.diff(curves.recall) >= 0).all(), "a lower threshold keeps more"
    assert summary["f_max"] >= summary["f_mean"] - 1e-12
    assert summary["e_max"] >= summary["e_mean"] - 1e-12


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.uint8, sides, elements=st.sampled_from([0, 255])))
def test_a_perfect_map(mask):
    score = score_picture(mask, mask)
    summary = summarise_scores([score])
    assert summary["mae"] == 0
    assert summary["iou"] == summary["dice"] == 1
    if 0 < score.foreground < score.pixels:
        assert summary["s_measure"] == pytest.approx(1)
        for name in ("weighted_f", "f_max", "f_adaptive"):
            assert summary[name] == pytest.approx(1, abs=1e-9), name
        for name in ("e_max", "e_adaptive"):
            assert summary[name] == pytest.approx(score.pixels / (score.pixels - 1)), name
        # Threshold 0 keeps everything, so a mean over thresholds stays a little below.
        assert 0.99 < summary["f_mean"] < 1


@settings(max_examples=60, deadline=None)
@given(pictures())
def test_an_inverted_map_has_the_complementary_error(pair):
    prediction, mask = pair
    score, inverted = score_picture(prediction, mask), score_picture(255 - prediction, mask)
    assert score.mae + inverted.mae == pytest.approx(1)
    if prediction.min() < prediction.max():
        wanted = mask > 128
        stretched = (prediction - float(prediction.min())) / (float(prediction.max()) - float(prediction.min()))
        assert score.mae == pytest.approx(np.abs(stretched - wanted).mean())


@settings(max_examples=60, deadline=None)
@given(pictures(), st.integers(0, 2**31))
def test_counts_are_those_of_every_threshold(pair, seed):
    """Straightforwardly: stretch, cut, count, and align pixel by pixel."""
    prediction, mask = pair
    score = score_picture(prediction, mask)
    wanted = mask > 128
    values = prediction / 255
    if values.min() < values.max():
        values = (values - values.min()) / (values.max() - values.min())
    curve = mean_curves([score]).e
    for place in np.random.default_rng(seed).integers(0, 256, 8):
        kept = np.floor(255 * values) >= 255 - place
        assert score.hits_T[place] == (kept & wanted).sum()
        assert score.alarms_T[place] == (kept & ~wanted).sum()
        if 0 < wanted.sum() < wanted.size:
            f, g = kept - kept.mean(), wanted - wanted.mean()
            aligned = (2 * f * g / (f**2 + g**2 + np.spacing(1)) + 1) ** 2 / 4
            assert curve[place] == pytest.approx(aligned.sum() / (wanted.size - 1))


@settings(max_examples=40, deadline=None)
@given(pictures(), st.data())
def test_repairing_a_pixel_never_raises_the_error(pair, data):
    """On maps that already span 0 to 255, so that the stretch stays as it is."""
    prediction, mask = (picture.copy() for picture in pair)
    mask[0, :2], prediction[0, :2] = (0, 255), (0, 255)
    place = tuple(data.draw(st.integers(0, side - 1)) for side in mask.shape)
    repaired = prediction.copy()
    repaired[place] = 255 if mask[place] > 128 else 0
    before, after = score_picture(prediction, mask), score_picture(repaired, mask)
    assert after.mae <= before.mae
    assert after.iou >= before.iou
    assert after.dice >= before.dice


def disc(size=40, radius=12):
    y, x = np.mgrid[:size, :size] - size / 2
    return np.where(np.hypot(x, y) < radius, 255, 0).astype(np.uint8)


def test_weighted_f_forgives_a_miss_beside_hits_and_counts_far_alarms_more():
    mask = disc()
    hole, edge, near, far = (mask.copy() for _ in range(4))
    hole[19:21, 19:21] = 0
    scattered = mask.copy()
    scattered[[12, 16, 24, 28], [20, 20, 20, 20]] = 0
    near[20, 33:37], far[0, 0:4] = 255, 255
    edge[20, 32:36] = 255
    score = {name: score_picture(picture, mask).weighted_f for name, picture in locals().items() if name in WEIGHED}
    assert score["scattered"] > score["hole"], "the same number of missed pixels, each among hits"
    assert score["edge"] > score["near"] > score["far"]


WEIGHED = {"hole", "scattered", "edge", "near", "far"}


@pytest.mark.parametrize("place", [(20, 20), (0, 0), (39, 39), (39, 5)])
def test_a_single_pixel_has_a_value_and_in_strict_mode_the_published_zero(place):
    mask = np.zeros((40, 40), np.uint8)
    mask[place] = 255
    good, bad = score_picture(mask, mask), score_picture(255 - mask, mask)
    assert good.s_measure == pytest.approx(1, abs=1e-6)
    assert 0 <= bad.s_measure <= 0.5
    assert score_picture(mask, mask, strict_reference=True).s_measure == 0
    assert score_picture(255 - mask, mask, strict_reference=True).s_measure == 0


def test_a_centroid_in_the_last_row_has_a_value_and_in_strict_mode_the_published_zero():
    mask = np.zeros((30, 40), np.uint8)
    mask[-1, 10:20] = 255
    assert score_picture(mask, mask).s_measure == pytest.approx(1, abs=1e-6)
    assert score_picture(mask, mask, strict_reference=True).s_measure == 0
    mask[-2, 10:20] = mask[-3, 10:20] = 255
    assert score_picture(mask, mask, strict_reference=True).s_measure == pytest.approx(1)


def test_a_clean_picture_with_a_faint_map_has_no_region_at_one_half():
    """The stretch would turn noise into a full-contrast map; intersection over union is of what the segmenter said."""
    faint = np.full((20, 20), 3, np.uint8)
    faint[5, 5] = 9
    clean = np.zeros_like(faint)
    assert score_picture(faint, clean).iou == 1
    faint[5, 5] = 128
    assert score_picture(faint, clean).iou == score_picture(faint, clean).dice == 0


def test_iou_and_dice_of_two_overlapping_rectangles():
    mask, prediction = np.zeros((2, 10, 10), np.uint8)
    mask[2:6, 2:8], prediction[2:6, 5:9] = 255, 128
    score = score_picture(prediction, mask)
    assert (score.iou, score.dice) == (pytest.approx(12 / 28), pytest.approx(24 / 40))


def test_the_mask_threshold_is_that_of_the_published_figures():
    mask = np.array([[0, 128, 129, 255]], np.uint8)
    assert score_picture(mask, mask).foreground == 2


def test_a_summary_averages_the_curves_before_it_takes_their_maximum():
    mask = disc()
    faint, strong = np.where(mask, 60, 20).astype(np.uint8), np.where(mask, 250, 200).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, mask.shape).astype(np.uint8)
    scores = [score_picture(picture, mask) for picture in (faint, strong, noise, 255 - mask)]
    curves = mean_curves(scores)
    np.testing.assert_allclose(curves.f, np.mean([mean_curves([score]).f for score in scores], axis=0))
    summary = summarise_scores(scores)
    assert summary["f_max"] == pytest.approx(curves.f.max())
    assert summary["f_max"] < np.mean([mean_curves([score]).f.max() for score in scores])
    assert summary["mae"] == pytest.approx(np.mean([score.mae for score in scores]))


def test_scores_are_small_and_travel_between_processes():
    score = score_picture(disc(400, 90), disc(400, 100))
    stored = pickle.dumps(score)
    assert len(stored) < 6000
    assert summarise_scores([pickle.loads(stored)]) == summarise_scores([score])


def test_e_measure_of_nothing_and_everything_counts_agreement():
    assert e_measure(0, 0, 0, 100) == pytest.approx(100 / 99)
    assert e_measure(0, 30, 0, 100) == pytest.approx(70 / 99)
    assert e_measure(40, 0, 100, 100) == pytest.approx(40 / 99)


@pytest.mark.parametrize(
    ("prediction", "mask", "message"),
    [
        (np.zeros((4, 4)), np.zeros((4, 4), np.uint8), "prediction must be 8-bit grey .* not float64"),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), bool), "mask must be 8-bit grey .* not bool"),
        (np.zeros((4, 5), np.uint8), np.zeros((5, 4), np.uint8), r"prediction has shape \(4, 5\) but mask has shape"),
        (np.zeros((1, 4, 5), np.uint8), np.zeros((4, 5), np.uint8), r"prediction must have shape \(H, W\)"),
        (np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8), "at least two pixels"),
    ],
)
def test_what_cannot_be_scored_is_refused(prediction, mask, message):
    with pytest.raises(DataError, match=message):
        score_picture(prediction, mask)


def test_an_empty_data_set_has_no_summary():
    with pytest.raises(UndefinedMetricError, match="no image to average over"):
        summarise_scores([])
