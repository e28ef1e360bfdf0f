import direct_metrics as direct
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from subband import metrics
from subband.errors import DataError, UndefinedMetricError


@st.composite
def labelled_scores(draw, max_size=40):
    """Both labels, many ties, float32 or float64, neighbours in the dtype's grid among them."""
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    base = draw(st.floats(-100, 100, width=32))
    step = dtype(base)
    grid = [step]
    for _ in range(3):
        step = np.nextafter(step, dtype(np.inf))
        grid.append(step)
    value = st.one_of(st.sampled_from(grid), st.integers(-3, 3).map(dtype), st.floats(-1e6, 1e6, width=32).map(dtype))
    labels = draw(
        st.lists(st.booleans(), min_size=2, max_size=max_size).filter(lambda drawn: 0 < sum(drawn) < len(drawn))
    )
    scores = draw(st.lists(value, min_size=len(labels), max_size=len(labels)))
    return np.array(labels), np.array(scores, dtype)


@given(labelled_scores())
def test_image_metrics_equal_sklearn_and_the_definition(case):
    labels, scores = case
    got = metrics.image_metrics(labels.astype(int), scores)
    assert got["image_auroc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert got["image_ap"] == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert got["image_f1max"] == pytest.approx(direct.best_f1(labels, scores), abs=1e-12)


@given(labelled_scores())
def test_f1_threshold_gives_the_stated_f1_as_a_plain_float(case):
    labels, scores = case
    best, threshold = metrics.f1_max(labels, scores)
    assert type(threshold) is float
    # Compared in the scores' own dtype, and after a trip through float64.
    assert direct.f1_at(labels, scores, threshold) == pytest.approx(best, abs=1e-12)
    assert direct.f1_at(labels, scores.astype(np.float64), threshold) == pytest.approx(best, abs=1e-12)


@given(labelled_scores())
def test_auroc_is_antisymmetric_and_blind_to_monotone_maps(case):
    labels, scores = case
    area = metrics.auroc(labels, scores)
    assert metrics.auroc(labels, -scores) == pytest.approx(1 - area, abs=1e-12)
    assert metrics.auroc(labels, scores.astype(np.float64) * 8) == pytest.approx(area, abs=1e-12)


def test_ties_count_half():
    assert metrics.auroc([0, 1], [0.5, 0.5]) == 0.5
    assert metrics.auroc([0, 0, 1], [0.1, 0.5, 0.5]) == 0.75


def test_f1_threshold_lies_halfway_and_the_highest_of_equals_wins():
    assert metrics.f1_max([0, 0, 1, 1], [0.0, 1.0, 3.0, 4.0]) == (1.0, 2.0)
    # Calling only the 9, or all three, both give F1 = 2/3 at most; the fewest alarms win.
    value, threshold = metrics.f1_max([1, 0, 0, 1], [9.0, 5.0, 4.0, 1.0])
    assert value == pytest.approx(2 / 3)
    assert threshold == 7.0


def test_f1_threshold_below_the_lowest_score_calls_all_defective():
    value, threshold = metrics.f1_max([1, 1, 0], np.array([1, 1, 1], np.float32))
    assert value == pytest.approx(0.8)
    assert np.float32(1) > threshold
    assert threshold == pytest.approx(1, abs=1e-6)


def test_integer_and_half_precision_scores_are_exact():
    assert metrics.auroc([0, 1, 1], np.array([2**53 - 1, 2**53, 0])) == 0.5
    assert metrics.auroc([0, 1], np.array([1, 1.001], np.float16)) == 1.0


@pytest.mark.parametrize(
    ("labels", "missing"),
    [([1, 1], r"good sample \(label 0\)"), ([0, 0], r"defective sample \(label 1\)"), ([], "defective")],
)
@pytest.mark.parametrize(
    "metric", [metrics.image_metrics, metrics.auroc, metrics.average_precision, metrics.f1_max, metrics.roc_curve]
)
def test_one_label_is_undefined_and_names_the_missing_one(metric, labels, missing):
    with pytest.raises(UndefinedMetricError, match=missing):
        metric(labels, [0.5] * len(labels))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_damaged_score_is_an_error_with_its_place(bad):
    with pytest.raises(DataError, match=r"scores\[2\] is .*1 of 4 values"):
        metrics.image_metrics([0, 1, 0, 1], [0.1, 0.2, bad, 0.3])


def test_bad_labels_and_shapes():
    with pytest.raises(DataError, match="must be 0"):
        metrics.image_metrics([0, 2], [0.1, 0.2])
    with pytest.raises(DataError, match="must be 0"):
        metrics.image_metrics(["good", "cut"], [0.1, 0.2])
    with pytest.raises(DataError, match=r"\(3,\).*\(2,\)"):
        metrics.image_metrics([0, 1, 1], [0.1, 0.2])
    with pytest.raises(DataError, match="real numbers"):
        metrics.image_metrics([0, 1], ["a", "b"])


def test_inputs_are_left_as_they_were():
    labels, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.1, 0.2])
    metrics.image_metrics(labels, scores)
    assert scores.tolist() == [0.9, 0.8, 0.1, 0.2]
    assert labels.tolist() == [1, 0, 1, 0]
