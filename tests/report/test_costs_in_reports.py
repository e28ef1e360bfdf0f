"""Costs in tables and figures: a smaller latency is better, and nobody is told otherwise."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import record, words
from rich.console import Console

from subband import report
from subband.errors import ParamsError
from subband.trials.ranking import complete_with

# Accuracy and the two costs: t0 is the most accurate, t1 dominates t2, t3 is the cheapest.
POINTS = [(0.95, 80.0, 400.0), (0.90, 20.0, 4.0), (0.88, 30.0, 5.0), (0.70, 5.0, 0.4)]
NAMES = ("image_auroc", "latency_ms", "bank_mb")
RECORDS = [record(i, *[dict(zip(NAMES, point, strict=True))] * 2, sigma=i) for i, point in enumerate(POINTS)]


def test_the_cheapest_ranks_first_by_a_cost():
    assert [r.number for r in complete_with(RECORDS, "latency_ms")] == [3, 1, 2, 0]
    assert [r.number for r in complete_with(RECORDS, "image_auroc")] == [0, 1, 2, 3]


def test_the_front_of_accuracy_against_cost():
    assert [r.number for r in report.non_dominated(RECORDS, ["image_auroc", "latency_ms"])] == [0, 1, 3]
    assert [r.number for r in report.non_dominated(RECORDS, ["latency_ms", "image_auroc"])] == [3, 1, 0]


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=12))
def test_the_front_over_mixed_directions(points):
    names = ["image_auroc", "latency_ms", "fps"]
    records = [record(i, dict(zip(names, map(float, point), strict=True))) for i, point in enumerate(points)]
    merits = [(accuracy, -latency, fps) for accuracy, latency, fps in points]
    wanted = {
        i
        for i, merit in enumerate(merits)
        if not any(other != merit and all(o >= m for o, m in zip(other, merit, strict=True)) for other in merits)
    }
    assert {r.number for r in report.non_dominated(records, names)} == wanted


def test_the_regret_of_a_cost_is_what_the_cheapest_would_have_saved():
    assert report.regret(RECORDS, "latency_ms", chosen=RECORDS[1]) == pytest.approx(15.0)


@pytest.mark.parametrize("selection", ["holdout", "test"])
def test_a_cost_has_one_column_of_its_own_name(selection):
    table = report.ranking_table(RECORDS, ["image_auroc", "latency_ms", "bank_mb"], selection)
    columns = {str(c.header).replace("\n", " "): [str(cell) for cell in c.cells] for c in table.columns}
    assert columns["latency ms"] == ["80", "20", "30", "5"]
    assert columns["bank mb"] == ["400", "4", "5", "0.4"]
    assert not {"choose latency ms", "report latency ms", "test latency ms"} & columns.keys()
    console = Console(width=140, file=io.StringIO())
    console.print(table)
    said = console.file.getvalue()
    assert "chosen trial's): image_auroc 0.0000" in said, (
        "labels mislead about accuracy alone, so it alone is regretted"
    )


def test_the_pareto_figure_says_which_way_is_better_and_steps_along_what_is_reachable():
    figure = report.pareto_front(RECORDS, ["image_auroc", "latency_ms"])
    axes = figure.axes[0]
    assert axes.get_xlabel() == "image_auroc (larger is better), choose"
    assert axes.get_ylabel() == "latency_ms (smaller is better)"
    assert "higher" not in words(figure)
    (line,) = axes.lines
    assert list(zip(*line.get_data(), strict=True)) == [(0.95, 80.0), (0.90, 20.0), (0.70, 5.0)]
    assert line.get_drawstyle() == "steps-post"
    assert axes.get_yscale() == "linear"


def test_costs_over_decades_stand_on_a_logarithmic_axis():
    axes = report.pareto_front(RECORDS, ["image_auroc", "bank_mb"]).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    axes.figure.draw_without_rendering()
    assert {"1", "10", "100"} <= {label.get_text() for label in axes.get_yticklabels()}


def test_parallel_coordinates_put_the_cheapest_on_top():
    figure = report.parallel_coordinates(RECORDS, "latency_ms")
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 6]
    best = max(lines, key=lambda line: line.get_linewidth())
    assert best.get_ydata()[-1] == pytest.approx(1.0)
    assert sorted(line.get_ydata()[-1] for line in lines) == pytest.approx([0, 50 / 75, 60 / 75, 1])
    text = words(figure)
    assert "latency_ms (smaller is better)" in text
    assert "black: the best (haar-1 LL+LH s3 r0.01, 5)" in text


def test_importance_of_a_cost():
    records = [record(i, {"image_auroc": 0.9, "bank_mb": float(i % 3)}, sigma=float(i % 3)) for i in range(12)]
    assert next(iter(report.param_importances(records, "bank_mb").shares)) == "sigma"


def test_bars_between_0_and_1_refuse_costs():
    with pytest.raises(ParamsError, match="not latency_ms: draw costs as a Pareto front"):
        report.champion_per_category(RECORDS[0], ["image_auroc", "latency_ms"])
