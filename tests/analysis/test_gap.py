"""The score gap: the published script's own numbers, and the fair figures by hand."""

import csv
from pathlib import Path

import numpy as np
import pytest

from subband.analysis import gap
from subband.analysis.gap import GapSettings, grid_rule, improvement, kind_of, run, score_gap
from subband.errors import ParamsError
from tests.analysis.conftest import SMALL

GOLDEN = Path(__file__).parents[1] / "golden"
TOLERANCE = 5e-6


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "wedgenet" / "scoring.npz") as stored:
        return dict(stored)


def test_gap_scores_and_gap_are_the_published_ones(golden):
    scores = grid_rule(golden["nearest"])
    assert np.abs(scores - golden["gap_scores"]).max() <= TOLERANCE
    assert np.abs(scores - golden["gap_maps"].max(axis=(1, 2))).max() <= TOLERANCE
    assert score_gap(golden["labels"], scores).gap == pytest.approx(float(golden["gap"]), abs=TOLERANCE)


def test_auroc_is_the_published_one(golden):
    found = score_gap(golden["labels"], golden["image_scores"])
    assert round(100 * found.auroc, 2) == float(golden["auroc_percent"])


def test_the_gap_in_pooled_standard_deviations_by_hand():
    labels, scores = np.array([0, 0, 0, 1, 1]), np.array([1.0, 2.0, 3.0, 6.0, 8.0])
    found = score_gap(labels, scores)
    assert (found.good, found.defective, found.mean_good, found.mean_defective, found.gap) == (3, 2, 2.0, 7.0, 5.0)
    assert found.pooled_std == pytest.approx(np.sqrt((2.0 + 2.0) / 3))
    assert found.standardised == pytest.approx(5 / np.sqrt(4 / 3))
    assert found.auroc == 1.0


def test_the_fair_figures_do_not_depend_on_units():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 50), rng.random(50)
    one, other = score_gap(labels, scores), score_gap(labels, 7 * scores + 3)
    assert other.gap == pytest.approx(7 * one.gap)
    assert other.standardised == pytest.approx(one.standardised)
    assert other.auroc == one.auroc


@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_one_label_alone_has_no_gap(labels):
    found = score_gap(np.array(labels), np.array([1.0, 2.0]))
    assert np.isnan([found.gap, found.standardised, found.auroc]).all()


def test_equal_scores_have_no_standardised_gap():
    assert np.isnan(score_gap(np.array([0, 0, 1, 1]), np.ones(4)).standardised)


def test_improvement_as_published():
    assert improvement(2.0, 3.0) == 50
    assert improvement(-2.0, -1.0) == 50
    assert improvement(0.0, 5.0) == 0


def test_textures_and_objects():
    assert [kind_of(name, gap.TEXTURES) for name in ("leather", "leather_2", "leatherette", "nut")] == [
        "Texture", "Texture", "Object", "Object",
    ]  # fmt: skip


def test_tables_and_figure(analysis, settled):
    detectors = (f"{SMALL},subbands=LL", f"{SMALL},subbands=LL+LH")
    with analysis:
        run(analysis, GapSettings(**settled, detectors=detectors))
        files = {path.name for path in analysis.publish({})}
    assert files == {"score_gap.csv", "score_gap_fair.csv", "score_gap.png", "report.json"}
    with (analysis.folder / "score_gap.csv").open() as file:
        rows = list(csv.reader(file))
    first, second = "wepadim subbands=LL", "wepadim subbands=LL+LH"
    assert rows[0] == ["Category", "Type", f"Gap_{first}", f"Gap_{second}", "Improvement(%)"]
    assert [row[:2] for row in rows[1:]] == [
        ["nut", "Object"], ["weave", "Texture"], ["", ""], ["AVG (Texture)", "Texture"], ["AVG (Object)", "Object"],
    ]  # fmt: skip
    assert rows[1][2:] == rows[5][2:]  # one object: its mean is itself
    with (analysis.folder / "score_gap_fair.csv").open() as file:
        fair = list(csv.DictReader(file))
    assert len(fair) == 2 * 2 * 2
    (grid,) = [row for row in fair if (row["category"], row["detector"], row["rule"]) == ("nut", first, "grid")]
    assert float(grid["gap"]) == pytest.approx(float(rows[1][2]), rel=5e-6)
    assert float(grid["gap_in_std"]) == pytest.approx(float(grid["gap"]) / float(grid["pooled_std"]), rel=1e-3)
    assert analysis.findings.tags["published_rule"].startswith("greatest value of the grid's distances")


def test_a_gap_needs_two_detectors():
    with pytest.raises(ValueError, match="compares two detectors, not 1"):
        GapSettings(detectors=("wepadim",))


def test_off_and_on_are_the_default_of_a_method_that_has_the_switch(monkeypatch):
    from pydantic import BaseModel

    class Switched(BaseModel):
        semantic: bool = True

    class Made:
        params_type = Switched

    monkeypatch.setattr(gap, "list_staged_methods", lambda: ("made",))
    monkeypatch.setattr(gap, "get_method", lambda name: Made)
    assert gap._switched() == ("made:semantic=false", "made:semantic=true")
    monkeypatch.setattr(gap, "SWITCH", "nothing")
    with pytest.raises(ParamsError, match="name two detectors"):
        gap._switched()
