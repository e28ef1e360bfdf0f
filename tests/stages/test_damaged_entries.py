"""A damaged entry is never believed: it is said, removed and computed again."""

import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subband.stages import Store

KEY = "12" * 20
ROWS = np.arange(24, dtype=np.float32).reshape(6, 4)


def compute():
    yield {"rows": ROWS[:2]}
    yield {"rows": ROWS[2:], "notes": ["two chunks"]}


def whole_entry(folder) -> Path:
    Store(folder).get_or_compute(KEY, compute, {"stage": "features", "params": {"level": 1}})
    return Path(folder) / "entries" / KEY


def truncate(entry):
    data = (entry / "rows.arrow").read_bytes()
    (entry / "rows.arrow").write_bytes(data[: len(data) // 2])


def flip(entry):
    data = bytearray((entry / "rows.arrow").read_bytes())
    data[len(data) // 2] ^= 1
    (entry / "rows.arrow").write_bytes(data)


def replace_manifest(content):
    return lambda entry: (entry / "entry.json").write_bytes(content)


DAMAGES = {
    "array cut short": truncate,
    "array with a flipped bit": flip,
    "array emptied": lambda entry: (entry / "rows.arrow").write_bytes(b""),
    "array missing": lambda entry: (entry / "rows.arrow").unlink(),
    "entry.json missing": lambda entry: (entry / "entry.json").unlink(),
    "entry.json emptied": replace_manifest(b""),
    "entry.json cut short": lambda entry: replace_manifest((entry / "entry.json").read_bytes()[:40])(entry),
    "entry.json without fields": replace_manifest(b"{}"),
    "entry.json another kind of JSON": replace_manifest(b"[1, 2]"),
    "entry.json not text": replace_manifest(b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_said_and_computed_again(tmp_path, caplog, damage):
    damage(whole_entry(tmp_path))
    store = Store(tmp_path)
    with caplog.at_level(logging.WARNING, logger="subband.stages.store"):
        entry, computed = store.get_or_compute(KEY, compute, {"stage": "features"})
    assert computed
    np.testing.assert_array_equal(entry.array("rows"), ROWS)
    assert [record for record in caplog.records if "is damaged" in record.message and KEY[:12] in record.message]
    assert Store(tmp_path).verify() == []
    assert list((tmp_path / "partial").iterdir()) == []


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_verify_finds_and_removes_it(tmp_path, damage):
    damage(whole_entry(tmp_path))
    store = Store(tmp_path)
    store.info()  # whatever it can read of a damaged entry, it does not fail
    ((key, reason),) = store.verify()
    assert key == KEY
    assert reason
    assert store.verify() == []
    assert store.info() == []


@given(st.sampled_from(["rows.arrow", "entry.json"]), st.floats(0, 1, exclude_max=True), st.integers(0, 7))
@settings(max_examples=80, deadline=None)
def test_no_flipped_bit_changes_a_result(name, place, bit):
    """Wherever a bit flips, the entry is refused, or it says the same as before."""
    with tempfile.TemporaryDirectory() as folder:
        entry = whole_entry(folder)
        path = entry / name
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= 1 << bit
        path.write_bytes(content)
        found = Store(folder).get(KEY)
        if found is not None:
            assert path.name == "entry.json"
            np.testing.assert_array_equal(found.array("rows"), ROWS)
            assert found.values == {"notes": ["two chunks"]}


def test_verify_does_not_count_as_use(tmp_path):
    whole_entry(tmp_path)
    (before,) = Store(tmp_path).info()
    Store(tmp_path).verify()
    assert Store(tmp_path).info() == [before]


def test_an_entry_of_another_worker_that_vanishes_is_simply_absent(tmp_path, caplog):
    store = Store(tmp_path)
    shutil.rmtree(whole_entry(tmp_path))
    assert store.get(KEY) is None
    assert caplog.records == []
