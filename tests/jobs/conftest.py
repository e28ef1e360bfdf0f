"""Places for jobs, and what their last screen must hold."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from job_runs import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "elsewhere").mkdir()
    return Place(tmp_path / "home", tmp_path / "elsewhere")


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str]]]:
    """Runs a job's body in this process, which finds what is wrong before Ray starts: exit status, and what it said in one line."""
    monkeypatch.setenv("SUBBAND_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    on_termination = signal.getsignal(signal.SIGTERM)

    def run(body: Callable[[list[str]], int], *arguments: str) -> tuple[int, str]:
        status = body(list(arguments))
        output = capsys.readouterr().out
        assert "Traceback" not in output
        assert output.count("error:") == 1
        for name in ("runs", "trainings"):
            assert not (tmp_path / "home" / name).exists(), "something was written"
        return status, " ".join(output.split())

    yield run
    signal.signal(signal.SIGTERM, on_termination)


@pytest.fixture(scope="session")
def check_ending() -> Callable[[str], None]:
    """Checks the last screen of a sweep that found champions."""

    def check(output: str) -> None:
        assert "Traceback" not in output, output
        assert re.search(r"Trials ranked by image_auroc \(selection: holdout\)", output), output
        assert re.search(r"^ *1\* ", output, re.MULTILINE), output
        assert "* chosen: " in output
        assert "regret" in output
        assert re.search(r"^smoke-wepadim-synthetic-\w+ +1 ", output, re.MULTILINE), output
        assert re.search(r"^  mlflow ui .*--backend-store-uri sqlite:///", output, re.MULTILINE), output
        assert re.search(
            r"^  make serve .*curl .*/v1/models/smoke-wepadim-synthetic-\w+/predict", output, re.MULTILINE
        ), output

    return check
