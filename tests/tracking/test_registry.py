"""Champions in a real registry: registered, loaded again by MLflow and as a plain folder, and never half-registered."""

from __future__ import annotations

import io
import re

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from PIL import Image

from subband.errors import ModelError, TrackingError
from subband.runs.description import SweepFile
from subband.tracking import SweepLog, download_model, list_champions, push, register_champion
from subband.trials import append_record
from tests.tracking import detector, sweeps

LOADER = "tests.tracking.detector.load"


@pytest.fixture
def model_dir(tmp_path):
    return detector.save(tmp_path / "model", (0.5, 0.5, 0.5), threshold=0.4)


@pytest.fixture
def images():
    grey = np.full((2, 8, 10, 3), 128, dtype=np.uint8)
    grey[1, 2, 3] = (255, 0, 0)
    return grey


@pytest.fixture
def loaded(target, model_dir, monkeypatch):
    register_champion(model_dir, "colour", {"selection": "test"}, target=target, loader=LOADER)
    with mlflow.tracking._tracking_service.utils._use_tracking_uri(target.uri):
        yield mlflow.pyfunc.load_model("models:/colour@champion")


def test_a_champion_is_loaded_by_mlflow_and_scores_as_it_did(loaded, images, model_dir):
    expected = detector.load(model_dir).predict(list(images))
    table = loaded.predict(images)
    assert list(table.columns) == ["score", "defective"]
    np.testing.assert_allclose(table["score"], expected.scores)
    assert list(table["defective"]) == [False, True]
    with_maps = loaded.predict(images, params={"maps": True})
    np.testing.assert_allclose(np.stack(with_maps["map"]), expected.maps)
    assert with_maps["map"][0].shape == (8, 10)


def test_a_champion_takes_paths_and_bytes_in_a_table(loaded, images, tmp_path):
    expected = loaded.predict(images)
    paths, contents = [], []
    for number, image in enumerate(images):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="png")
        contents.append(buffer.getvalue())
        paths.append(str(tmp_path / f"{number}.png"))
        (tmp_path / f"{number}.png").write_bytes(buffer.getvalue())
    pd.testing.assert_frame_equal(loaded.predict(pd.DataFrame({"image": paths})), expected)
    pd.testing.assert_frame_equal(loaded.predict(pd.DataFrame({"image": contents})), expected)
    pd.testing.assert_frame_equal(loaded.predict([Image.fromarray(image) for image in images]), expected)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (np.zeros((1, 8, 8, 3), dtype=np.int64), "uint8, uint16, bool, or float.*not int64"),
        (np.zeros((1, 3, 8, 8), dtype=np.uint8), r"\(3, 8, 8\)"),
        (pd.DataFrame({"a": ["x.png"], "b": ["y.png"]}), "one column.*a, b"),
        (pd.DataFrame({"image": ["no/such/file.png"]}), "cannot read an image: "),
        (pd.DataFrame({"image": [b"not an image"]}), "12 bytes is not an image that can be read"),
        (pd.DataFrame({"image": [3.0]}), "from a float"),
    ],
)
def test_wrong_input_is_named(loaded, wrong, says):
    with pytest.raises(ModelError, match=says):
        loaded.predict(wrong)


def test_versions_grow_the_alias_follows_and_the_same_files_stay_one_version(target, model_dir, tmp_path):
    first = register_champion(model_dir, "colour", {"selection": "test"}, target=target, loader=LOADER)
    other = detector.save(tmp_path / "other", (0.1, 0.1, 0.1), threshold=0.4)
    second = register_champion(other, "colour", {"selection": "holdout"}, target=target, loader=LOADER)
    assert (first.version, second.version) == (1, 2)
    assert [(c.name, c.version, c.tags["selection"]) for c in list_champions(target)] == [("colour", 2, "holdout")]
    again = register_champion(model_dir, "colour", {"selection": "synthetic"}, target=target, loader=LOADER)
    assert (again.version, again.tags["selection"]) == (1, "synthetic")
    assert list_champions(target) == [again]


def test_another_datasets_champion_gets_a_name_of_its_own(target, model_dir, tmp_path):
    other = detector.save(tmp_path / "other", (0.1, 0.1, 0.1), threshold=0.4)
    here, there = {"data": "mvtec:/a/pictures"}, {"data": "mvtec:/b/pictures"}
    first = register_champion(model_dir, "images", here, target=target, loader=LOADER)
    second = register_champion(other, "images", there, target=target, loader=LOADER)
    assert (first.name, first.version) == ("images", 1)
    assert re.fullmatch("images-[0-9a-f]{6}", second.name)
    assert {c.name: (c.version, c.tags["data"]) for c in list_champions(target)} == {
        "images": (1, "mvtec:/a/pictures"),
        second.name: (1, "mvtec:/b/pictures"),
    }
    third = detector.save(tmp_path / "third", (0.9, 0.1, 0.1), threshold=0.4)
    assert register_champion(third, "images", there, target=target, loader=LOADER).name == second.name


def test_a_model_that_does_not_say_whose_it_is_is_taken_over(target, model_dir, tmp_path):
    register_champion(model_dir, "images", {}, target=target, loader=LOADER)
    other = detector.save(tmp_path / "other", (0.1, 0.1, 0.1), threshold=0.4)
    taken = register_champion(other, "images", {"data": "mvtec:/a"}, target=target, loader=LOADER)
    assert (taken.name, taken.version) == ("images", 2)
    assert register_champion(model_dir, "images", {"data": "mvtec:/b"}, target=target, loader=LOADER).name != "images"


def test_a_push_tells_the_name_that_a_champion_got(target, model_dir, tmp_path):
    register_champion(model_dir, "images", {"data": "mvtec:/a"}, target=target, loader=LOADER)
    other = detector.save(tmp_path / "other", (0.1, 0.1, 0.1), threshold=0.4)
    folder = tmp_path / "sweep"
    with SweepLog(folder, sweeps.info(), target) as log:
        registered = log.register_champion(other, "images", {"data": "mvtec:/b"}, loader=LOADER)
    assert registered.name.startswith("images-")
    assert push(folder).champions == {registered.name: 1}


def test_only_plain_files_are_registered(target, model_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(model_dir)  # without a tracking URI of its own MLflow would make a database here
    champion = register_champion(model_dir, "colour", {}, target=target, loader=LOADER)
    package = download_model(champion.uri, target).parents[1]
    files = {path.suffix or path.name for path in package.rglob("*") if path.is_file()}
    assert files == {".safetensors", ".json", ".yaml", ".txt", "MLmodel"}
    assert package.is_relative_to(tmp_path / "mlartifacts")
    assert sorted(path.name for path in model_dir.iterdir()) == ["detector.json", "detector.safetensors"]


def test_a_model_is_fetched_by_alias_version_id_and_run(target, model_dir, tmp_path):
    with SweepLog(tmp_path / "sweep", sweeps.info(), target) as log:
        assert log.register_champion(model_dir, "colour", {"category": "weave"}, loader=LOADER) == ("colour", 1)
        run_id = log.run_id
    model_id = MlflowClient(target.uri).get_run(run_id).outputs.model_outputs[0].model_id
    for uri in ("models:/colour@champion", "models:/colour/1", f"models:/{model_id}", f"runs:/{run_id}/colour"):
        folder = download_model(uri, target)
        assert detector.load(folder).threshold == 0.4
    copy = download_model("models:/colour@champion", target, into=tmp_path / "copy")
    assert copy == tmp_path / "copy"
    assert sorted(path.name for path in copy.iterdir()) == ["detector.json", "detector.safetensors"]
    with pytest.raises(TrackingError, match="not an empty folder"):
        download_model("models:/colour@champion", target, into=copy)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("models:/color@champion", "did you mean 'colour'"),
        ("models:/colour@champoin", "did you mean 'champion'"),
        ("models:/colour/7", "no version 7; it has 1"),
        ("models:/m-0123456789abcdef0123456789abcdef", "there is no model"),
        ("models:/colour", "not a model URI"),
        ("colour", "not a model URI"),
        ("runs:/0123/colour", "no run '0123'"),
    ],
)
def test_unknown_models_are_named_with_near_matches(target, model_dir, uri, says):
    register_champion(model_dir, "colour", {}, target=target, loader=LOADER)
    with pytest.raises(TrackingError, match=says):
        download_model(uri, target)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "weave/colour"}, "cannot name a registered model"),
        ({"name": ""}, "cannot name a registered model"),
        ({"model_dir": "nowhere"}, "not a saved detector"),
        ({"model_dir": "pickled"}, r"weights\.pt, which may run code"),
        ({"loader": "tests.tracking.detector.laod"}, "cannot be imported"),
        ({"run_id": "0" * 32}, "has no run"),
    ],
)
def test_what_cannot_be_registered_leaves_nothing_behind(target, model_dir, tmp_path, change, says):
    pickled = detector.save(tmp_path / "pickled", (0.5, 0.5, 0.5), threshold=0.4)
    (pickled / "weights.pt").write_bytes(b"")
    arguments = {"model_dir": model_dir, "name": "colour", "tags": {}, "target": target, "loader": LOADER, **change}
    arguments["model_dir"] = tmp_path / arguments["model_dir"]
    with pytest.raises(TrackingError, match=says):
        register_champion(**arguments)
    assert MlflowClient(target.uri).search_registered_models() == []


def test_a_champion_whose_files_cannot_be_stored_leaves_the_alias_where_it_was(target, model_dir, tmp_path):
    register_champion(model_dir, "colour", {}, target=target, loader=LOADER)
    (models,) = (tmp_path / "mlartifacts").glob("*/models")
    kept = models.rename(tmp_path / "kept")
    models.write_text("a file where the folder should be")
    other = detector.save(tmp_path / "other", (0.1, 0.1, 0.1), threshold=0.4)
    with pytest.raises((TrackingError, OSError)):
        register_champion(other, "colour", {}, target=target, loader=LOADER)
    models.unlink()
    kept.rename(models)
    assert [champion.version for champion in list_champions(target)] == [1]
    assert len(MlflowClient(target.uri).search_model_versions("name = 'colour'")) == 1


def test_a_sweep_refuses_a_bad_champion_at_once(target, model_dir, tmp_path):
    with SweepLog(tmp_path / "sweep", sweeps.info(), target) as log:
        with pytest.raises(TrackingError, match="not a saved detector"):
            log.register_champion(tmp_path / "nowhere", "colour", {}, loader=LOADER)
        assert SweepFile.load(tmp_path / "sweep").champions == {}


def test_push_registers_a_champion_once(target, model_dir, tmp_path):
    folder = tmp_path / "sweep"
    with SweepLog(folder, sweeps.info(), target) as log:
        for record in sweeps.trials(2):
            append_record(folder, record)
            log.log_trial(record)
        log.register_champion(model_dir, "colour", {}, loader=LOADER)
    assert push(folder).champions == {"colour": 1}
    assert len(MlflowClient(target.uri).search_model_versions("name = 'colour'")) == 1
