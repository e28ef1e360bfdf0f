"""The end of a sweep on the terminal: ranked table, what chose, the champion, and the next commands to type."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from subband.home import home
from subband.metrics import in_words
from subband.report import ranking_table, short_name
from subband.tracking import resolve_tracking, ui_command
from subband.tuning.result import SweepResult


def print_summary(console: Console, result: SweepResult) -> None:
    """Print what the sweep found and what to do next."""
    settings = result.plan.settings
    if result.records:
        console.print(_ranking(console, result))
    if result.front:
        console.print(
            f"Pareto front over {', '.join(in_words(name) for name in settings.objective)}: {len(result.front)} trials; "
            f"{settings.objective[0]} chose the champion"
        )
    for note in sorted({note for record in result.records for note in record.notes})[:8]:
        console.print(f"note: {note}", markup=False)
    if result.champions and result.chosen is not None:
        console.print(
            f"[bold]champion[/]: {escape(short_name(result.chosen.params, result.chosen.searched))}, "
            + ("as it was trained" if result.plan.trained else "refitted on all good pictures")
        )
        console.print(_champions(result))
    for problem in result.problems:
        console.print(f"[bold red]problem:[/] {escape(problem)}")
    if result.interrupted:
        console.print(
            f"interrupted after {len(result.records)} trials; nothing is lost. Continue with: --resume {result.plan.folder.name}"
        )
        return
    console.print(f"figures and saved detectors: {result.plan.folder}", markup=False)
    target = resolve_tracking(settings.tracking_uri, home())
    compare = ui_command(target)
    console.print("[bold]next[/]:")
    console.print(f"  {compare or f'open {target.uri}'}", soft_wrap=True, markup=False)
    if result.comparison_url:
        console.print(f"     then open {result.comparison_url}", soft_wrap=True, markup=False, style="dim")
    if result.versions:
        name = next(iter(result.versions.values()))[0]
        console.print(
            f"  make serve   # then: curl --data-binary @picture.png http://127.0.0.1:8000/v1/models/{name}/predict",
            markup=False,
        )


def _ranking(console: Console, result: SweepResult) -> Table:
    settings = result.plan.settings
    return ranking_table(
        result.records,
        settings.objective,
        result.plan.selection,
        top=settings.top,
        chosen=result.chosen,
        compact=console.width < 110,
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
