"""Real processes on one store: one computation a key, killed writers, full disks."""

import os
import signal

import numpy as np
import pytest
from store_workers import KEY, VALUES, compute_once, fill_the_disk, hang_while_writing, run, spawn

from subband.errors import StoreError
from subband.stages import Store
from tests.waiting import PATIENCE


def test_several_processes_compute_a_key_once(tmp_path):
    log = tmp_path / "computed.txt"
    barrier, answers = spawn.Barrier(3), spawn.Queue()
    processes = [run(compute_once, tmp_path / "store", log, barrier, answers) for _ in range(3)]
    found = [answers.get(timeout=PATIENCE) for _ in processes]
    for process in processes:
        process.join(PATIENCE)
    assert len(log.read_text().splitlines()) == 1
    assert sorted(computed for computed, _, _ in found) == [False, False, True]
    assert {total for _, total, _ in found} == {float(VALUES.sum())}
    assert all(mapped for _, _, mapped in found)


def test_a_writer_killed_in_the_middle_leaves_a_valid_store(tmp_path):
    started = spawn.Event()
    process = run(hang_while_writing, tmp_path, started)
    assert started.wait(PATIENCE)
    os.kill(process.pid, signal.SIGKILL)
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    assert list((tmp_path / "partial").iterdir()), "the worker was not killed while it wrote"

    store = Store(tmp_path)
    assert store.get(KEY) is None
    assert store.info() == store.verify() == []
    entry, computed = store.get_or_compute(KEY, lambda: [{"rows": VALUES}], {"stage": "hangs"})
    assert computed
    np.testing.assert_array_equal(entry.array("rows"), VALUES)
    assert list((tmp_path / "partial").iterdir()) == [], "what the killed worker left takes room for ever"


def test_clearing_leaves_what_a_living_worker_writes(tmp_path):
    """`clear` beside a running sweep: the worker's half-written entry is not pulled from under it."""
    store = Store(tmp_path)

    def compute():
        yield {"rows": VALUES}
        assert Store(tmp_path).clear() == 0
        yield {"rows": VALUES, "more": VALUES}

    entry, _ = store.get_or_compute(KEY, compute, {"stage": "slow"})
    assert len(entry.array("rows")) == 2 * len(VALUES)


@pytest.mark.parametrize("chunk", [{"rows": VALUES}, {"notes": "x" * 200_000}], ids=["array", "entry.json"])
def test_a_full_disk_is_said_and_leaves_the_store_valid(tmp_path, chunk):
    """Writes really fail: the process may not write more than 100 kB into a file."""
    store = Store(tmp_path)
    store.get_or_compute("ef" * 20, lambda: [{"rows": VALUES}], {"stage": "earlier"})
    answers = spawn.Queue()
    process = run(fill_the_disk, tmp_path, chunk, answers)
    message, small = answers.get(timeout=PATIENCE), answers.get(timeout=PATIENCE)
    process.join(PATIENCE)
    assert "is full" in message
    assert "subband.stages clear" in message
    assert small == (True, True), "after room was made the same worker goes on"
    assert list((tmp_path / "partial").iterdir()) == []
    assert store.verify() == []
    assert sorted(row["key"] for row in store.info()) == ["cd" * 20, "ef" * 20]


def test_a_store_that_cannot_be_written_is_named(tmp_path):
    store = Store(tmp_path)
    (tmp_path / "partial").rmdir()
    (tmp_path / "partial").write_text("in the way")
    with pytest.raises(StoreError, match=f"the store {tmp_path} cannot be written"):
        store.get_or_compute(KEY, lambda: [{"rows": VALUES}], {})


def test_trouble_with_other_files_is_not_blamed_on_the_store(tmp_path):
    def compute():
        (tmp_path / "weights.pt").read_bytes()
        yield {}

    with pytest.raises(FileNotFoundError, match=r"weights\.pt"):
        Store(tmp_path / "store").get_or_compute(KEY, compute, {})


def test_folders_that_are_no_store(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used"):
        Store(tmp_path / "file")
    Store(tmp_path / "later")
    (tmp_path / "later" / "VERSION").write_text("99")
    with pytest.raises(StoreError, match="layout 99"):
        Store(tmp_path / "later")
