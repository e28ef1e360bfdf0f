from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from subband.tracking import TrackingTarget, resolve_tracking
from subband.tracking.connection import connect, prepare_environment
from tests.waiting import until

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@pytest.fixture(autouse=True)
def _no_tracking_uri_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    prepare_environment()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and no runs: the migrations take seconds, a copy takes none."""
    os.environ.update(QUIET)
    folder = tmp_path_factory.mktemp("empty")
    # Named, since a test that ran before may have left a tracking URI in the environment.
    client = connect(resolve_tracking(f"sqlite:///{folder / 'mlflow.db'}", folder))
    client._tracking_client.store.engine.dispose()
    return folder / "mlflow.db"


@pytest.fixture
def target(empty_database: Path, tmp_path: Path) -> TrackingTarget:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return resolve_tracking(None, tmp_path)


class Server:
    """A real ``mlflow server`` on a free port, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"]
        command += ["--artifacts-destination", str(self.folder / "served")]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **QUIET})
        until(self._answers, (self.folder / "server.log").read_text, pause=0.2)

    def _answers(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            pytest.fail(f"mlflow server did not start:\n{(self.folder / 'server.log').read_text()}")
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=30):
                return True
        except OSError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


@pytest.fixture
def server(empty_database: Path, tmp_path: Path) -> Iterator[Server]:
    """A server, not started yet, on the empty database in ``tmp_path / "runs"``."""
    folder = tmp_path / "runs"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    server = Server(folder)
    yield server
    server.stop()
