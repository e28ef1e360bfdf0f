"""The body of every analysis job: flags in, work spread over Ray, tables and figures in a folder and in MLflow."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from subband.analysis.running import Analysis
from subband.analysis.settings import AnalysisSettings
from subband.data import fingerprint_dataset
from subband.data.checks import data_decisions
from subband.errors import SubbandError
from subband.home import home
from subband.tracking import DatasetInfo, ReportFile, log_report, resolve_tracking, ui_command
from subband.tuning.analysis_flags import parse_settings
from subband.tuning.terminal import interrupt, log_to

Settings = TypeVar("Settings", bound=AnalysisSettings)
SHOWN_ROWS = 24


def analysis_job(
    name: str,
    settings_type: type[Settings],
    run: Callable[[Analysis, Settings], None],
    description: str,
    argv: Sequence[str] | None = None,
    positional: Sequence[str] = (),
    method: str | None = None,
) -> int:
    """Run one analysis for a person at a terminal.

    Args:
        name: of the analysis, for folders and MLflow.
        settings_type: what may be set; its fields are the flags.
        run: the analysis.
        description: the job's docstring, shown by ``--help``.
        argv: arguments; by default those of the process.
        positional: names of the settings that are written without their flag.
        method: for an analysis of one method's params, whose flags are the job's too: the method if none is named.

    Returns:
        Exit status: 0 done, 1 failed in whole or in part, 130 interrupted (nothing is kept).
    """
    # A log file has no width; tables with the detectors' names need more than rich's 80 columns.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160
    console = Console(highlight=False, soft_wrap=True, width=width)
    with _job_process(console):
        try:
            settings = parse_settings(settings_type, description, argv, positional, method)
            return _run(name, settings, run, console)
        except SubbandError as error:
            console.print(f"[bold red]error:[/] {escape(str(error))}")
            return 1
        except KeyboardInterrupt:
            console.print(
                "interrupted; nothing of this analysis is kept, but the stages that it computed are", markup=False
            )
            return 130


@contextlib.contextmanager
def _job_process(console: Console) -> Iterator[None]:
    """What the process of a job sets for itself, and leaves as it was for a caller that lives on."""
    log_to(console)
    before = signal.signal(signal.SIGTERM, interrupt)  # `ray job stop` and cluster managers ask this way
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(name: str, settings: Settings, run: Callable[[Analysis, Settings], None], console: Console) -> int:
    def say(line: str) -> None:
        console.print(f"  {line}", style="dim", markup=False)

    target = resolve_tracking(settings.tracking_uri, home())
    settings.source().store()  # one that cannot be used is told now, not by every worker
    dataset = settings.dataset()
    run_name = settings.name or f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
    folder = (settings.out or home() / "analysis" / run_name).expanduser().absolute()

    def spread(function: Any, items: Sequence[Any], *, alone: bool = False) -> Iterator[tuple[Any, Any]]:
        from subband.tuning.tasks import spread_over_ray  # Ray takes seconds to import: what is wrong is told before

        yield from spread_over_ray(function, items, alone=alone, workers=settings.workers, say=say_once)

    say_once = functools.lru_cache(maxsize=None)(say)
    with Analysis(folder, spread, say) as analysis:
        console.print(f"[bold]{escape(run_name)}[/]: {escape(dataset.name)} ({escape(', '.join(dataset.categories))})")
        for _, note, reason in data_decisions(dataset, settings.check):
            console.print(f"  {note} ({reason})", style="dim", markup=False)
            analysis.note(note)
        run(analysis, settings)
        found = analysis.findings
        report = ReportFile(
            experiment=settings.experiment or f"analysis/{dataset.name}",
            run_name=run_name,
            dataset=DatasetInfo(
                name=dataset.name,
                digest=fingerprint_dataset(dataset),
                source=dataset.uri,
                categories=dataset.categories,
            ),
            params={"analysis": name, **_given(settings), **found.params},
            points=[(point.name, point.value, point.step) for point in found.points],
            tags={
                "selection": "none: all labelled test pictures report, nothing is chosen",
                "notes": "\n".join(found.notes) or "none",
                "problems": "\n".join(found.problems) or "none",
                **found.tags,
            },
            tracking_uri=target.uri,
            artifact_root=target.artifact_root,
        )
        files = analysis.publish(report.model_dump(mode="json"))
    for title, rows in found.shown.items():
        console.print(_table(title, rows))
    for note in found.notes[:8]:
        console.print(f"note: {note}", markup=False)
    for problem in found.problems:
        console.print(f"[bold red]problem:[/] {escape(problem)}")
    console.print(f"{len(files)} files: {folder}", markup=False)
    return 1 if not _logged(console, folder) or found.problems else 0


def _given(settings: AnalysisSettings) -> dict[str, Any]:
    skipped = {"name", "out", "experiment", "tracking_uri"}
    return {
        key: value
        for key, value in settings.model_dump(mode="json").items()
        if value is not None and key not in skipped
    }


def _logged(console: Console, folder: Path) -> bool:
    try:
        logged = log_report(folder)
    except SubbandError as error:
        console.print(f"[bold red]problem:[/] {escape(str(error))}")
        console.print(
            f"the results are safe; log them later with: python -m subband.tracking push {folder}", markup=False
        )
        return False
    console.print(f"MLflow: run {logged.run_id} in {logged.target.uri}", markup=False)
    if command := ui_command(logged.target):
        console.print(f"  {command}", soft_wrap=True, markup=False)
    return True


def _table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=escape(title), title_justify="left", box=SIMPLE, show_edge=False, pad_edge=False)
    for index, column in enumerate(rows[0] if rows else ()):
        table.add_column(escape(str(column)), justify="left" if index == 0 else "right", overflow="fold")
    for row in rows[:SHOWN_ROWS]:
        table.add_row(*(escape(str(row.get(column, ""))) for column in rows[0]))
    if len(rows) > SHOWN_ROWS:
        table.caption = f"{len(rows) - SHOWN_ROWS} more rows in the CSV file"
    return table
