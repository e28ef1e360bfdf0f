"""One analysis in progress: work spread over categories, and findings that become visible all at once."""

from __future__ import annotations

import csv
import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

from matplotlib.figure import Figure

from subband.errors import ParamsError, SubbandError

Item = TypeVar("Item")
Result = TypeVar("Result")
REPORT_NAME = "report.json"
FIGURE_DPI = 150


class Spread(Protocol):
    """Runs a generator function on every item, perhaps at the same time and on other machines."""

    def __call__(
        self, function: Callable[[Any], Iterator[Any]], items: Sequence[Any], *, alone: bool = False
    ) -> Iterator[tuple[Any, Any]]:
        """Yield (item, result) as results come; an item that fails gives its SubbandError as its last result.

        Args:
            function: called with one item in a worker.
            items: what to work on.
            alone: one item at a time, with the whole machine, for measurements of time.
        """
        ...


def in_turn(
    function: Callable[[Any], Iterator[Any]], items: Sequence[Any], *, alone: bool = False
) -> Iterator[tuple[Any, Any]]:
    """The simplest `Spread`: item after item, in this process."""
    for item in items:
        try:
            yield from ((item, result) for result in function(item))
        except SubbandError as error:
            yield item, error


@dataclass(frozen=True)
class Point:
    """A number for MLflow: its name, value and place on the axis over which it is drawn there."""

    name: str
    value: float
    step: int = 0


@dataclass
class Findings:
    """What an analysis found.

    Attributes:
        params: what it was asked.
        points: numbers.
        tags: what a reader must know.
        notes: remarks of workers, each once.
        problems: what failed; the rest stands.
        shown: tables for the person, by title.
    """

    params: dict[str, Any] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    shown: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


class Analysis:
    """Collects tables, figures and numbers; files lie in a hidden folder until `publish` gives it its name.

    Use as a context manager: what is not published when the block ends is removed.

    Args:
        folder: the results' folder, which must not exist.
        spread: how work is spread.
        say: called with one line for the person.

    Raises:
        ParamsError: the folder exists, or none can be made there.
    """

    def __init__(self, folder: Path, spread: Spread = in_turn, say: Callable[[str], None] = lambda line: None) -> None:
        self.folder = folder
        self.say = say
        self.findings = Findings()
        self._spread = spread
        if folder.exists():
            raise ParamsError(f"{folder} exists already; give another --out or --name")
        self._partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
        try:
            self._partial.mkdir(parents=True)
        except OSError as error:
            raise ParamsError(f"no results can be kept in {folder}: {error.strerror}; give another --out") from error

    def spread(
        self, function: Callable[[Item], Iterator[Result]], items: Sequence[Item], *, alone: bool = False
    ) -> Iterator[tuple[Item, Result]]:
        """Run a generator function on every item and yield what it yields; a failed item is a problem, and the rest goes on.

        Raises:
            SubbandError: every item failed; the first one's error.
        """
        failures: list[SubbandError] = []
        for item, result in self._spread(function, items, alone=alone):
            if isinstance(result, SubbandError):
                failures.append(result)
                if len(failures) == len(items):
                    raise failures[0]
                self.problem(f"{item}: {result}")
            else:
                yield item, result

    def note(self, *lines: str) -> None:
        """Keep remarks for the reader, each once."""
        self.findings.notes += [line for line in dict.fromkeys(lines) if line not in self.findings.notes]

    def problem(self, line: str) -> None:
        """Say what failed; the job goes on and ends with status 1."""
        self.findings.problems.append(line)
        self.say(f"failed: {line}")

    def number(self, name: str, value: float | None, step: int = 0) -> None:
        """Keep one number for MLflow; an undefined one is left out."""
        if value is not None and value == value:
            self.findings.points.append(Point(name, float(value), step))

    def path(self, name: str) -> Path:
        """Where a file of the results is written; folders above it are made."""
        path = self._partial / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def table(self, name: str, rows: Iterable[Mapping[str, Any]], title: str | None = None) -> None:
        """Write ``NAME.csv``; the first row names the columns, and an empty row stays empty.

        Args:
            name: of the file, without suffix.
            rows: one mapping a row.
            title: show the table to the person too, under this title.
        """
        kept = [dict(row) for row in rows]
        with self.path(f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            columns = list(kept[0]) if kept else []
            writer.writerow(columns)
            writer.writerows([row.get(column, "") for column in columns] for row in kept)
        if title is not None:
            self.findings.shown[title] = [row for row in kept if row]

    def figure(self, name: str, figure: Figure, dpi: int = FIGURE_DPI) -> None:
        """Write ``NAME.png``."""
        figure.savefig(self.path(f"{name}.png"), dpi=dpi)

    def publish(self, report: Mapping[str, Any]) -> list[Path]:
        """Write ``report.json`` and give the folder its name.

        Args:
            report: what `subband.tracking.log_report` needs.

        Returns:
            The files, sorted.

        Raises:
            ParamsError: another process has made the folder meanwhile.
        """
        self.path(REPORT_NAME).write_text(json.dumps(report, indent=1), encoding="utf-8")
        try:
            self._partial.rename(self.folder)
        except OSError as error:
            raise ParamsError(
                f"{self.folder} has been made by another process; run again with another --out"
            ) from error
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def __enter__(self) -> Analysis:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)
