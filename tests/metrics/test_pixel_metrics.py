import direct_metrics as direct
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from subband import metrics
from subband.errors import DataError, ParamsError, UndefinedMetricError


@st.composite
def maps_and_masks(draw):
    """A few small images with good ones among them, continuous or heavily tied maps."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)).filter(lambda s: np.prod(s) > 1))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    masks = rng.random(shape) < draw(st.floats(0.05, 0.6))
    masks.flat[0], masks.flat[-1] = True, False
    maps = rng.normal(size=shape) + draw(st.floats(0, 2)) * masks
    levels = draw(st.sampled_from([None, 1, 2, 5]))
    if levels:
        maps = np.round(maps * levels) / levels
    return maps.astype(draw(st.sampled_from([np.float32, np.float64]))), masks


@given(maps_and_masks(), st.floats(0.01, 1.0))
def test_pixel_metrics_equal_the_direct_definitions(case, limit):
    maps, masks = case
    got = metrics.pixel_metrics(maps, masks, limits=(limit, 0.3, 1.0))
    points = direct.pro_points(maps, masks)
    for each in (limit, 0.3, 1.0):
        assert got[f"au_pro_{each:g}"] == pytest.approx(direct.area_to_limit(points, each), abs=1e-9)
    flat_masks, flat_maps = masks.ravel(), maps.ravel()
    assert got["pixel_auroc"] == pytest.approx(roc_auc_score(flat_masks, flat_maps), abs=1e-12)
    assert got["pixel_ap"] == pytest.approx(average_precision_score(flat_masks, flat_maps), abs=1e-12)
    assert got["pixel_f1max"] == pytest.approx(direct.best_f1(flat_masks, flat_maps), abs=1e-12)


@given(maps_and_masks())
def test_regions_equal_a_flood_fill(case):
    _, masks = case
    regions = metrics.label_regions(masks)
    flooded = direct.regions_by_flood_fill(masks)
    assert sorted(regions.area_R) == sorted(region.sum() for region in flooded)
    partition = {frozenset(np.flatnonzero(regions.region_P == r)) for r in range(len(regions))}
    assert partition == {frozenset(np.flatnonzero(region[masks])) for region in flooded}
    assert regions.weight_P.sum() == pytest.approx(1)


def test_regions_are_eight_connected_and_never_join_images():
    masks = np.zeros((2, 4, 4), bool)
    masks[0, 0, 0] = masks[0, 1, 1] = True  # touch at a corner: one region
    masks[0, 3, 3] = True
    masks[1, 3, 3] = True  # the same place in the next image
    assert sorted(metrics.label_regions(masks).area_R) == [1, 1, 2]


def test_small_and_large_regions_weigh_the_same():
    masks = np.zeros((1, 10, 10), bool)
    masks[0, :5, :4] = True  # 20 pixels, all found
    masks[0, 9, 9] = True  # 1 pixel, missed
    maps = np.zeros((1, 10, 10), np.float32)
    maps[0, :5, :4] = 1.0
    maps[0, 9, 9] = -1.0
    assert metrics.au_pro(maps, masks, limit=0.3) == pytest.approx(0.5)


def test_constant_map_gives_the_diagonal():
    masks = np.zeros((2, 8, 8), bool)
    masks[0, 2:4, 2:4] = True
    got = metrics.pixel_metrics(np.ones((2, 8, 8), np.float32), masks)
    assert got["pixel_auroc"] == pytest.approx(0.5)
    assert got["au_pro_0.3"] == pytest.approx(0.15)  # half the limit, divided by the limit
    assert got["pixel_ap"] == pytest.approx(4 / 128)


def test_perfect_and_worst_maps():
    masks = np.zeros((2, 8, 8), bool)
    masks[0, 2:4, 2:4] = True
    perfect = metrics.pixel_metrics(masks.astype(np.float32), masks)
    assert set(perfect) == {"pixel_auroc", "pixel_ap", "pixel_f1max", "au_pro_0.3", "au_pro_0.05"}
    assert all(value == pytest.approx(1) for value in perfect.values())
    worst = metrics.pixel_metrics(-masks.astype(np.float32), masks)
    assert worst["pixel_auroc"] == worst["au_pro_0.3"] == 0.0


def test_good_images_are_negatives():
    masks = np.zeros((2, 6, 6), bool)
    masks[0, 0, 0] = True
    maps = np.zeros((2, 6, 6), np.float32)
    maps[0, 0, 0], maps[1] = 1.0, 2.0
    assert metrics.au_pro(maps[:1], masks[:1]) == pytest.approx(1.0)
    assert metrics.au_pro(maps, masks) == 0.0  # the good image's 36 of 71 negatives come first: the limit is passed


def test_labelled_once_gives_the_same():
    rng = np.random.default_rng(3)
    masks = rng.random((3, 9, 9)) < 0.2
    regions = metrics.label_regions(masks)
    for _ in range(2):
        maps = rng.normal(size=masks.shape).astype(np.float32)
        before = maps.copy()
        assert metrics.pixel_metrics(maps, masks, regions=regions) == metrics.pixel_metrics(maps, masks)
        np.testing.assert_array_equal(maps, before)


def test_integer_masks_mean_non_zero():
    rng = np.random.default_rng(4)
    masks = rng.random((2, 9, 9)) < 0.2
    maps = rng.normal(size=masks.shape).astype(np.float32)
    assert metrics.pixel_metrics(maps, masks.astype(np.uint8) * 255) == metrics.pixel_metrics(maps, masks)


def test_regions_of_other_masks_are_refused():
    masks = np.zeros((1, 4, 4), bool)
    masks[0, 0, 0] = True
    with pytest.raises(DataError, match="other masks"):
        metrics.pixel_metrics(np.zeros((1, 4, 4)), masks, regions=metrics.label_regions(masks[:, ::-1]))


@pytest.mark.parametrize("function", [metrics.pixel_metrics, metrics.au_pro, metrics.pro_curve])
@pytest.mark.parametrize(("fill", "missing"), [(False, "no defect pixel"), (True, "no good pixel")])
def test_one_kind_of_pixel_is_undefined(function, fill, missing):
    with pytest.raises(UndefinedMetricError, match=missing):
        function(np.zeros((2, 4, 4)), np.full((2, 4, 4), fill))


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_damaged_map_is_an_error_with_its_place(bad, inside):
    masks = np.zeros((3, 4, 4), bool)
    masks[1, 2, 3] = masks[0, 0, 0] = inside
    masks[2, 1, 1] = True
    maps = np.zeros((3, 4, 4), np.float32)
    maps[1, 2, 3] = bad
    with pytest.raises(DataError, match=r"maps\[1, 2, 3\] is .*1 of 48"):
        metrics.pixel_metrics(maps, masks)


def test_bad_shapes_masks_and_limits():
    masks = np.zeros((1, 4, 4), bool)
    masks[0, 0, 0] = True
    with pytest.raises(DataError, match=r"\(1, 4, 5\).*\(1, 4, 4\)"):
        metrics.pixel_metrics(np.zeros((1, 4, 5)), masks)
    with pytest.raises(DataError, match=r"\(N, H, W\)"):
        metrics.pixel_metrics(np.zeros((4, 4)), masks[0])
    with pytest.raises(DataError, match="threshold first"):
        metrics.label_regions(masks.astype(np.float32))
    for limit in (0.0, 1.5, np.nan):
        with pytest.raises(ParamsError, match="limit"):
            metrics.au_pro(np.zeros((1, 4, 4)), masks, limit=limit)


def test_millions_of_pixels_keep_their_accuracy():
    rng = np.random.default_rng(5)
    masks = np.zeros((20, 224, 224), bool)
    masks[:10, 60:120, 60:120] = True
    maps = rng.normal(size=masks.shape).astype(np.float32) + masks
    got = metrics.pixel_metrics(maps, masks)
    assert got["pixel_auroc"] == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-10)
    assert got["pixel_ap"] == pytest.approx(average_precision_score(masks.ravel(), maps.ravel()), abs=1e-10)
