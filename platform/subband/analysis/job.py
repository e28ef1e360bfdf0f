"""The body of every analysis job: flags in, work spread over Ray, tables and figures in a folder and in MLflow."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from subband.analysis.results import Analysis
from subband.analysis.settings import AnalysisSettings
from subband.data import fingerprint_dataset
from subband.data.checks import data_decisions
from subband.errors import SubbandError
from subband.home import home
from subband.methods import get_method, list_staged_methods
from subband.runs.flags import ParamFlags, parse_flags
from subband.runs.folders import new_name
from subband.runs.shell import DONE, FAILED, Shell, plain_table, run_job
from subband.tracking import DatasetInfo, ReportFile, push, resolve_tracking, ui_command

Settings = TypeVar("Settings", bound=AnalysisSettings)


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
        method: for a settings type with the fields ``method`` and ``axes``: the first argument names the method (this one if it
            is left out), and its params are flags that take any number of values.

    Returns:
        Exit status: 0 done, 1 failed in whole or in part, 2 wrong flags, 130 interrupted (nothing is kept).
    """

    def body(shell: Shell) -> int:
        return _run(name, _settings(settings_type, description, argv, positional, method), run, shell)

    return run_job(body, "interrupted; nothing of this analysis is kept, but the stages that it computed are")


def _settings(
    settings_type: type[Settings],
    description: str,
    argv: Sequence[str] | None,
    positional: Sequence[str],
    method: str | None,
) -> Settings:
    if method is None:
        return parse_flags(settings_type, description, argv, positional=positional)[0]
    given = list(sys.argv[1:] if argv is None else argv)
    if given and not given[0].startswith("-"):
        method = given.pop(0)
    description += (
        f"\n\nMethods, named first: {', '.join(list_staged_methods())}. The flags below are those of {method}."
    )
    meaning = ": one value fixes a param, several values of one param are compared"
    flags = ParamFlags(method, get_method(method).params_type, True, meaning)
    hidden = ("method", "axes")
    settings, axes = parse_flags(settings_type, description, given, params=flags, hidden=hidden, positional=positional)
    return settings.model_copy(update={"method": method, "axes": axes})


def _run(name: str, settings: Settings, run: Callable[[Analysis, Settings], None], shell: Shell) -> int:
    target = resolve_tracking(settings.tracking_uri, home())
    settings.source().store()  # one that cannot be used is told now, not by every worker
    dataset = settings.dataset()
    run_name = settings.name or new_name(name)
    folder = (settings.out or home() / "analysis" / run_name).expanduser().absolute()

    def spread(function: Any, items: Sequence[Any], *, alone: bool = False) -> Iterator[tuple[Any, Any]]:
        from subband.compute.tasks import spread_over_ray  # Ray takes seconds to import: what is wrong is told before

        yield from spread_over_ray(function, items, alone=alone, workers=settings.workers, say=say_once)

    say_once = functools.lru_cache(maxsize=None)(shell.say)
    with Analysis(folder, spread, shell.say) as analysis:
        shell.title(run_name, f"{dataset.name} ({', '.join(dataset.categories)})")
        for _, note, reason in data_decisions(dataset, settings.check):
            shell.say(f"{note} ({reason})")
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
                "selection": "none: all labelled test images report, nothing is chosen",
                "notes": "\n".join(found.notes) or "none",
                "problems": "\n".join(found.problems) or "none",
                **found.tags,
            },
            tracking_uri=target.uri,
            artifact_root=target.artifact_root,
        )
        files = analysis.publish(report.model_dump(mode="json"))
    for title, rows in found.shown.items():
        columns = list(rows[0]) if rows else []
        cells = [[row.get(column, "") for column in columns] for row in rows]
        shell.console.print(plain_table(title, list(map(str, columns)), cells))
    for note in found.notes[:8]:
        shell.print(f"note: {note}")
    for problem in found.problems:
        shell.problem(problem)
    shell.print(f"{len(files)} files: {folder}")
    return FAILED if not _logged(shell, folder) or found.problems else DONE


def _given(settings: AnalysisSettings) -> dict[str, Any]:
    skipped = {"name", "out", "experiment", "tracking_uri"}
    return {
        key: value
        for key, value in settings.model_dump(mode="json").items()
        if value is not None and key not in skipped
    }


def _logged(shell: Shell, folder: Path) -> bool:
    try:
        logged = push(folder)
    except SubbandError as error:
        shell.problem(error)
        shell.print(f"the results are safe; log them later with: python -m subband.tracking push {folder}")
        return False
    shell.print(f"MLflow: run {logged.run_id} in {logged.target.uri}")
    if command := ui_command(logged.target):
        shell.print(f"  {command}")
    return True
