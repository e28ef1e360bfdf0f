import direct_metrics as direct
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve as sklearn_roc_curve

from subband import metrics
from subband.errors import DataError, ParamsError


def area(curve):
    return float(np.sum(np.diff(curve.fpr) * (curve.rate[1:] + curve.rate[:-1]) / 2))


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 1000]))
def test_curves_pass_through_the_definitions_points(seed, levels):
    rng = np.random.default_rng(seed)
    masks = rng.random((2, 5, 5)) < 0.3
    masks.flat[0], masks.flat[-1] = True, False
    maps = np.round(rng.normal(size=masks.shape) * levels) / levels
    roc, pro = metrics.roc_curve(masks, maps), metrics.pro_curve(maps, masks)
    for curve in (roc, pro):
        assert (curve.fpr[0], curve.rate[0], curve.fpr[-1], curve.rate[-1]) == (0, 0, 1, 1)
        assert (np.diff(curve.fpr) >= 0).all()
        assert (np.diff(curve.rate) >= 0).all()
    fpr, tpr, _ = sklearn_roc_curve(masks.ravel(), maps.ravel(), drop_intermediate=False)
    points = {(round(x, 9), round(y, 9)) for x, y in zip(roc.fpr, roc.rate, strict=True)}
    assert points <= {(round(x, 9), round(y, 9)) for x, y in zip(fpr, tpr, strict=True)}
    wanted = {(round(x, 9), round(y, 9)) for x, y in direct.pro_points(maps, masks)}
    assert {(round(x, 9), round(y, 9)) for x, y in zip(pro.fpr, pro.rate, strict=True)} <= wanted
    assert area(roc) == pytest.approx(metrics.auroc(masks, maps), abs=1e-9)
    assert area(pro) == pytest.approx(metrics.au_pro(maps, masks, limit=1.0), abs=1e-9)


def test_thinned_curve_keeps_exact_points_and_nearly_the_area():
    rng = np.random.default_rng(0)
    labels = rng.random(40_000) < 0.3
    scores = rng.normal(size=40_000) + labels
    full = metrics.roc_curve(labels, scores, max_points=10**6)
    thin = metrics.roc_curve(labels, scores)
    assert len(full.fpr) > 2000 >= len(thin.fpr) > 1500
    assert set(zip(*thin, strict=True)) <= set(zip(*full, strict=True))
    assert area(thin) == pytest.approx(area(full), abs=1e-4)
    two = metrics.roc_curve(labels, scores, max_points=2)
    assert list(zip(*two, strict=True)) == [(0, 0), (1, 1)]
    with pytest.raises(ParamsError, match="at least 2"):
        metrics.roc_curve(labels, scores, max_points=1)


@given(st.lists(st.integers(-5, 50), min_size=1, max_size=40), st.floats(0.005, 0.995))
def test_threshold_is_the_lowest_score_that_keeps_the_promise(drawn, fpr):
    scores = np.array(drawn, np.float32)
    n = len(scores)
    got = metrics.threshold_at_fpr(scores, fpr)
    assert got.threshold in scores
    ascending = np.sort(scores)
    # Leave-one-out over n + 1 exchangeable scores: k-th lowest is exceeded with probability 1 - k / (n + 1).
    promised = [k for k in range(1, n + 1) if (n + 1 - k) / (n + 1) <= fpr + 1e-9]
    assert got.guaranteed == bool(promised)
    k = promised[0] if promised else n
    assert got.threshold == ascending[k - 1]
    assert got.bound == pytest.approx((n + 1 - k) / (n + 1))
    if got.guaranteed:
        assert got.bound <= fpr + 1e-9


def test_promise_holds_on_fresh_samples():
    rng = np.random.default_rng(1)
    alarms = []
    for _ in range(2000):
        threshold = metrics.threshold_at_fpr(rng.normal(size=39), 0.1).threshold
        alarms.append((rng.normal(size=50) > threshold).mean())
    assert np.mean(alarms) == pytest.approx(0.1, abs=0.005)  # 39 scores make 1 - 36/40 exactly the wanted rate


def test_too_few_good_scores_are_said():
    few = metrics.threshold_at_fpr([3.0, 1.0, 2.0], 0.01)
    assert (few.threshold, few.guaranteed, few.bound) == (3.0, False, 0.25)
    assert "cannot be guaranteed by 3 good scores (it takes 99)" in few.note
    enough = metrics.threshold_at_fpr(np.arange(99.0), 0.01)
    assert (enough.threshold, enough.guaranteed) == (98.0, True)
    assert enough.bound == pytest.approx(0.01)


def test_rounding_does_not_cost_a_rank():
    assert metrics.threshold_at_fpr(np.arange(99.0), 0.29).threshold == 70.0  # 100 * 0.29 is just below 29 in float64


def test_bad_rates_and_scores():
    for fpr in (0.0, 1.0, -0.1, np.nan):
        with pytest.raises(ParamsError, match=r"\(0, 1\)"):
            metrics.threshold_at_fpr([1.0], fpr)
    with pytest.raises(DataError, match="n >= 1"):
        metrics.threshold_at_fpr([], 0.1)
    with pytest.raises(DataError, match=r"good_scores\[1\] is nan"):
        metrics.threshold_at_fpr([1.0, np.nan], 0.1)
