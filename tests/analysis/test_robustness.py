"""Robustness curves in this process: level 0 is the evaluation, every detector sees the same images."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from subband.analysis.detectors import parse_detectors
from subband.analysis.robustness import CurveTask, RobustnessSettings, curve, run
from subband.data import load_images, open_dataset
from subband.errors import DataError
from subband.evaluation import CategoryBench
from subband.methods import get_method, make_params
from tests.analysis.conftest import SMALL, TINY


def task(source, kind="noise", levels=(0.0, 40.0), text=SMALL, draw="common"):
    (spec,) = parse_detectors([text], TINY)
    return CurveTask(spec, "nut", source, kind, levels, levels, draw, 42, 3)


@pytest.mark.parametrize("kind", ["noise", "colour"])
def test_level_0_gives_the_metrics_of_the_evaluation(source, kind):
    method = get_method("wepadim")
    params = make_params(method, {"image_size": 64, "grid": 8, "weights": "packaged"})
    evaluated = CategoryBench(open_dataset(TINY).category("nut"), "test", 0, source.store()).evaluate(method, params)
    first, last = curve(task(source, kind, (0.0, 3.0)))
    assert first.metrics.keys() == evaluated.report.keys()
    for name, value in evaluated.report.items():
        assert first.metrics[name] == pytest.approx(value, abs=1e-4), name
    assert last.metrics != first.metrics


def test_a_batch_is_only_a_matter_of_speed(source):
    whole, parts = (list(curve(CurveTask(**{**vars(task(source)), "batch": batch}))) for batch in (64, 3))
    for one, other in zip(whole, parts, strict=True):
        assert one.metrics == pytest.approx(other.metrics, abs=1e-6)


def test_two_detectors_see_the_same_distorted_picture(source):
    cells = [list(curve(task(source, text=f"{SMALL},sigma={sigma}")))[1].cell for sigma in (2, 4)]
    np.testing.assert_array_equal(cells[0].distorted, cells[1].distorted)
    assert not np.array_equal(cells[0].distorted, cells[0].original)
    assert not np.allclose(cells[0].map, cells[1].map)
    category = open_dataset(TINY).category("nut")
    good = next(sample for sample in category.test if sample.label == 0)
    shown = load_images(
        [good.image], get_method("wepadim").preprocess(make_params(get_method("wepadim"), {"image_size": 64}))
    )
    np.testing.assert_array_equal(cells[0].original, shown[0].transpose(1, 2, 0))


def test_the_published_stream_differs_from_the_common_draw(source):
    common, reference = (list(curve(task(source, draw=draw)))[1] for draw in ("common", "reference"))
    assert not np.array_equal(common.cell.distorted, reference.cell.distorted)


def test_tables_and_figures(analysis, settled):
    settings = RobustnessSettings(
        **settled, kind="colour", levels=(3, 0, 0.5), detectors=(f"{SMALL},sigma=2", f"{SMALL},sigma=4")
    )
    with analysis:
        run(analysis, settings)
        files = {path.name for path in analysis.publish({})}
    names = [f"colour_{name}.csv" for name in ("nut", "weave", "mean", "long")]
    pictures = [f"colour_{kind}_{name}.png" for kind in ("curves", "tile") for name in ("nut", "weave")]
    assert files == {*names, *pictures, "colour_curves_mean.png", "report.json"}
    tables = {}
    for name in ("nut", "weave", "mean"):
        with (analysis.folder / f"colour_{name}.csv").open() as file:
            tables[name] = list(csv.DictReader(file))
    first, second = "wepadim sigma=2", "wepadim sigma=4"
    assert list(tables["nut"][0]) == ["Level", first, second, f"Gap ({first} - {second})"]
    assert [row["Level"] for row in tables["nut"]] == ["0", "0.5", "3"]
    for row, *parts in zip(tables["mean"], tables["nut"], tables["weave"], strict=True):
        assert float(row[first]) == pytest.approx(np.mean([float(part[first]) for part in parts]), abs=0.011)
        assert float(row[f"Gap ({first} - {second})"]) == pytest.approx(
            float(row[first]) - float(row[second]), abs=0.011
        )
    with Image.open(analysis.folder / "colour_tile_nut.png") as tile:
        assert min(tile.size) > 500
    points = {(point.name, point.step) for point in analysis.findings.points}
    assert (f"mean/image_auroc/{first}", 50) in points
    assert analysis.findings.tags["step"] == "100 x level"
    assert "deterministic" in analysis.findings.tags["distortion"]


def test_a_detector_of_one_category_only_is_a_problem_and_the_rest_stands(analysis, settled, source, tmp_path):
    from subband.analysis.detectors import obtain

    (spec,) = parse_detectors([SMALL], TINY)
    folder = obtain(spec, open_dataset(TINY).category("nut"), source).detector.save(tmp_path / "mine")
    settings = RobustnessSettings(**settled, levels=(0,), detectors=(str(folder), SMALL))
    with analysis:
        run(analysis, settings)
        analysis.publish({})
    (problem,) = analysis.findings.problems
    assert problem.startswith("weave, mine: ")
    assert "cannot judge 'weave'" in problem
    text = (analysis.folder / "noise_weave.csv").read_text()
    assert text.startswith("Level,wepadim image_size=64 grid=8\n")
    assert (analysis.folder / "noise_nut.csv").read_text().startswith("Level,mine,wepadim image_size=64 grid=8,Gap")


def test_without_test_pictures_there_is_nothing_to_analyse(tmp_path, store_folder):
    for index in range(3):
        place = tmp_path / "plate" / "train" / "good"
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), (9 * index, 3, 3)).save(place / f"{index}.png")
    from subband.analysis.settings import Source

    mine = Source(f"mvtec:{tmp_path}", store_folder)
    (spec,) = parse_detectors([f"{SMALL},weights=random:0"], TINY)
    broken = CurveTask(spec, "plate", mine, "noise", (0.0,), (), "common", 42, 4)
    with pytest.raises(DataError, match="category plate has no test images"):
        next(curve(broken))


def test_threads_change_nothing_that_matters(source):
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(list(curve(task(source)))[1].metrics)
    finally:
        torch.set_num_threads(before)
    assert found[0] == pytest.approx(found[1], abs=1e-4)
