"""Above its budget the store drops what was used longest ago, and never what was just written."""

import logging
import os

import numpy as np

from subband.stages import Store

ENTRY = np.zeros((1000, 25), np.float32)  # 100 kB and a little


def key(number: int) -> str:
    return f"{number:040x}"


def write(store: Store, number: int) -> None:
    store.get_or_compute(key(number), lambda: [{"rows": ENTRY + number}], {"stage": f"stage{number}"})


def age(store: Store, number: int, seconds: float) -> None:
    """Make an entry look last used so long ago: clock ticks are too coarse to tell writes in a test apart."""
    path = store.folder / "entries" / key(number) / "entry.json"
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def filled(folder, count: int, budget_gb: float) -> Store:
    store = Store(folder, budget_gb)
    for number in range(count):
        write(store, number)
        age(store, number, 1000 - number)
    return store


def kept(store: Store) -> list[int]:
    return sorted(int(row["key"], 16) for row in store.info())


def test_under_the_budget_everything_stays(tmp_path):
    assert kept(filled(tmp_path, 3, budget_gb=0.00035)) == [0, 1, 2]


def test_the_least_recently_used_goes_first(tmp_path):
    store = filled(tmp_path, 3, budget_gb=0.00035)
    store.get(key(0))  # used just now, though written first
    write(store, 3)
    assert kept(store) == [0, 2, 3]
    assert sum(row["bytes"] for row in store.info()) <= store.budget_bytes


def test_info_is_in_order_of_use(tmp_path):
    store = filled(tmp_path, 3, budget_gb=1)
    assert [row["stage"] for row in store.info()] == ["stage0", "stage1", "stage2"]
    store.get(key(1))
    assert [row["stage"] for row in store.info()] == ["stage0", "stage2", "stage1"]


def test_an_entry_above_the_whole_budget_stays_and_is_said(tmp_path, caplog):
    store = Store(tmp_path, budget_gb=0.00005)
    with caplog.at_level(logging.WARNING, logger="subband.stages.store"):
        write(store, 7)
    assert kept(store) == [7]
    assert "exceeds the budget" in caplog.text


def test_what_is_mapped_outlives_its_eviction(tmp_path):
    store = filled(tmp_path, 1, budget_gb=0.00015)
    mapped = store.get(key(0)).array("rows")
    age(store, 0, 1000)
    write(store, 1)
    assert kept(store) == [1]
    np.testing.assert_array_equal(mapped, ENTRY)


def test_clear_removes_everything_and_counts(tmp_path):
    store = filled(tmp_path, 3, budget_gb=1)
    assert store.clear() == 3
    assert store.info() == []
    write(store, 1)
    assert kept(store) == [1]
