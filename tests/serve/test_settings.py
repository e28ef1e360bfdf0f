"""Settings: arguments over environment over defaults, and early errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from subband.errors import DataError, ParamsError, TrackingError
from subband.serving.settings import make_settings


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBBAND_HOME", str(tmp_path))
    for name in ("MLFLOW_TRACKING_URI", "SUBBAND_MAX_PIXELS"):
        monkeypatch.delenv(name, raising=False)


def test_arguments_win_over_the_environment_and_texts_become_numbers(models_dir):
    environment = {
        "SUBBAND_SERVE_KEEP": "3",
        "SUBBAND_SERVE_BATCH": "5",
        "SUBBAND_SERVE_MODELS_DIR": "",
        "PATH": "/bin",
    }
    settings = make_settings({"keep": "7", "models_dir": str(models_dir)}, environment)
    assert (settings.keep, settings.batch, settings.replicas) == (7, 5, 1)
    assert settings.models_dir == models_dir


def test_a_registry_is_served_unless_only_a_folder_was_named(models_dir, tmp_path, monkeypatch):
    assert make_settings({}, {}).tracking_uri == f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert make_settings({"models_dir": models_dir}, {}).tracking_uri is None
    both = make_settings({"models_dir": models_dir, "tracking_uri": "http://mlflow.example:5000"}, {})
    assert both.tracking_uri == "http://mlflow.example:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://team.example:5000")
    named = make_settings({"models_dir": models_dir}, {"MLFLOW_TRACKING_URI": "http://team.example:5000"})
    assert named.tracking_uri == "http://team.example:5000"


def test_a_relative_folder_is_made_absolute(models_dir, monkeypatch):
    monkeypatch.chdir(models_dir.parent)
    assert make_settings({"models_dir": models_dir.name}, {}).models_dir == models_dir


def test_the_pixel_limit_is_decided_once(monkeypatch):
    monkeypatch.setenv("SUBBAND_MAX_PIXELS", "5000")
    assert make_settings({}, {}).max_pixels == 5000
    assert make_settings({"max_pixels": 70}, {}).max_pixels == 70
    monkeypatch.setenv("SUBBAND_MAX_PIXELS", "many")
    with pytest.raises(DataError, match="'many'"):
        make_settings({}, {})


@pytest.mark.parametrize(
    ("values", "environment", "words"),
    [
        ({"kep": 3}, {}, "'kep' is not a parameter; did you mean 'keep'"),
        ({"keep": 0}, {}, "serve.keep: .*greater than or equal to 1"),
        ({"models_dir": "/no/such/folder"}, {}, "serve.models_dir: /no/such/folder is not a folder"),
        ({}, {"SUBBAND_SERVE_KEPT": "3"}, "'SUBBAND_SERVE_KEPT' is not .*did you mean 'SUBBAND_SERVE_KEEP'"),
        ({}, {"SUBBAND_SERVE_KEEP": "few"}, "serve.keep: .*valid integer"),
    ],
)
def test_a_wrong_setting_is_told_with_what_would_be_right(values, environment, words):
    with pytest.raises(ParamsError, match=words):
        make_settings(values, environment)


def test_a_saved_detector_is_not_a_folder_of_them(models_dir: Path):
    with pytest.raises(ParamsError, match=f"is itself a saved detector; give the folder around it, {models_dir}"):
        make_settings({"models_dir": models_dir / "weave-centre"}, {})


def test_a_malformed_tracking_uri_is_told_before_anything_starts():
    with pytest.raises(TrackingError, match="is not a tracking URI"):
        make_settings({"tracking_uri": "mlruns"}, {})


def test_the_old_name_of_a_setting_is_still_read():
    assert make_settings({"max_pictures": 3}, {}).max_images == 3
    assert make_settings({}, {"SUBBAND_SERVE_MAX_PICTURES": "4"}).max_images == 4
