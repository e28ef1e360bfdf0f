"""What a person sees while a sweep runs: one line that moves in a terminal, a line now and then in a log file."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from subband.report.records import complete_with, short_name, value_of
from subband.trials import TrialRecord
from subband.tuning.plan import SweepPlan

LOG_EVERY_SECONDS = 10.0


class Progress:
    """Shows finished trials, the best so far and the time that is left.

    Args:
        console: where to write.
        plan: the sweep.
    """

    def __init__(self, console: Console, plan: SweepPlan) -> None:
        self._console = console
        self._objective = plan.settings.objective[0]
        self._best: TrialRecord | None = None
        self._done = self._failed = 0
        self._last_line = time.monotonic()
        self._live = RichProgress(
            TextColumn("[bold]trials"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._live.add_task("starting", total=None)

    def __enter__(self) -> Progress:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """One line above the bar."""
        self._console.print(f"  {line}", style="dim", markup=False)

    def trial(self, record: TrialRecord, expected: int) -> None:
        """Take one ended trial into account."""
        self._done = record.number + 1  # a resumed sweep goes on counting
        if record.status == "failed":
            self._failed += 1
            self.say(f"a trial failed: {record.error}")
        known = [self._best] if self._best else []
        if ranked := complete_with([*known, record], self._objective):
            self._best = ranked[0]
        text = f"{self._failed} failed " if self._failed else ""
        if self._best is not None:
            shown = value_of(self._best, self._objective)
            text += f"best {self._objective} {shown:.4f} ({short_name(self._best.params, self._best.searched)})"
        self._live.update(self._task, completed=self._done, total=expected or None, description=text)
        if not self._console.is_terminal and time.monotonic() - self._last_line > LOG_EVERY_SECONDS:
            self._last_line = time.monotonic()
            self._console.print(f"  {self._done}{f'/{expected}' if expected else ''} trials, {text}", markup=False)
