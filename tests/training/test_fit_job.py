"""The fitting half of jobs/train.py: from flags to proven detectors, a table and a run in MLflow."""

import csv
import json

import numpy as np
import pytest

from subband.data import load_images, open_dataset
from subband.errors import DataError, ParamsError
from subband.methods import load

pytest.importorskip("ray")
pytest.importorskip("mlflow")

DATA = "synthetic:?train=5&test=6&size=64&difficulty=0&categories=weave,nut"
TINY = ["--data", DATA, "--image-size", "64", "--grid", "4"]


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBBAND_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def run(*argv):
    from subband.training.job import training_job

    return training_job("", ["wepadim", *TINY, *argv])


def check_detectors(out, categories):
    with (out / "report" / "fits.csv").open() as file:
        rows = {row["category"]: row for row in csv.DictReader(file)}
    assert rows.keys() == categories
    dataset = open_dataset(DATA)
    for name, row in rows.items():
        detector, samples = load(out / "champions" / name), dataset.category(name).test
        _, scores = detector.score(load_images([sample.image for sample in samples], detector.preprocess))
        with (out / "report" / f"scores-{name}.csv").open() as file:
            logged = {line["name"]: float(line["score"]) for line in csv.DictReader(file)}
        np.testing.assert_allclose(scores, [logged[sample.name] for sample in samples], rtol=1e-5)
        assert float(row["parity"]) <= 1e-5
        assert float(row["threshold"]) == pytest.approx(detector.calibration.threshold)
        assert detector.calibration.fpr == 0.2
        assert 0 <= float(row["image_auroc"]) <= 1
        assert detector.about["selection"].startswith("none")
        assert (out / "report" / "figures" / f"gallery-{name}.png").stat().st_size > 0


def test_one_category_in_this_process(tmp_path, capsys):
    assert run("--category", "weave", "--fpr", "0.2", "--out", str(tmp_path / "out")) == 0
    check_detectors(tmp_path / "out", {"weave"})
    report = json.loads((tmp_path / "out" / "report" / "report.json").read_text())
    assert {"weave.image_auroc", "weave.fit_seconds", "weave.images_seconds"} <= {name for name, *_ in report["points"]}
    said = capsys.readouterr().out
    assert "weights: efficientnet_lite0 packaged" in said
    about = json.loads((tmp_path / "out" / "champions" / "weave" / "model.json").read_text())["about"]
    assert about["weights"].startswith("efficientnet_lite0 packaged: ImageNet weights of a pip package; ")
    assert "MLflow: run" in said
    assert run("--category", "weave", "--out", str(tmp_path / "out")) == 1
    assert "exists already; give another --out" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_every_category_on_two_workers_with_one_group(tmp_path, capsys):
    from subband.tracking import list_champions, resolve_tracking

    assert run("--workers", "2", "--register", "--fpr", "0.2", "--out", str(tmp_path / "out")) == 0
    check_detectors(tmp_path / "out", {"weave", "nut"})
    champions = list_champions(resolve_tracking(None, tmp_path / "home"))
    assert [champion.name for champion in champions] == ["wepadim-synthetic-nut", "wepadim-synthetic-weave"]
    said = capsys.readouterr().out
    assert "workers: 2 with" in said
    assert said.count("images done in") == 2


def test_bad_input_is_told_before_anything_starts(tmp_path):
    from subband.training.fit_categories import make_fit_plan
    from subband.training.settings import FitSettings

    for values, settings, error, message in (
        ({}, {"data": DATA, "category": "weawe"}, DataError, "did you mean 'weave'"),
        ({"wavelet": "harr"}, {"data": DATA}, ParamsError, r"wepadim\.wavelet: 'harr' is not a wavelet"),
        (
            {},
            {"data": "synthetic:?train=1&test=2&categories=nut"},
            DataError,
            "needs at least 2 good training images",
        ),
    ):
        with pytest.raises(error, match=message):
            make_fit_plan("wepadim", values, FitSettings(**settings))
    assert run("--fpr", "1.5") == 1
    assert run("--workers", "0") == 1
    assert not (tmp_path / "home").exists()


def test_one_category_that_fails_does_not_stop_the_others(tmp_path, capsys):
    blocked = tmp_path / "out" / "champions" / ".nut.unproven"
    blocked.parent.mkdir(parents=True)
    blocked.touch()  # a detector is saved as a folder of this name first
    assert run("--fpr", "0.2", "--out", str(tmp_path / "out")) == 1
    assert "problem: nut: " in capsys.readouterr().out
    check_detectors(tmp_path / "out", {"weave"})


def test_pictures_with_defects_to_learn_from_are_refused(tmp_path):
    from subband.training.fit_categories import make_fit_plan
    from subband.training.settings import FitSettings

    settings = FitSettings(data="synthetic-surface:?train=4&test=2&size=64", out=tmp_path / "out")
    with pytest.raises(
        DataError, match=r"of 4 training images of surface may be defective .* examples for segmentation"
    ):
        make_fit_plan("wepadim", {"image_size": 64}, settings)
