import io

import optuna
import pytest
from made_records import SEARCHED, record, sweep, words

from subband import report
from subband.errors import ParamsError
from subband.trials import TrialRecord

TWO = ["image_auroc", "pixel_auroc"]


def png(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=40)
    return stream.getvalue()


def lines_of_trials(figure, axes_count):
    return [line for line in figure.axes[0].lines if len(line.get_xdata()) == axes_count]


def test_parallel_coordinates_draw_each_complete_trial_once():
    records = [*sweep(20), record(50, 0.99, status="stopped"), record(51, status="failed")]
    figure = report.parallel_coordinates(records, "image_auroc")
    lines = lines_of_trials(figure, len(SEARCHED) + 1)
    assert len(lines) == 20
    best = max(sweep(20), key=lambda r: r.choose["image_auroc"])
    thick = max(lines, key=lambda line: line.get_linewidth())
    assert thick.get_ydata()[-1] == pytest.approx(1.0)  # the best stands at the top of the objective's axis
    text = words(figure)
    assert f"{report.short_name(best.params, SEARCHED)}, {best.choose['image_auroc']:.4f}" in text
    assert "20 complete trials" in text
    assert "2 stopped, failed" in text
    for label in ("cov_reg (log)", "LL+LH+HL", "haar", "db4", "0.01"):
        assert label in text
    assert png(figure)


def test_parallel_coordinates_place_numbers_by_their_scale():
    records = [record(i, 0.9 + i / 100, cov_reg=c) for i, c in enumerate([1e-4, 1e-3, 1e-1])]
    lines = lines_of_trials(report.parallel_coordinates(records, "image_auroc"), len(SEARCHED) + 1)
    assert sorted(line.get_ydata()[4] for line in lines) == pytest.approx([0, 1 / 3, 1])
    assert [line.get_ydata()[5] for line in lines] == pytest.approx([0, 0.5, 1])  # worst first, best on top of it


def test_parallel_coordinates_show_params_that_a_trial_does_not_have():
    searched = ("wavelet", "ratio")
    records = [record(0, 0.9, searched=searched, ratio=0.1), record(1, 0.8, searched=("wavelet",), wavelet="db4")]
    text = words(report.parallel_coordinates(records, "image_auroc"))
    assert "not used" in text
    assert "ratio" in text


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], "no complete trial"),
        ([record(0, status="failed")], "no complete trial"),
        ([record(0, 0.9, searched=())], "varies nothing"),
    ],
)
def test_parallel_coordinates_without_anything_to_draw(records, said):
    figure = report.parallel_coordinates(records, "image_auroc")
    assert said in words(figure)
    assert png(figure)


def test_parallel_coordinates_of_one_trial_and_of_equal_values():
    for records in ([record(0, 0.9)], [record(0, 0.9), record(1, 0.9)]):
        assert png(report.parallel_coordinates(records, "image_auroc"))


def test_importance_finds_the_param_that_matters():
    records = sweep(60)
    found = report.param_importances(records, "image_auroc")
    assert next(iter(found.shares)) == "sigma"
    assert found.shares["sigma"] > 0.7
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found == report.param_importances(records, "image_auroc")
    figure = report.importance(records, "image_auroc")
    text = words(figure)
    assert "fANOVA" in text
    assert "60 complete trials" in text
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(found.shares)
    assert png(figure)


def test_importance_leaves_optunas_logging_as_it_was():
    before = optuna.logging.get_verbosity()
    report.param_importances(sweep(10), "image_auroc")
    assert optuna.logging.get_verbosity() == before


def test_importance_names_params_that_it_left_out():
    records = [r.model_copy(update={"params": r.params | {"level": 1}}) for r in sweep(12)]
    found = report.param_importances(records, "image_auroc")
    assert "level" not in found.shares
    assert "left out, only one value tried: level" in words(report.importance(records, "image_auroc"))


def test_importance_of_a_conditional_param():
    searched = (*SEARCHED, "ratio")
    records = []
    for r in sweep(40):
        used = r.params["wavelet"] == "haar"
        params = r.params | ({"ratio": 0.1} if used else {})
        value = {"image_auroc": 0.9 + 0.05 * used}
        records.append(r.model_copy(update={"params": params, "searched": searched, "choose": value}))
    found = report.param_importances(records, "image_auroc")
    assert found.shares["wavelet"] + found.shares["ratio"] > 0.9


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], "0 complete trials are too few"),
        (sweep(7), "7 complete trials are too few"),
        ([record(i, 0.9 + i / 100) for i in range(9)], "no searched param took two values"),
        ([record(i, 0.9, sigma=float(i)) for i in range(9)], "image_auroc is 0.9 in all 9 trials"),
    ],
)
def test_importance_says_when_it_cannot_tell(records, said):
    assert report.param_importances(records, "image_auroc").shares == {}
    assert said in words(report.importance(records, "image_auroc"))
    assert png(report.importance(records, "image_auroc"))


def test_pareto_front_numbers_and_names_its_points():
    points = [(0.9, 0.5), (0.8, 0.8), (0.5, 0.9), (0.7, 0.7), (0.8, 0.8)]
    records = [record(i, {"a": a, "b": b}, sigma=float(i)) for i, (a, b) in enumerate(points)]
    figure = report.pareto_front(records, ["a", "b"])
    dominated, front = figure.axes[0].collections
    assert sorted(map(tuple, front.get_offsets().tolist())) == [(0.5, 0.9), (0.8, 0.8), (0.9, 0.5)]
    assert len(dominated.get_offsets()) == 5
    text = words(figure)
    assert "1  haar-1 LL+LH s0 r0.01" in text
    assert "2  haar-1 LL+LH s1 r0.01 (and 1 equal)" in text
    assert "3  haar-1 LL+LH s2 r0.01" in text
    assert "s3" not in text
    assert "3 points on the front" in text
    assert png(figure)


def test_pareto_labels_of_close_points_stand_apart():
    records = [record(i, {"a": 0.9 + i * 1e-5, "b": 0.9 - i * 1e-5}) for i in range(4)]
    records.append(record(9, {"a": 0.1, "b": 0.1}))
    figure = report.pareto_front(records, ["a", "b"])
    png(figure)
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


def test_pareto_of_many_points_says_how_many_are_not_named():
    records = [record(i, {"a": i / 20, "b": 1 - i / 20}) for i in range(20)]
    assert "and 6 more" in words(report.pareto_front(records, ["a", "b"]))


def test_pareto_needs_two_known_objectives():
    assert "no complete trial has both" in words(report.pareto_front([], TWO))
    assert "no complete trial has both" in words(report.pareto_front([record(0, 0.9, {"pixel_auroc": 0.5})], TWO))
    for objectives in (["image_auroc"], ["image_auroc"] * 2):
        with pytest.raises(ParamsError, match="two different objectives"):
            report.pareto_front(sweep(3), objectives)
    with pytest.raises(ParamsError, match="did you mean 'pixel_auroc'"):
        report.pareto_front(sweep(3), ["image_auroc", "pixel_aurok"])


def champion(categories):
    return TrialRecord(
        trial_id="t",
        number=0,
        params={"wavelet": "haar", "level": 2},
        searched=("wavelet", "level"),
        status="complete",
        categories=categories,
    )


def test_champion_bars_per_category_and_mean():
    best = champion(
        {
            "screw": {"report": {"image_auroc": 0.8, "pixel_auroc": 0.9}},
            "carpet": {"report": {"image_auroc": 1.0}},
        }
    )
    figure = report.champion_per_category(best, TWO)
    image, pixel = figure.axes[0].containers
    assert [bar.get_width() for bar in image] == pytest.approx([1.0, 0.8, 0.9])
    assert [bar.get_width() for bar in pixel] == pytest.approx([0.0, 0.9, 0.9])
    text = words(figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["carpet", "screw", "mean"]
    assert text.count("undefined") == 2  # the bar, and the caption's count
    assert "values undefined: 1" in text
    assert "haar-2" in text
    assert png(figure)


def test_champion_without_reported_metrics():
    best = champion({"screw": {"choose": {"image_auroc": 0.8}, "report": {}}})
    assert "no category has image_auroc, pixel_auroc under 'report'" in words(report.champion_per_category(best))
    assert "0.800" in words(report.champion_per_category(best, ["image_auroc"], source="choose"))
    assert "no category" in words(report.champion_per_category(champion({})))
    with pytest.raises(ParamsError, match="between 1 and 6"):
        report.champion_per_category(best, [])
