"""Which models there are, what is kept in memory, new versions, and sources that fail."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from subband.errors import ModelError, TrackingError
from subband.methods import load, set_calibration
from subband.methods.deployable import TENSORS
from subband.serving.models import Models, UnknownModelError
from subband.serving.sources import Folder, Registry
from subband.tracking import register_champion, resolve_tracking
from tests.serve.conftest import free_port
from tests.tracking.conftest import Server
from tests.waiting import until


@pytest.fixture
def folder(models_dir: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(models_dir, tmp_path / "detectors"))


@pytest.fixture
def models(folder: Path) -> Models:
    found = Models([Folder(folder)], keep=8)
    found.refresh()
    return found


def scores(loaded, pictures) -> np.ndarray:
    return loaded.model.predict(pictures).scores


def test_nothing_is_loaded_before_it_is_asked_for(models, detectors, pictures):
    assert models.names() == ["leather-whole", "weave-centre"]
    assert (models.loaded(), models.peek("weave-centre")) == ([], None)
    entry, description = models.describe("weave-centre")
    assert (entry.name, description["params"]["framing"], models.loaded()) == ("weave-centre", "crop", [])
    loaded = models.get("weave-centre")
    assert models.peek("weave-centre") is loaded
    np.testing.assert_array_equal(scores(loaded, pictures), detectors["weave-centre"].predict(pictures).scores)


def test_the_least_recently_used_model_makes_room(folder):
    shutil.copytree(folder / "weave-centre", folder / "third")
    models = Models([Folder(folder)], keep=2)
    models.refresh()
    for name in ("leather-whole", "weave-centre", "leather-whole", "third"):
        models.get(name)
    assert models.loaded() == ["leather-whole", "third"]
    models.get("weave-centre")
    assert models.loaded() == ["third", "weave-centre"]


def test_requests_at_once_load_a_model_once(models, monkeypatch):
    loads: list[str] = []
    original = Folder.load

    def counting(self, name, version):
        loads.append(name)
        time.sleep(0.2)
        return original(self, name, version)

    monkeypatch.setattr(Folder, "load", counting)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(models.get, ["weave-centre"] * 8))
    assert loads == ["weave-centre"]
    assert len({id(loaded) for loaded in found}) == 1


def test_an_unknown_name_is_told_with_near_matches(models, tmp_path):
    with pytest.raises(UnknownModelError, match="'weave-center' is not a model; did you mean 'weave-centre'"):
        models.get("weave-center")
    empty = Models([Folder(tmp_path)], keep=1)
    (tmp_path / "detectors").rename(tmp_path / ".hidden")
    empty.refresh()
    with pytest.raises(UnknownModelError, match="there is none yet"):
        empty.get("weave-centre")


def test_a_changed_folder_is_a_new_version_that_takes_over(models, folder):
    before = models.get("weave-centre")
    models.refresh()
    assert models.get("weave-centre") is before
    set_calibration(folder / "weave-centre", before.model.calibration.with_threshold(7.5))
    assert models.get("weave-centre") is before
    models.refresh()
    after = models.get("weave-centre")
    assert after.entry.version != before.entry.version
    assert (before.model.calibration.threshold != 7.5, after.model.calibration.threshold) == (True, 7.5)
    assert models.describe("weave-centre")[1]["calibration"]["threshold"] == 7.5


def test_a_new_version_that_cannot_be_loaded_leaves_the_old_one_and_says_so(models, folder, caplog, pictures):
    before = models.get("weave-centre")
    expected = scores(before, pictures[:2])
    tensors = (folder / "weave-centre" / TENSORS).read_bytes()
    (folder / "weave-centre" / TENSORS).write_bytes(tensors[: len(tensors) // 2])
    with caplog.at_level(logging.WARNING, logger="serve"):
        models.refresh()
        models.refresh()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "weave-centre" in said[0]
    assert "the old one goes on" in said[0]
    assert models.get("weave-centre") is before
    assert models.entry("weave-centre") == before.entry
    np.testing.assert_array_equal(scores(models.get("weave-centre"), pictures[:2]), expected)
    (folder / "weave-centre" / TENSORS).write_bytes(tensors)
    models.refresh()
    assert models.get("weave-centre").entry.version != before.entry.version


def test_a_damaged_model_is_an_error_of_its_own(models, folder):
    (folder / "weave-centre" / TENSORS).unlink()
    models.refresh()
    with pytest.raises(ModelError, match="cannot be read"):
        models.get("weave-centre")
    assert models.get("leather-whole").entry.name == "leather-whole"


def test_a_removed_model_is_gone_and_a_missing_folder_is_a_trouble(models, folder, caplog):
    models.get("weave-centre")
    models.get("leather-whole")
    shutil.rmtree(folder / "weave-centre")
    models.refresh()
    assert (models.names(), models.loaded()) == (["leather-whole"], ["leather-whole"])
    folder.rename(folder.with_name("moved"))
    models.refresh()
    models.refresh()
    assert models.troubles() == {
        str(folder): f"the folder of detectors {folder} cannot be read: No such file or directory"
    }
    assert models.get("leather-whole").entry.name == "leather-whole"
    assert caplog.text.count("cannot be read") == 1
    folder.with_name("moved").rename(folder)
    models.refresh()
    assert (models.troubles(), "answers again" in caplog.text) == ({}, True)


def test_of_two_sources_with_the_same_model_the_first_one_serves_it(folder, second_weave, tmp_path):
    second_weave.save(tmp_path / "other" / "weave-centre")
    models = Models([Folder(tmp_path / "other"), Folder(folder)], keep=4)
    models.refresh()
    assert models.names() == ["leather-whole", "weave-centre"]
    assert models.get("weave-centre").model.params == second_weave.params
    assert models.get("leather-whole").entry.source.where == str(folder)


def test_a_watching_thread_picks_up_what_is_new(folder, models_dir):
    models = Models([Folder(folder)], keep=4)
    models.start(0.05)
    try:
        shutil.copytree(models_dir / "weave-centre", folder / "third")
        until(lambda: "third" in models.names(), "the new folder is noticed", pause=0.02)
        assert models.names() == ["leather-whole", "third", "weave-centre"]
    finally:
        models.close()
    until(lambda: all(thread.name != "models" for thread in threading.enumerate()), "the thread ends", pause=0.02)


def test_a_registry_that_dies_leaves_what_was_loaded(models_dir, second_weave, tmp_path, monkeypatch, pictures, caplog):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    server.start()
    try:
        target = resolve_tracking(server.url, tmp_path)
        register_champion(models_dir / "weave-centre", "weave", {}, target=target)
        register_champion(models_dir / "leather-whole", "leather", {}, target=target)
        models = Models([Registry(server.url)], keep=1)
        models.refresh()
        assert models.names() == ["leather", "weave"]
        assert models.describe("leather")[1]["about"]["category"] == "leather"
        first = scores(models.get("weave"), pictures[:3])

        second = second_weave.save(tmp_path / "second")
        assert register_champion(second, "weave", {}, target=target).version == 2
        models.refresh()
        expected = load(second).predict(pictures[:3]).scores
        np.testing.assert_array_equal(scores(models.get("weave"), pictures[:3]), expected)
        assert not np.allclose(first, expected, rtol=1e-3)

        broken = Path(shutil.copytree(second, tmp_path / "broken"))
        (broken / TENSORS).write_bytes((second / TENSORS).read_bytes()[:5000])
        assert register_champion(broken, "weave", {}, target=target).version == 3
        models.refresh()
        assert models.get("weave").entry.version == "2"
        assert "weave: version 3 cannot be loaded, the old one goes on" in caplog.text
    finally:
        server.stop()
    models.refresh()
    assert ["does not answer" in reason for reason in models.troubles().values()] == [True]
    np.testing.assert_array_equal(scores(models.get("weave"), pictures[:3]), expected)
    with pytest.raises(TrackingError, match="does not answer"):
        models.get("leather")
    with pytest.raises(TrackingError, match="not every source of models answers"):
        models.get("another")


def test_a_registry_that_was_never_made_is_not_made_by_looking(tmp_path):
    models = Models([Registry(f"sqlite:///{tmp_path / 'mlflow.db'}")], keep=1)
    models.refresh()
    assert "there is no tracking database" in next(iter(models.troubles().values()))
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_a_trouble_and_no_crash(tmp_path):
    models = Models([Registry(f"http://127.0.0.1:{free_port()}")], keep=1)
    models.refresh()
    assert (models.names(), len(models.troubles())) == ([], 1)
