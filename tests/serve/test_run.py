"""Starting it as a person does: the script, Serve's own command, and a deployment from the config file."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from subband.compute.local_ray import START_LIMITS
from tests.serve.conftest import ROOT, asked, child_environment, encoded, free_port
from tests.waiting import PATIENCE, until


@contextmanager
def started(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A test run that was started in the background ignores SIGINT, and so would the script.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(log: Path, words: str, process: subprocess.Popen[bytes]) -> str:
    until(lambda: words in log.read_text() or process.poll() is not None, log.read_text, pause=0.2)
    assert words in log.read_text(), log.read_text()
    return log.read_text()


def is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=PATIENCE).status_code == 200
    except httpx.HTTPError:
        return False


def test_the_script_prints_lines_that_work_when_typed(models_dir, pictures, detectors, tmp_path):
    log, port = tmp_path / "log", free_port()
    command = [sys.executable, "serve/run.py", "--port", str(port), "--models-dir", str(models_dir)]
    with started(command, child_environment(tmp_path), log) as process:
        said = wait_for(log, "Ctrl-C ends", process)
        assert f"folder: {models_dir}" in said
        (tmp_path / "image.png").write_bytes(encoded(pictures[0]))
        for name, detector in detectors.items():
            line, png_line = re.findall(rf"^  (curl .*/v1/models/{name}/predict)$", said, re.MULTILINE)
            answer = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, check=True, timeout=PATIENCE)
            (expected,) = asked(detector, [pictures[0]])
            score = re.search(rb'"score":([0-9.e+-]+)', answer.stdout)
            assert score is not None, answer.stdout
            assert float(score[1]) == pytest.approx(expected.score, rel=1e-5)
            subprocess.run(png_line, shell=True, cwd=tmp_path, capture_output=True, check=True, timeout=PATIENCE)
            assert (tmp_path / "heatmap.png").read_bytes().startswith(b"\x89PNG")
            (tmp_path / "heatmap.png").unlink()
    assert process.returncode == 0, log.read_text()
    assert "Traceback" not in log.read_text()
    assert not (tmp_path / "mlflow.db").exists()


def test_the_script_tells_what_is_wrong_before_it_starts_anything(models_dir, tmp_path):
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "serve/run.py", *words]
        return subprocess.run(
            command,
            cwd=ROOT,
            env=child_environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    missing = run("--models-dir", str(tmp_path / "none"))
    assert (missing.returncode, "is not a folder" in missing.stdout) == (1, True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        busy = run("--models-dir", str(models_dir), "--port", str(port))
    assert (busy.returncode, f"cannot listen at 127.0.0.1:{port}" in busy.stdout) == (1, True)
    shown = run("--help")
    assert shown.returncode == 0
    assert all(flag in shown.stdout for flag in ("--models-dir", "--tracking-uri", "--keep", "--port"))


@pytest.mark.slow
def test_serves_own_command_runs_the_config_file(models_dir, pictures, tmp_path):
    config = yaml.safe_load((ROOT / "serve" / "config.yaml").read_text())
    port = config["http_options"]["port"] = free_port()
    config["applications"][0]["args"]["models_dir"] = str(models_dir)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    log = tmp_path / "log"
    limits = {name: str(value) for name, value in START_LIMITS.items()}  # Serve's own command raises none
    environment = {**child_environment(tmp_path), **limits, "PYTHONPATH": str(ROOT)}
    command = [str(Path(sys.executable).with_name("serve")), "run", str(tmp_path / "config.yaml")]
    with started(command, environment, log) as process:
        url = f"http://127.0.0.1:{port}"
        until(lambda: is_healthy(url) or process.poll() is not None, log.read_text, pause=0.2)
        answer = httpx.post(f"{url}/v1/models/weave-centre/predict", content=encoded(pictures[0]), timeout=PATIENCE)
        assert answer.json()["name"] == "weave-centre", log.read_text()
