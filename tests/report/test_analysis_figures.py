"""Figures of the analyses: what is drawn, on which scale, and what is said about it."""

import io

import numpy as np
import pytest
from made_records import words

from subband.errors import DataError, ParamsError
from subband.report import style
from subband.report.gap_dots import gap_dots
from subband.report.level_curves import level_curves
from subband.report.qualitative import ANOMALY, Seen, qualitative
from subband.report.robustness_tile import TileCell, robustness_tile
from subband.report.speed_bars import SpeedRow, speed_bars
from subband.report.value_curves import value_curves

LEVELS = (0.0, 10.0, 20.0)
RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)


def drawn(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=30)
    assert stream.getvalue().startswith(b"\x89PNG")
    return figure


def test_curves_are_drawn_as_they_are_on_the_published_axis():
    figure = drawn(
        level_curves(LEVELS, {"image AUROC": {"a": [99, 90, 80], "b": [98, 97, 96]}}, "noise", "title", "how")
    )
    (axes,) = figure.axes
    first, second = axes.lines
    np.testing.assert_array_equal(first.get_xydata(), [(0, 99), (10, 90), (20, 80)])
    assert (first.get_color(), first.get_linestyle(), first.get_marker()) == (style.BLUE, "-", "o")
    assert (second.get_linestyle(), second.get_marker()) == ("--", "s")
    assert axes.get_ylim() == (50, 105)
    assert "how" in words(figure)


def test_values_below_the_published_axis_are_shown():
    (axes,) = level_curves(LEVELS, {"AU-PRO": {"a": [70, 50, 32]}}, "noise").axes
    assert axes.get_ylim() == (25, 105)


def test_undefined_values_leave_gaps_and_no_metric_is_said():
    nan = float("nan")
    drawn(level_curves(LEVELS, {"AU-PRO": {"a": [nan, nan, nan], "b": [80, nan, 70]}}, "noise"))
    assert "no metric is defined" in words(drawn(level_curves(LEVELS, {}, "noise")))
    with pytest.raises(ParamsError, match="a: 2 values for 3 levels"):
        level_curves(LEVELS, {"AU-PRO": {"a": [1, 2]}}, "noise")


def cells(top):
    return [TileCell(level, PICTURE, PICTURE, np.linspace(0, top + level, 256).reshape(16, 16)) for level in LEVELS]


def overlays(figure, row, columns=4):
    """The overlay images of one row, from their RGBA arrays."""
    return [axes.images[1].get_array() for axes in figure.axes[row * columns + 2 : row * columns + 4]]


def test_a_row_has_one_colour_range_for_both_detectors():
    figure = drawn(robustness_tile({"weak": cells(1.0), "strong": cells(100.0)}, "sigma", "title"))
    assert len(figure.axes) == 4 * len(LEVELS)
    weak, strong = overlays(figure, 0)
    assert weak[-1, -1, :3].sum() < strong[-1, -1, :3].sum()  # the brightest colour is the row's greatest value
    text = words(figure)
    for value in ("1.00", "21.00", "100.00", "120.00"):
        assert value in text
    assert "sigma 20" in text or any("sigma 20" in axes.get_ylabel() for axes in figure.axes)


def test_a_range_of_its_own_shows_growth_over_the_levels():
    figure = robustness_tile({"weak": cells(1.0), "strong": cells(100.0)}, "sigma", colour_range="detector")
    weak, strong = overlays(figure, len(LEVELS) - 1)
    np.testing.assert_allclose(weak[-1, -1], strong[-1, -1])
    first, _ = overlays(figure, 0)
    assert first[-1, -1, :3].sum() < weak[-1, -1, :3].sum()


def test_a_flat_map_is_not_blown_up():
    flat = [TileCell(0.0, PICTURE, PICTURE, np.linspace(0, 0.01, 256).reshape(16, 16))]
    (axes,) = [axes for axes in robustness_tile({"a": flat}, "sigma").axes if len(axes.images) == 2]
    heat = axes.images[1].get_array()
    assert np.abs(heat[0, 0] - heat[-1, -1]).max() < 0.1


def test_a_missing_second_detector_is_grey():
    figure = drawn(robustness_tile({"only": cells(1.0)}, "sigma"))
    assert words(figure).count("N/A") == len(LEVELS)
    for wrong in ({}, {"a": []}, {"a": cells(1), "b": cells(1)[:2]}, dict.fromkeys("abc", cells(1))):
        with pytest.raises(ParamsError, match="one or two detectors"):
            robustness_tile(wrong, "sigma")


def seen(**changes):
    mask = np.zeros((16, 16), bool)
    mask[2:5, 2:5] = True
    values = {
        "name": "test/cut/000", "image": PICTURE, "mask": mask, "map": np.linspace(1, 3, 256).reshape(16, 16),
        "score": 3.0, "threshold": 2.0,
    }  # fmt: skip
    return Seen(**{**values, **changes})


def heads(figure):
    return [axes.get_title() for axes in figure.axes]


def test_six_columns_with_a_frequency_and_a_semantic_map_and_four_without():
    further = {"frequency map": RNG.random((4, 4)), "semantic map": RNG.random((8, 8))}
    figure = drawn(qualitative(seen(further=further), None))
    assert heads(figure) == ["input", "ground truth", "frequency map", "semantic map", ANOMALY, "overlay"]
    assert figure.axes[2].images[0].get_cmap().name == "gray"
    assert heads(drawn(qualitative(seen(), None))) == ["input", "ground truth", ANOMALY, "overlay"]


def test_the_scale_is_the_categorys_or_stretched():
    shared = qualitative(seen(), {ANOMALY: (0.0, 10.0)})
    assert shared.axes[2].images[0].get_clim() == (0, 10)
    assert "one scale for the whole category" in words(shared)
    own = qualitative(seen(), None)
    assert own.axes[2].images[0].get_clim() == (1, 3)
    assert "stretched to this image, as published" in words(own)


def test_the_decision_and_the_mask_are_said():
    assert "DEFECT" in words(qualitative(seen(), None))
    good = words(qualitative(seen(score=1.0, mask=np.zeros((16, 16), bool)), None))
    assert "OK" in good
    assert "no defect" in good
    assert "no mask given" in words(qualitative(seen(mask=None), None))
    with pytest.raises(DataError, match="must have one size"):
        qualitative(seen(map=np.zeros((4, 4))), None)


def test_the_mean_is_strong_and_small_differences_look_small():
    panels = {"image_auroc": {"a": [0.99, 0.98], "b": [0.985, 0.979], "AVERAGE": [0.9875, 0.9775]}}
    figure = drawn(value_curves(["100%", "10%"], panels, "ratio", "AVERAGE"))
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    assert high - low >= 4
    assert "98.75" in words(figure)
    assert "a, b" in words(figure)  # lines that end close to each other share a label
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["100%", "10%"]


def test_one_value_stands_category_by_category():
    panels = {m: {"a": [0.9], "AVERAGE": [0.9]} for m in ("image_auroc", "pixel_auroc")}
    figure = drawn(value_curves(["default"], panels, "params", "AVERAGE"))
    for axes in figure.axes:
        assert axes.get_ylim() == (1.5, -0.5)
    drawn(
        value_curves(["x", "y"], {"pixel_auroc": {"a": [np.nan, np.nan], "AVERAGE": [np.nan, np.nan]}}, "p", "AVERAGE")
    )
    with pytest.raises(ParamsError, match="one value a column"):
        value_curves(["x"], {"image_auroc": {"a": [1, 2]}}, "p", "AVERAGE")


def test_gaps_start_at_their_floors():
    panels = {"gap": {"OFF": [1.0, 2.0], "ON": [1.1, np.nan]}, "AUROC": {"OFF": [90.0, 40.0], "ON": [91.0, 99.0]}}
    figure = drawn(gap_dots(["nut", "weave"], panels, {"gap": 0.0, "AUROC": 50.0}))
    gap, area = figure.axes
    assert gap.get_xlim()[0] <= 0
    assert area.get_xlim()[0] < 40
    assert "no category has both" in words(gap_dots(["nut"], {"gap": {"a": [np.nan], "b": [np.nan]}}, {"gap": 0.0}))
    with pytest.raises(ParamsError, match="compares two detectors"):
        gap_dots(["nut"], {"gap": {"a": [1.0]}}, {"gap": 0.0})


def test_speed_says_both_protocols():
    row = SpeedRow("tile, a", p50=3.0, p95=3.5, published=400.0, single=300.0, best=900.0, best_batch=32)
    text = words(drawn(speed_bars([row], "Speed on a card")))
    for part in ("3.0 / 3.5", "400.0", "300.0", "900.0 (batch 32)", "every image waited for"):
        assert part in text
    with pytest.raises(ParamsError, match="at least one row"):
        speed_bars([])
