"""The one progress bar: it moves in a terminal, and writes a line now and then to a log file."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LOG_EVERY_SECONDS = 10.0


class ProgressBar:
    """What is done, of how much, and the time that is left; used as a context manager.

    Args:
        console: where to write.
        unit: what is counted, in the plural ("trials").
        total: how many there will be; None while that is unknown.
        log_every: seconds between two lines where there is no terminal; None for none.
    """

    def __init__(
        self, console: Console, unit: str, total: int | None = None, log_every: float | None = LOG_EVERY_SECONDS
    ) -> None:
        self.console = console
        self._unit, self._total, self._log_every = unit, total, log_every
        self._last = time.monotonic()
        self._bar = Progress(
            TextColumn(f"[bold]{unit}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """Print one line above the bar."""
        self.console.print(f"  {line}", style="dim", markup=False)

    def update(self, done: int, text: str = "", total: int | None = None) -> None:
        """Move the bar.

        Args:
            done: how many are done.
            text: what to show beside it.
            total: how many there will be, where it was not known.
        """
        self._total = total or self._total
        self._bar.update(self._task, completed=done, total=self._total, description=text)
        if self.console.is_terminal or self._log_every is None or time.monotonic() - self._last <= self._log_every:
            return
        self._last = time.monotonic()
        whole = f"/{self._total}" if self._total else ""
        self.console.print(f"  {done}{whole} {self._unit}{f', {text}' if text else ''}", markup=False)
