"""The body of the coreset job: flags in, selection, files out."""

from __future__ import annotations

import functools
import hashlib
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from subband.analysis.coreset_files import Selection, write_selection
from subband.banks.feature_file import open_features
from subband.banks.kcenter import FarthestFirst, GreedyKCenter, Progress, distances_to
from subband.banks.rows import Rows
from subband.banks.shards import merged_selection, random_order, shard_edges
from subband.banks.sizes import coreset_size
from subband.errors import ParamsError
from subband.files import write_atomically
from subband.runs.flags import parse_flags
from subband.runs.progress import ProgressBar
from subband.runs.shell import DONE, Shell, run_job

_SAVE_EVERY_SECONDS = 30.0


class CoresetSettings(BaseModel):
    """Which rows to choose from, how many, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: Path = Field(description="A .npy or .safetensors file of float32 features (..., D).")
    tensor: str | None = Field(None, description="Name of the tensor, where a .safetensors file holds several.")
    ratio: float | None = Field(None, description="Share of the rows to keep: above 0, at most 1.")
    count: int | None = Field(None, description="Rows to keep, instead of a ratio.")
    method: Literal["greedy", "merged", "random"] = Field(
        "greedy",
        description="greedy: exact k-center; merged: greedy in as many shards as there are workers, then among what they sent; "
        "random: the first rows of a permutation.",
    )
    workers: int = Field(
        1, ge=1, description="Ray workers that divide the rows; one works in this process. Shards of the merged method."
    )
    start: int = Field(0, ge=0, description="Row that greedy and merged pick first.")
    per_shard: int | None = Field(
        None, ge=1, description="Rows that each shard of the merged method sends; all picks by default."
    )
    seed: int = Field(0, ge=0, description="Seed of the random selection.")
    out: Path | None = Field(None, description="Folder to make; by default beside the features, FILE.coreset.")


def coreset_job(description: str, argv: Sequence[str] | None = None) -> int:
    """Select a coreset for a person at a terminal.

    Args:
        description: the job's docstring, shown by ``--help``.
        argv: arguments; by default those of the process.

    Returns:
        Exit status: 0 done, 1 failed, 2 wrong flags, 130 interrupted (the same command resumes).
    """

    def body(shell: Shell) -> int:
        settings, _ = parse_flags(CoresetSettings, description, argv)
        out = settings.out or settings.features.with_name(settings.features.name + ".coreset")
        if out.exists():
            raise ParamsError(f"{out} exists; name another folder with --out, or remove it")
        rows = open_features(settings.features, settings.tensor)
        size = coreset_size(len(rows), settings.ratio, settings.count)
        shell.print(
            f"{settings.features.name}: {len(rows)} rows of {rows.shape[1]}, {settings.method} selection of {size}"
        )
        begun = time.monotonic()
        with ProgressBar(shell.console, "rows", size) as bar:
            found = _SELECTIONS[settings.method](settings, rows, size, out, bar)
        write_selection(out, found, rows, settings.model_dump(mode="json", exclude={"out", "features"}))
        _report(shell, found, out, time.monotonic() - begun)
        return DONE

    return run_job(body, "interrupted; the same command resumes where a greedy selection stopped")


def _shown(bar: ProgressBar) -> Progress:
    def told(picked: int, total: int, radius: float) -> None:
        bar.update(picked, f"radius {radius:.4g}", total)

    return told


def _greedy(settings: CoresetSettings, rows: Rows, size: int, out: Path, bar: ProgressBar) -> Selection:
    if size == len(rows):
        return Selection(np.arange(size), np.empty(0), 0.0)
    partial = _Partial(out.with_name(out.name + ".partial.npz"), _identity(settings, rows))
    if settings.workers == 1:
        before = partial.read()
        alone = GreedyKCenter.from_state(rows, before) if before else GreedyKCenter(rows, settings.start)
        return _extended(alone, size, partial, _shown(bar))
    # Ray takes seconds to import and start: what is wrong with the file or the flags is told before.
    from subband.compute.cluster import connect
    from subband.compute.kcenter import DistributedKCenter

    where, why = connect()
    bar.say(f"ray: {where} ({why})")
    openers = [
        functools.partial(_open_part, settings.features.resolve(), settings.tensor, first, stop)
        for first, stop in shard_edges(len(rows), min(settings.workers, len(rows)))
    ]
    with DistributedKCenter(openers, settings.start, partial.read()) as greedy:
        return _extended(greedy, size, partial, _shown(bar))


def _extended(greedy: FarthestFirst, size: int, partial: _Partial, progress: Progress) -> Selection:
    try:
        picks = greedy.extend(size, partial.saving(greedy, progress))
    except KeyboardInterrupt:
        partial.write(greedy)
        raise
    partial.remove()
    return Selection(picks, greedy.radii[:size], float(greedy.radii[size - 1]))


def _merged(settings: CoresetSettings, rows: Rows, size: int, out: Path, bar: ProgressBar) -> Selection:
    found = merged_selection(rows, size, settings.workers, settings.per_shard, settings.start, _shown(bar))
    note = (
        f"at most {found.bound:.6g} was sure before it was measured; "
        f"the best {size} rows could reach {found.radius / found.factor:.6g} at least"
    )
    return Selection(found.picks, np.empty(0), found.radius, note)


def _random(settings: CoresetSettings, rows: Rows, size: int, out: Path, bar: ProgressBar) -> Selection:
    picks = random_order(len(rows), settings.seed)[:size]
    return Selection(picks, np.empty(0), float(distances_to(rows, picks).max()))


_SELECTIONS: dict[str, Callable[[CoresetSettings, Rows, int, Path, ProgressBar], Selection]] = {
    "greedy": _greedy,
    "merged": _merged,
    "random": _random,
}


def _open_part(path: Path, tensor: str | None, first: int, stop: int) -> Rows:
    return open_features(path, tensor).part(first, stop)


def _identity(settings: CoresetSettings, rows: Rows) -> str:
    """Of the selection that an interrupted run was making: its rows and its start, not its size."""
    about = settings.features.stat()
    text = f"{settings.features.resolve()} {about.st_size} {about.st_mtime_ns} {settings.tensor} {rows.shape} {settings.start}"
    return hashlib.sha256(text.encode()).hexdigest()


class _Partial:
    """Picks of an interrupted run, kept beside the folder that it was to make."""

    def __init__(self, path: Path, identity: str) -> None:
        self._path = path
        self._identity = identity
        self._last = time.monotonic()

    def read(self) -> dict[str, np.ndarray] | None:
        """Picks and radii of the same selection, or None."""
        try:
            with np.load(self._path, allow_pickle=False) as stored:
                if str(stored["identity"]) == self._identity and len(stored["picks"]):
                    return {"picks": stored["picks"], "radii": stored["radii"]}
        except (OSError, ValueError, KeyError, EOFError):
            return None
        return None

    def write(self, greedy: FarthestFirst) -> None:
        """Keep the picks so far."""
        content = io.BytesIO()
        np.savez(content, identity=np.array(self._identity), picks=greedy.picks, radii=greedy.radii)
        write_atomically(self._path, content.getvalue())

    def remove(self) -> None:
        """The selection is complete."""
        self._path.unlink(missing_ok=True)

    def saving(self, greedy: FarthestFirst, progress: Progress) -> Progress:
        """The progress callback, which also saves now and then."""

        def told(picked: int, total: int, radius: float) -> None:
            progress(picked, total, radius)
            if time.monotonic() - self._last > _SAVE_EVERY_SECONDS:
                self.write(greedy)
                self._last = time.monotonic()

        return told


def _report(shell: Shell, found: Selection, out: Path, seconds: float) -> None:
    lines: list[tuple[str, Any]] = [("rows kept", len(found.picks)), ("covering radius", f"{found.radius:.6g}")]
    if found.note:
        lines.append(("bounds", found.note))
    lines += [("seconds", f"{seconds:.1f}"), ("written to", out)]
    for name, value in lines:
        shell.print(f"  {name:<16} {value}")
