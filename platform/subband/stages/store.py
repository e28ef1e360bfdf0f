"""The stage store: results on disk by content key, mapped into every worker of a node, computed once.

Layout of the store's folder::

    VERSION
    entries/<key>/entry.json        shapes, sizes, checksums, small values; its mtime is the last use
    entries/<key>/<array>.arrow     one Arrow IPC file an array
    locks/<key>.lock                held by the one worker that computes the key
    partial/                        entries being written; renamed into entries/ when whole

An entry appears by one rename or not at all, so a killed worker or a full disk never leaves half a result. Removing an entry
that another worker has mapped is safe: the mapping keeps the file alive until it is dropped.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from filelock import FileLock, Timeout

from subband.errors import StoreError
from subband.stages.arrays import ArrayWriter, StoredArray

log = logging.getLogger(__name__)

LAYOUT_VERSION = "1"
ATTEMPTS = 5
DEFAULT_BUDGET_GB = 50.0
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class BusyError(Exception):
    """Another worker is computing the entry, and the caller did not want to wait."""


class DamagedEntryError(Exception):
    """An entry whose files do not match what was written."""


@dataclass(frozen=True)
class Entry:
    """What one stage gave: named arrays and small JSON values."""

    arrays: Mapping[str, StoredArray | np.ndarray] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)

    def array(self, name: str) -> np.ndarray:
        """The whole array of that name; a view of the mapped file where it was written in one chunk."""
        found = self.arrays[name]
        return found if isinstance(found, np.ndarray) else found.numpy()

    def batches(self, name: str) -> Iterator[np.ndarray]:
        """The array of that name in chunks of rows."""
        found = self.arrays[name]
        return iter([found]) if isinstance(found, np.ndarray) else found.batches()


Chunk = Mapping[str, Any]
"""Rows for some arrays (numpy arrays) and small values (anything JSON holds), by name."""


class Store:
    """Content-addressed results of stages.

    Safe for any number of processes on one node; each node has its own.

    Args:
        folder: where the store lies; made if it does not exist.
        budget_gb: size in GB (1e9 bytes) above which the least recently used entries are removed.

    Raises:
        StoreError: the folder cannot be used or has another layout.
    """

    def __init__(self, folder: Path | str, budget_gb: float = DEFAULT_BUDGET_GB) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self.budget_bytes = int(budget_gb * 1e9)
        self._verified: set[str] = set()
        self._entries, self._locks, self._partial = (self.folder / n for n in ("entries", "locks", "partial"))
        try:
            for sub in (self._entries, self._locks, self._partial):
                sub.mkdir(parents=True, exist_ok=True)
            version = self.folder / "VERSION"
            if not version.exists():
                _write_atomically(version, LAYOUT_VERSION)
            found = version.read_text().strip()
        except OSError as error:
            raise StoreError(
                f"the store folder {self.folder} cannot be used: {error}; choose another with --store"
            ) from error
        if found != LAYOUT_VERSION:
            raise StoreError(f"{self.folder} is a store of layout {found}, not {LAYOUT_VERSION}; choose another folder")

    def get(self, key: str) -> Entry | None:
        """The entry, or None where it is absent or damaged (a damaged one is removed, and said)."""
        folder = self._entries / key
        try:
            entry = self._open(folder, verify=key not in self._verified)
        except FileNotFoundError:
            return None
        except DamagedEntryError as damage:
            log.warning("stage store: entry %s is damaged (%s); it is removed and will be recomputed", key[:12], damage)
            self._remove(key)
            return None
        with contextlib.suppress(OSError):  # just evicted (the mapping outlives it), or a store that may only be read
            os.utime(folder / "entry.json")
        self._verified.add(key)
        return entry

    def get_or_compute(
        self, key: str, compute: Callable[[], Iterable[Chunk]], about: Mapping[str, Any], wait: bool = True
    ) -> tuple[Entry, bool]:
        """The entry of `key`, computed at most once on this node however many workers ask for it at the same time.

        Args:
            key: hexadecimal content key.
            compute: gives the result in chunks; called only if the entry is absent, while this worker holds its lock.
            about: small description kept with the entry (stage name, parameters) for `info`.
            wait: whether to wait for another worker that is computing the key.

        Returns:
            The entry, and whether this call computed it.

        Raises:
            BusyError: another worker is computing the key, and `wait` is false.
            StoreError: the disk is full or not writable; the store stays valid and nothing half-written remains.
        """
        for _ in range(ATTEMPTS):
            entry, computed = self._get_or_compute_once(key, compute, about, wait)
            if entry is not None:
                return entry, computed
            # Another worker, short of room, removed it between our writing and our opening it.
        raise StoreError(
            f"entry {key[:12]} was removed {ATTEMPTS} times right after it was written: the budget of "
            f"{self.budget_bytes / 1e9:.1f} GB is too small for this many workers; raise --store-gb"
        )

    def _get_or_compute_once(
        self, key: str, compute: Callable[[], Iterable[Chunk]], about: Mapping[str, Any], wait: bool
    ) -> tuple[Entry | None, bool]:
        entry = self.get(key)
        if entry is not None:
            return entry, False
        lock = FileLock(self._locks / f"{key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not wait:
                raise BusyError from None
            log.info("stage store: waiting for another worker that computes %s", about.get("stage", key[:12]))
            lock.acquire()
        except OSError as error:
            raise self._failure(error) from error
        try:
            entry = self.get(key)  # the worker that held the lock before may just have written it
            if entry is not None:
                return entry, False
            size = self._write(key, compute(), about)
            self._verified.add(key)  # its checksums are those of what was just written
            entry = self.get(key)
        finally:
            lock.release()
        if entry is not None:
            self._make_room(size, keep=key)
        return entry, True

    def info(self) -> list[dict[str, Any]]:
        """Every readable entry's description, least recently used first, with ``key``, ``bytes`` and ``last_use``."""
        rows = []
        for folder in self._entries.iterdir():
            try:
                manifest = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
                last_use = (folder / "entry.json").stat().st_mtime
                row = {"key": folder.name, "bytes": manifest["bytes"], "last_use": last_use, **manifest["about"]}
            except (OSError, ValueError, KeyError, TypeError):
                continue  # being removed, or damaged: `verify` says so
            rows.append(row)
        return sorted(rows, key=lambda row: row["last_use"])

    def verify(self) -> list[tuple[str, str]]:
        """Check every entry's checksums; damaged ones are removed and returned as (key, what was wrong)."""
        damaged = []
        for folder in sorted(self._entries.iterdir()):
            try:
                self._open(folder, verify=True)
            except FileNotFoundError:
                continue
            except DamagedEntryError as damage:
                damaged.append((folder.name, str(damage)))
                self._remove(folder.name)
        return damaged

    def clear(self) -> int:
        """Remove every entry and leftover; returns how many entries there were. Workers may go on: they recompute."""
        count = 0
        for folder in list(self._entries.iterdir()):
            self._remove(folder.name)
            count += 1
        self._drop_leftovers()
        return count

    def discard(self, key: str) -> None:
        """Remove one entry, if it is there; who has it mapped may go on reading."""
        self._remove(key)

    def _drop_leftovers(self) -> None:
        """Remove what killed workers left half-written: what lies in partial/ under a key whose lock nobody holds."""
        for key in {leftover.name.rpartition("-")[0] for leftover in self._partial.iterdir()}:
            with contextlib.suppress(Timeout), FileLock(self._locks / f"{key}.lock", timeout=0):
                for leftover in self._partial.glob(f"{key}-*"):
                    shutil.rmtree(leftover, ignore_errors=True)

    def _open(self, folder: Path, verify: bool) -> Entry:
        try:
            manifest = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
            if manifest.pop("checksum") != _text_checksum(manifest):
                raise DamagedEntryError("entry.json does not match its checksum")
            arrays: dict[str, StoredArray | np.ndarray] = {}
            for name, array in manifest["body"]["arrays"].items():
                path = folder / f"{name}.arrow"
                if path.stat().st_size != array["bytes"]:
                    raise DamagedEntryError(f"{name}.arrow has {path.stat().st_size} bytes, not {array['bytes']}")
                if verify and _checksum(path) != array["checksum"]:
                    raise DamagedEntryError(f"{name}.arrow does not match its checksum")
                arrays[name] = StoredArray(path, tuple(array["shape"]), np.dtype(array["dtype"]))
        except FileNotFoundError as error:
            if folder.exists():
                raise DamagedEntryError(f"{Path(str(error.filename)).name} is missing") from error
            raise  # absent, or evicted by another worker between two reads
        except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
            raise DamagedEntryError(f"{type(error).__name__}: {error}") from error
        return Entry(arrays, manifest["body"]["values"])

    def _write(self, key: str, chunks: Iterable[Chunk], about: Mapping[str, Any]) -> int:
        partial = self._partial / f"{key}-{uuid.uuid4().hex[:8]}"
        writers: dict[str, ArrayWriter] = {}
        values: dict[str, Any] = {}
        try:
            partial.mkdir()
            for chunk in chunks:
                for name, value in chunk.items():
                    if not isinstance(value, np.ndarray):
                        values[name] = value
                        continue
                    if name not in writers:
                        writers[name] = ArrayWriter(partial / f"{name}.arrow", value)
                    writers[name].append(value)
            arrays = {}
            for name, writer in writers.items():
                writer.close()
                path = partial / f"{name}.arrow"
                arrays[name] = {
                    "shape": [writer.rows, *writer.tail],
                    "dtype": writer.dtype.str,
                    "bytes": path.stat().st_size,
                    "checksum": _checksum(path),
                }
            size = sum(array["bytes"] for array in arrays.values())
            manifest = {
                "body": {"arrays": arrays, "values": values},
                "bytes": size,
                "about": {**about, "created": time.time()},
            }
            manifest = json.loads(json.dumps(manifest))  # as a reader will see it: JSON turns every key into text
            manifest["checksum"] = _text_checksum(manifest)
            (partial / "entry.json").write_text(json.dumps(manifest), encoding="utf-8")
            partial.rename(self._entries / key)
        except OSError as error:
            raise self._failure(error) from error
        finally:
            for writer in writers.values():
                writer.abandon()
            shutil.rmtree(partial, ignore_errors=True)
        return int(size)

    def _failure(self, error: OSError) -> OSError | StoreError:
        """What to raise for an error met while writing: a StoreError if the store is to blame, else the error itself.

        A full disk reaches us as any OSError of Arrow or of the file system. The computation's own file trouble (a missing
        weights file) must not be called one.
        """
        if error.errno in _NO_ROOM or "No space left" in str(error):
            free = shutil.disk_usage(self.folder).free / 1e9
            return StoreError(
                f"the disk of the store {self.folder} is full ({free:.2f} GB free): free some room, run "
                "`python -m subband.stages clear`, or give --store another folder; finished results are safe"
            )
        if str(self.folder) in str(error):
            return StoreError(f"the store {self.folder} cannot be written: {error}; choose another folder with --store")
        return error

    def _make_room(self, written: int, keep: str) -> None:
        """Remove least recently used entries until the budget holds; the entry just written stays."""
        if not _due(self.folder, written, self.budget_bytes):
            return
        with FileLock(self._locks / "evict.lock"):
            self._drop_leftovers()
            rows = self.info()
            total = sum(row["bytes"] for row in rows)
            for row in rows:
                if total <= self.budget_bytes:
                    break
                if row["key"] != keep:
                    self._remove(row["key"])
                    total -= row["bytes"]
        if total > self.budget_bytes:
            log.warning(
                "stage store: one entry alone (%.2f GB) exceeds the budget of %.2f GB",
                total / 1e9,
                self.budget_bytes / 1e9,
            )

    def _remove(self, key: str) -> None:
        self._verified.discard(key)
        trash = self._partial / f"trash-{uuid.uuid4().hex[:8]}"
        try:
            (self._entries / key).rename(trash)
        except OSError:
            return  # another worker removed it first
        shutil.rmtree(trash, ignore_errors=True)


_SCAN_EVERY = 0.02
_written_since_scan: dict[Path, float] = {}
_scan_guard = threading.Lock()


def _due(folder: Path, written: int, budget: int) -> bool:
    """Whether enough was written since the last look (2 % of the budget) to count the whole store again."""
    with _scan_guard:
        total = _written_since_scan.get(folder, float("inf")) + written
        due = total >= _SCAN_EVERY * budget
        _written_since_scan[folder] = 0.0 if due else total
        return due


def _checksum(path: Path) -> str:
    digest = xxhash.xxh3_64()
    with path.open("rb") as handle:
        while block := handle.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _text_checksum(manifest: Mapping[str, Any]) -> str:
    return str(xxhash.xxh3_64_hexdigest(json.dumps(manifest, sort_keys=True).encode()))


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    temporary.write_text(text)
    temporary.replace(path)
