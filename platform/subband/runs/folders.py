"""Folders of runs by name: finding a new or an earlier one, and writing its settings whole or not at all."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from subband.errors import ParamsError, unknown_name
from subband.files import write_atomically

SETTINGS_NAME = "settings.json"


def new_name(prefix: str) -> str:
    """A name made of a method or an analysis and the time; its last part keeps two apart that start in the same second."""
    return f"{prefix}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"


def check_name(name: str) -> str:
    """The name, if it can be a folder's and a run's.

    Raises:
        ParamsError: it holds other characters than letters, digits, '-', '_' and '.'.
    """
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise ParamsError(f"{name!r} cannot be a name: use letters, digits, '-', '_' and '.'")
    return name


def named_folder(parent: Path, kind: str, method: str, name: str | None, resume: str | None) -> tuple[Path, bool]:
    """The folder of something new, or of what is resumed.

    Args:
        parent: holds them all.
        kind: ``sweep`` or ``training``, for messages.
        method: name of the method; what another method left is not resumed.
        name: of a new one; None makes one of method and time.
        resume: name of an earlier one, or ``last``; None starts a new one.

    Returns:
        The folder, and whether it was there.

    Raises:
        ParamsError: an illegal name or one that is taken, or nothing of that name to resume.
    """
    if resume is None:
        name = check_name(name or new_name(method))
        if (parent / name / SETTINGS_NAME).exists():
            raise ParamsError(
                f"a {kind} named {name!r} exists in {parent}; give another --name, or continue it with --resume {name}"
            )
        return parent / name, False
    saved = sorted(parent.glob(f"*/{SETTINGS_NAME}"), key=lambda path: path.stat().st_mtime)
    known = [path.parent for path in saved if read_settings(path.parent).get("method") == method]
    if not known:
        raise ParamsError(f"there is no {method} {kind} to resume in {parent}")
    if resume == "last":
        return known[-1], True
    names = [folder.name for folder in known]
    if resume not in names:
        raise ParamsError(unknown_name(f"{kind} to resume", resume, names))
    return parent / resume, True


def read_settings(folder: Path) -> dict[str, Any]:
    """What `write_settings` has written."""
    content: dict[str, Any] = json.loads((folder / SETTINGS_NAME).read_text(encoding="utf-8"))
    return content


def write_settings(folder: Path, kind: str, content: Mapping[str, Any], again: bool = False) -> None:
    """Write the settings of something new, or of what is resumed; ``--resume`` reads those of all, so they are whole or not there.

    Args:
        folder: made if it is missing.
        kind: ``sweep`` or ``training``, for messages.
        content: with its ``method``.
        again: whether they replace those of what is resumed.

    Raises:
        ParamsError: another process has just started one of that name.
    """
    path = folder / SETTINGS_NAME
    if path.exists() and not again:
        raise ParamsError(f"a {kind} named {folder.name!r} has just been started; give another --name")
    write_atomically(path, json.dumps(content, indent=1).encode())


@contextlib.contextmanager
def folder_lock(folder: Path, lock_name: str, kind: str) -> Iterator[None]:
    """Hold the right to work in a folder, which is made if it is missing; the system gives it back when the process ends.

    Raises:
        ParamsError: another process works there right now.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / lock_name, timeout=0, thread_local=False):
            yield
    except Timeout:
        raise ParamsError(
            f"the {kind} {folder.name} is running in another process: wait until it ends, or interrupt it first"
        ) from None
