"""What a person sees of a sweep: the best so far; at the end the ranked table, the champion, and what to type next."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from subband.home import home
from subband.metrics import in_words
from subband.report import ranking_table
from subband.report.names import short_name
from subband.runs.progress import ProgressBar
from subband.runs.shell import Shell, serve_command
from subband.tracking import resolve_tracking, ui_command
from subband.trials import TrialRecord
from subband.trials.ranking import complete_with, value_of
from subband.tuning.result import SweepResult


class SweepProgress:
    """Finished trials and the best so far; called with every ended trial.

    Args:
        bar: shows it.
        objective: ranks the trials.
    """

    def __init__(self, bar: ProgressBar, objective: str) -> None:
        self._bar, self._objective = bar, objective
        self._best: TrialRecord | None = None
        self._failed = 0

    def __call__(self, record: TrialRecord, expected: int) -> None:
        """Take one ended trial into account; `expected` is 0 while the number of trials is unknown."""
        if record.status == "failed":
            self._failed += 1
            self._bar.say(f"a trial failed: {record.error}")
        known = [self._best] if self._best else []
        if ranked := complete_with([*known, record], self._objective):
            self._best = ranked[0]
        text = f"{self._failed} failed " if self._failed else ""
        if self._best is not None:
            shown = value_of(self._best, self._objective)
            text += f"best {self._objective} {shown:.4f} ({short_name(self._best.params, self._best.searched)})"
        self._bar.update(record.number + 1, text, expected or None)  # a resumed sweep continues to count


def print_summary(shell: Shell, result: SweepResult) -> None:
    """Print what the sweep found and what to do next."""
    console, settings = shell.console, result.plan.settings
    if result.records:
        console.print(_ranking(console.width, result))
    if result.front:
        console.print(
            f"Pareto front over {', '.join(in_words(name) for name in settings.objective)}: {len(result.front)} trials; "
            f"{settings.objective[0]} chose the champion"
        )
    for note in sorted({note for record in result.records for note in record.notes})[:8]:
        shell.print(f"note: {note}")
    if result.champions and result.chosen is not None:
        console.print(
            f"[bold]champion[/]: {escape(short_name(result.chosen.params, result.chosen.searched))}, "
            + ("as it was trained" if result.plan.trained else "refitted on all good images")
        )
        console.print(_champions(result))
    for problem in result.problems:
        shell.problem(problem)
    if result.interrupted:
        console.print(
            f"interrupted after {len(result.records)} trials; nothing is lost. Continue with: --resume {result.plan.folder.name}"
        )
        return
    shell.print(f"figures and saved detectors: {result.plan.folder}")
    target = resolve_tracking(settings.tracking_uri, home())
    compare = ui_command(target)
    console.print("[bold]next[/]:")
    shell.print(f"  {compare or f'open {target.uri}'}")
    if result.comparison_url:
        shell.say(f"   then open {result.comparison_url}")
    if result.versions:
        name = next(iter(result.versions.values()))[0]
        shell.print(
            f"  {serve_command()}   # then: curl --data-binary @image.png http://127.0.0.1:8000/v1/models/{name}/predict"
        )


def _ranking(width: int, result: SweepResult) -> Table:
    settings = result.plan.settings
    return ranking_table(
        result.records,
        settings.objective,
        result.plan.selection,
        top=settings.top,
        chosen=result.chosen,
        compact=width < 110,
    )


def _champions(result: SweepResult) -> Table:
    table = Table(box=SIMPLE, show_edge=False, pad_edge=False)
    longest = max((len(name) for name, _ in result.versions.values()), default=0)
    table.add_column("model", overflow="fold", min_width=max(28, longest))  # a name that is broken cannot be copied
    for heading in ("version", "threshold", "false alarms", "defects found", "parity"):
        table.add_column(heading, justify="right")
    for report in result.champions:
        name, version = result.versions.get(report.category, ("not registered", None))
        table.add_row(
            name if name != "not registered" else f"{report.category}: not registered",
            str(version) if version is not None else "later: push",
            "-" if report.threshold is None else f"{report.threshold:.4g}",
            _share(report.false_alarms),
            _share(report.detected),
            f"{report.parity:.0e}",
        )
    if rule := result.champions[0].rule:
        table.caption = f"threshold: {rule}"
        table.caption_justify = "left"
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
