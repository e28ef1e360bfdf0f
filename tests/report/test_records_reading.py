import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import SEARCHED, record

from subband import report
from subband.errors import ParamsError
from subband.trials.ranking import complete_with


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


def test_ties_of_an_older_ledger_keep_the_order_of_completion():
    records = [record(1, 0.9, 0.5), record(0, 0.9, 0.8), record(2, 0.1, 0.9)]
    assert report.regret(records, "image_auroc") == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("objectives", "first"),
    [
        (["image_auroc"], 2),
        (["image_auroc", "pixel_auroc"], 1),
        (["image_auroc", "latency_ms"], 0),
        (["latency_ms"], 0),
    ],
)
def test_ties_go_to_further_objectives_then_to_au_pro_and_pixel_auroc(objectives, first):
    values = [(0.7, 0.99, 1.0), (0.8, 0.99, 3.0), (0.9, 0.5, 2.0), (math.nan, 1.0, 4.0)]
    records = [
        record(i, {"image_auroc": 1.0, "au_pro_0.3": pro, "pixel_auroc": pixel - (i == 0) / 100, "latency_ms": ms})
        for i, (pro, pixel, ms) in enumerate(values)
    ]
    if objectives == ["image_auroc", "pixel_auroc"]:
        records.pop()
    assert complete_with(records, objectives[0], then=objectives[1:])[0].number == first


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=8), st.randoms())
def test_the_ranking_does_not_depend_on_who_finished_first(values, random):
    finished = list(range(len(values)))
    random.shuffle(finished)
    records = [
        record(number, {"image_auroc": image, "pixel_auroc": pixel}).model_copy(update={"proposed": proposed})
        for proposed, (number, (image, pixel)) in enumerate(zip(finished, values, strict=True))
    ]
    random.shuffle(records)
    wanted = sorted(range(len(values)), key=lambda i: (-values[i][0], -values[i][1], i))
    assert [each.proposed for each in complete_with(records, "image_auroc")] == wanted


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
