import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import SEARCHED, record

from subband import report
from subband.errors import ParamsError


def test_regret_is_best_report_minus_the_chosen_ones():
    records = [record(0, 0.95, 0.90), record(1, 0.93, 0.94), record(2, 0.90, 0.92)]
    assert report.regret(records, "image_auroc") == pytest.approx(0.04)
    assert report.regret(records, "image_auroc", chosen=records[2]) == pytest.approx(0.02)
    assert report.regret(records, "image_auroc", chosen=records[1]) == 0.0


def test_regret_looks_at_complete_trials_alone():
    records = [record(0, 0.9, 0.9), record(1, 0.99, 0.99, status="stopped"), record(2, status="failed")]
    assert report.regret(records, "image_auroc") == 0.0


def test_regret_is_unknown_without_labelled_test_samples():
    assert report.regret([record(0, 0.9)], "image_auroc") is None
    assert report.regret([record(0, status="failed")], "image_auroc") is None
    assert report.regret([], "image_auroc") is None
    assert report.regret([record(0, 0.9, math.nan)], "image_auroc") is None


def test_first_finished_wins_a_tie():
    records = [record(1, 0.9, 0.5), record(0, 0.9, 0.8), record(2, 0.1, 0.9)]
    assert report.regret(records, "image_auroc") == pytest.approx(0.1)


def test_misspelt_metric_names_the_near_ones():
    with pytest.raises(ParamsError, match="did you mean 'image_auroc'"):
        report.regret([record(0, 0.9, 0.9)], "image_aucroc")


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_front_holds_exactly_the_points_that_none_dominates(points):
    records = [record(i, {"a": x / 4, "b": y / 4}) for i, (x, y) in enumerate(points)]
    records.append(record(99, {"a": 9.0, "b": 9.0}, status="stopped"))
    front = {r.number for r in report.non_dominated(records, ["a", "b"])} if points else set()
    wanted = {
        i for i, (x, y) in enumerate(points) if not any(u >= x and v >= y and (u, v) != (x, y) for u, v in points)
    }
    assert front == wanted


@pytest.mark.parametrize(
    ("params", "searched", "name"),
    [
        (record(0).params | {"subbands": "LL+LH+HL"}, SEARCHED, "haar-1 LL+LH+HL s4 r0.01"),
        ({"level": 2, "sigma": 0.5}, ("level", "sigma"), "level=2 s0.5"),
        ({"semantic": True, "mixed": False}, ("semantic", "mixed"), "semantic no-mixed"),
        ({"fusion": "mean", "backbone": "resnet18"}, ("fusion", "backbone"), "fusion=mean resnet18"),
        ({"first": "haar", "second": "haar"}, ("first", "second"), "first=haar second=haar"),
        ({"layers": [1, 2], "seed": 7}, ("layers", "seed"), "1+2 seed=7"),
        ({"sigma": 4, "coreset_ratio": None}, ("sigma", "coreset_ratio", "unknown"), "s4"),
        ({"cov_reg": 0.013150212}, ("cov_reg",), "r0.0132"),
        ({"sigma": 4}, (), "nothing searched"),
    ],
)
def test_short_name(params, searched, name):
    assert report.short_name(params, searched) == name
