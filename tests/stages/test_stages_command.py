"""``python -m subband.stages`` as a user types it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from subband.stages import Store
from tests.waiting import PATIENCE

PLATFORM = Path(__file__).parents[2] / "platform"


def command(*words, home=None, **options):
    environment = {**os.environ, "PYTHONPATH": str(PLATFORM), "COLUMNS": "100"}
    if home is not None:
        environment["SUBBAND_HOME"] = str(home)
    return subprocess.run(
        [sys.executable, "-m", "subband.stages", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
        **options,
    )


@pytest.fixture
def store(tmp_path) -> Store:
    made = Store(tmp_path / "store")
    for number, stage in enumerate(["features", "features", "grams"]):
        made.get_or_compute(f"{number:040x}", lambda: [{"rows": np.zeros((1000, 25))}], {"stage": stage})
    return made


def test_info_lists_every_stage_of_the_default_store(tmp_path, store):
    done = command("info", home=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[1]: line for line in done.stdout.splitlines() if line.startswith("│")}
    assert rows.keys() == {"features", "grams", "total"}
    sizes = [row["bytes"] / 1000 for row in store.info()]
    assert f" 2 │ {sizes[0] + sizes[1]:.1f} kB" in rows["features"]
    assert f" 3 │ {sum(sizes):.1f} kB" in rows["total"]
    assert "just now" in rows["grams"]
    assert "budget 50.0 GB" in done.stdout


def test_verify_says_damage_in_its_exit_status(tmp_path, store):
    assert command("verify", "--store", str(store.folder)).returncode == 0
    (store.folder / "entries" / f"{1:040x}" / "rows.arrow").write_bytes(b"broken")
    done = command("verify", "--store", str(store.folder))
    assert done.returncode == 1
    assert "rows.arrow has 6 bytes" in done.stdout
    assert "2 entries are whole, 1 were damaged" in done.stdout
    assert command("verify", "--store", str(store.folder)).returncode == 0


def test_clear_asks_first(tmp_path, store):
    done = command("clear", "--store", str(store.folder))
    assert done.returncode == 2
    assert "add --yes" in done.stderr
    assert len(store.info()) == 3
    done = command("clear", "--store", str(store.folder), "--yes")
    assert done.returncode == 0
    assert "removed 3 entries" in done.stdout
    assert store.info() == []


def test_a_folder_that_is_no_store_is_an_error_and_is_not_made(tmp_path):
    done = command("info", "--store", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert "there is no store at" in done.stderr
    assert not (tmp_path / "nowhere").exists()
    done = command("clear", "--yes", "--store", str(tmp_path))
    assert done.returncode == 2
    assert "is not a stage store" in done.stderr
    assert "Traceback" not in done.stderr
