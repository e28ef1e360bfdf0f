"""The GPU script goes through its sections on a machine without a GPU, with a tiny setting."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("section", ["kcenter", "half_precision", "marked_tests"])
def test_a_section_is_measured_and_written(section: str, tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    command = ["sh", str(ROOT / "platform" / "bench" / "gpu.sh"), "--tiny", "--only", section, "--out", str(out)]
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "SUBBAND_HOME": str(tmp_path),
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(out.read_text())
    assert figures["tiny"] is True
    assert set(figures["machine"]) >= {"gpu", "torch", "date", "commit"}
    assert figures[section]["section_seconds"] > 0
    assert not {"failed", "skipped"} & set(figures[section])
    if section == "kcenter":
        assert figures[section]["equal_picks"] == figures[section]["picks"] == 20
