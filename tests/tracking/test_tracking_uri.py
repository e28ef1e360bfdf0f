from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from subband.errors import TrackingError
from subband.tracking import comparison_url, experiment_url, resolve_tracking, ui_command, ui_url


def test_default_is_a_sqlite_file_in_the_folder_with_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target = resolve_tracking(None, Path("runs"))
    assert target.uri == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert target.artifact_root == f"file://{tmp_path}/runs/mlartifacts"
    assert "default" in target.reason


def test_the_environment_is_asked_before_the_default_and_after_the_argument(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere:5000")
    assert resolve_tracking(None, tmp_path).uri == "http://somewhere:5000"
    assert "MLFLOW_TRACKING_URI" in resolve_tracking(None, tmp_path).reason
    assert resolve_tracking("https://elsewhere/mlflow/", tmp_path).uri == "https://elsewhere/mlflow"


def test_a_relative_sqlite_path_becomes_absolute_and_keeps_its_artifacts_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target = resolve_tracking("sqlite:///some/other.db", tmp_path / "runs")
    assert target.sqlite_path == tmp_path / "some" / "other.db"
    assert target.artifact_root == f"file://{tmp_path}/some/mlartifacts"


def test_a_database_server_keeps_artifacts_in_the_folder_and_a_tracking_server_decides_itself(tmp_path):
    assert (
        resolve_tracking("postgresql+psycopg2://me@db:5432/ml", tmp_path).artifact_root
        == f"file://{tmp_path}/mlartifacts"
    )
    assert resolve_tracking("http://host:5000", tmp_path).artifact_root is None


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("", "sqlite:///"),
        ("mlruns", "no file store"),
        ("/data/mlruns", "no file store"),
        ("file:///data/mlruns", "no file store"),
        ("htp://host", "did you mean 'http'"),
        ("sqllite:///x.db", "did you mean 'sqlite'"),
        ("http:/host", "names no host"),
        ("http://", "names no host"),
        ("http://host:port", "port"),
        ("postgresql:///db", "names no host"),
        ("sqlite://", "names no database file"),
        ("sqlite:///:memory:", "names no database file"),
        ("sqlite:mlflow.db", "names no database file"),
    ],
)
def test_malformed_uris_are_refused_and_say_what_is_right(uri, says, tmp_path):
    with pytest.raises(TrackingError, match=says):
        resolve_tracking(uri, tmp_path)


def test_a_folder_or_another_file_is_no_database(tmp_path):
    with pytest.raises(TrackingError, match="names a folder"):
        resolve_tracking(f"sqlite:///{tmp_path}", tmp_path)
    (tmp_path / "notes.txt").write_text("not a database at all")
    with pytest.raises(TrackingError, match="not a sqlite database"):
        resolve_tracking(f"sqlite:///{tmp_path}/notes.txt", tmp_path)


def test_the_command_quotes_paths_and_a_server_needs_none(tmp_path):
    target = resolve_tracking(f"sqlite:///{tmp_path}/my runs/mlflow.db", tmp_path)
    assert ui_command(target).endswith(f"--backend-store-uri 'sqlite:///{tmp_path}/my runs/mlflow.db'")
    assert ui_url(target) == "http://127.0.0.1:5000"
    server = resolve_tracking("http://host:5000", tmp_path)
    assert ui_command(server) is None
    assert ui_url(server) == "http://host:5000"


def test_the_comparison_address_carries_json_lists():
    address = comparison_url("http://host/", ["a", "b"], "7")
    path, query = urlsplit(address).fragment.split("?")
    assert path == "/compare-runs"
    assert {name: json.loads(values[0]) for name, values in parse_qs(query).items() if name != "workflowType"} == {
        "runs": ["a", "b"],
        "experiments": ["7"],
    }
    assert experiment_url("http://host", "7", "key").startswith("http://host/#/experiments/7/runs?")
    assert experiment_url("http://host", "7", "key").endswith("&viewStateShareKey=key")
