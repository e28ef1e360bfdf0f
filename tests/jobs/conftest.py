"""Places for jobs, and what their last screen must hold."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from job_runs import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "elsewhere").mkdir()
    return Place(tmp_path / "home", tmp_path / "elsewhere")


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
