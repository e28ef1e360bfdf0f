"""Digests of file contents, remembered between processes.

Hashing a large dataset takes as long as reading it, so digests are kept in a small sqlite file by absolute path, size,
times of modification and of change, and inode: a file that takes another's place may bring its name, size and modification
time along, but not the rest. The cache is only ever a shortcut: without it, or with a damaged or read-only one, every answer is
the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from subband.data.threads import thread_count
from subband.errors import DataError

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "SUBBAND_CACHE"
CACHE_NAME = "digests-2.sqlite"  # the first had no inode and time of change

# A file that changed this recently may change again within one tick of its time stamp, and would then look unchanged.
SETTLED_SECONDS = 2.0

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS digests "
    "(path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, inode TEXT, digest TEXT, checksum TEXT) "
    "WITHOUT ROWID"
)
_FACTS = "CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT, checksum TEXT) WITHOUT ROWID"
_FileState = tuple[str, int, int, int, str]


def cache_folder() -> Path:
    """Folder of the digest cache: ``SUBBAND_CACHE``, else ``~/.cache/subband``."""
    configured = os.environ.get(CACHE_VARIABLE)
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "subband"


def file_digest(path: Path, cache: Path | None = None) -> str:
    """SHA-256 of one file's bytes. See `file_digests`."""
    return file_digests([path], cache, threads=1)[0]


def file_digests(paths: Sequence[Path], cache: Path | None = None, threads: int | None = None) -> list[str]:
    """SHA-256 of the bytes of each file, in order.

    Args:
        paths: the files.
        cache: folder of the cache; by default `cache_folder()`.
        threads: files read at a time; by default one a processor, at most 8.

    Returns:
        Hexadecimal digests; a file whose path, size and time of change are remembered is not read again.

    Raises:
        DataError: a file cannot be read.
    """
    folder = cache_folder() if cache is None else cache
    states = [_state(path) for path in paths]
    known = _remembered(folder, states)
    unknown = list(dict.fromkeys(state for state in states if state not in known))
    if unknown:
        with ThreadPoolExecutor(thread_count(threads)) as pool:
            fresh = dict(zip(unknown, pool.map(_hash, (state[0] for state in unknown)), strict=True))
        _remember(folder, {state: digest for state, digest in fresh.items() if _settled(state)})
        known.update(fresh)
    return [known[state] for state in states]


def remembered_facts(
    kind: str,
    digests: Sequence[str],
    compute: Callable[[int], str],
    cache: Path | None = None,
    threads: int | None = None,
) -> list[str]:
    """What is known of contents, computed where it is not remembered.

    Args:
        kind: name and version of the calculation.
        digests: of the contents.
        compute: called with the place of a digest; a function of that content alone.
        cache: folder of the cache; by default `cache_folder()`.
        threads: calculations at a time; by default one a processor, at most 8.

    Returns:
        One text for each digest, in order.
    """
    folder = cache_folder() if cache is None else cache
    keys = [f"{kind} {digest}" for digest in digests]
    known = _known_facts(folder, keys)
    places = {key: place for place, key in enumerate(keys) if key not in known}
    if places:
        with ThreadPoolExecutor(thread_count(threads)) as pool:
            fresh = dict(zip(places, pool.map(compute, places.values()), strict=True))
        with _never_fatal(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with _connection(folder) as database:
                database.execute(_FACTS)
                rows = [(key, value, _checksum(key, value)) for key, value in fresh.items()]
                database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", rows)
        known.update(fresh)
    return [known[key] for key in keys]


def _known_facts(folder: Path, keys: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    if not (folder / CACHE_NAME).exists():
        return found
    with _never_fatal(folder), _connection(folder) as database:
        database.execute(_FACTS)
        for key in keys:
            row = database.execute("SELECT value, checksum FROM facts WHERE key = ?", (key,)).fetchone()
            if row is not None and row[1] == _checksum(key, row[0]):
                found[key] = row[0]
    return found


def _state(path: Path) -> _FileState:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); restore the file") from error
    return (
        str(path.absolute()),
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        f"{status.st_dev}:{status.st_ino}",
    )


def _settled(state: _FileState) -> bool:
    """Whether the file is still as it was before it was read, and has been so for a while."""
    return time.time() - state[2] / 1e9 > SETTLED_SECONDS and _state(Path(state[0])) == state


def _hash(path: str) -> str:
    running = hashlib.sha256()
    try:
        with Path(path).open("rb") as stream:
            while chunk := stream.read(1 << 20):
                running.update(chunk)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    return running.hexdigest()


def _remembered(folder: Path, states: Sequence[_FileState]) -> dict[_FileState, str]:
    if not (folder / CACHE_NAME).exists():
        return {}
    found = {}
    with _never_fatal(folder), _connection(folder) as database:
        for state in states:
            row = database.execute(
                "SELECT digest, checksum FROM digests WHERE path = ? AND size = ? AND mtime_ns = ? AND ctime_ns = ? AND inode = ?",
                state,
            ).fetchone()
            if row is not None and row[1] == _checksum(state, row[0]):
                found[state] = row[0]
    return found


def _remember(folder: Path, digests: dict[_FileState, str]) -> None:
    if not digests:
        return
    with _never_fatal(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _connection(folder) as database:
            database.execute(_SCHEMA)
            database.executemany(
                "INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(*state, digest, _checksum(state, digest)) for state, digest in digests.items()],
            )


def _checksum(state: _FileState | str, digest: str) -> str:
    """Guards one row: sqlite itself does not notice a changed byte, and a wrong digest would find wrong results."""
    return hashlib.sha256(f"{state} {digest}".encode()).hexdigest()[:16]


@contextlib.contextmanager
def _connection(folder: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(folder / CACHE_NAME, timeout=10)) as database, database:
        yield database


@contextlib.contextmanager
def _never_fatal(folder: Path) -> Iterator[None]:
    """Go on without the cache where it cannot be used, and remove it where it is damaged, so that it is built anew."""
    path = folder / CACHE_NAME
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        # Locked, read-only, disk full, or just being created by another process: nothing is wrong with the file.
        logger.debug("digest cache %s is not used: %s", path, error)
    except sqlite3.DatabaseError as error:
        logger.warning("digest cache %s is damaged (%s); it is built anew", path, error)
        with contextlib.suppress(OSError):
            path.unlink()
            path.with_name(path.name + "-journal").unlink()
