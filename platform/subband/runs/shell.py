"""The shell of every job: errors, interruptions, exit codes and the log, for a person at a terminal or a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.table import Table

from subband.errors import SubbandError

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit statuses: done; failed in whole or in part; flags that cannot be parsed; stopped by Ctrl-C or SIGTERM."""


class Shell:
    """One job's terminal.

    Attributes:
        console: where it writes.
        if_failed: printed after an error: what is kept, and what to type next.
        if_interrupted: printed after Ctrl-C or SIGTERM.
    """

    def __init__(self, if_interrupted: str) -> None:
        # A log file has no width; tables need more than rich's 80 columns.
        width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160
        self.console = Console(highlight=False, soft_wrap=True, width=width)
        self.if_failed = ""
        self.if_interrupted = if_interrupted

    def say(self, line: str) -> None:
        """Print one line of progress."""
        self.console.print(f"  {line}", style="dim", markup=False)

    def print(self, line: str) -> None:
        """Print one line of the result."""
        self.console.print(line, markup=False)

    def title(self, name: str, rest: str) -> None:
        """Print what runs."""
        self.console.print(f"[bold]{escape(name)}[/]: {escape(rest)}")

    def error(self, text: object) -> None:
        """Print what ended the job."""
        self.console.print(f"[bold red]error:[/] {escape(str(text))}")

    def problem(self, text: object) -> None:
        """Print what failed while the rest stands."""
        self.console.print(f"[bold red]problem:[/] {escape(str(text))}")


def run_job(body: Callable[[Shell], int], if_interrupted: str = "interrupted; nothing was kept") -> int:
    """Run the body of a job; the process gets its signal handlers and warning filters back.

    Args:
        body: the job; it may set the shell's messages as it proceeds.
        if_interrupted: printed after Ctrl-C or SIGTERM, until the body says otherwise.

    Returns:
        The body's exit status; `FAILED` after a SubbandError, which is printed, and `INTERRUPTED` after Ctrl-C or SIGTERM.

    Raises:
        SystemExit: after ``--help`` (0), or for flags that cannot be parsed (2).
    """
    shell = Shell(if_interrupted)
    with _process_of(shell.console):
        try:
            return body(shell)
        except SubbandError as error:
            shell.error(error)
            if shell.if_failed:
                shell.print(shell.if_failed)
            return FAILED
        except KeyboardInterrupt:
            shell.print(shell.if_interrupted)
            return INTERRUPTED


@contextlib.contextmanager
def _process_of(console: Console) -> Iterator[None]:
    """Logging, silence of libraries, and SIGTERM as an interruption; undone for a caller that lives on."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=console, show_time=False, show_path=False)],
    )

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    # `ray job stop` and cluster managers ask this way; `connect` keeps the handler.
    before = signal.signal(signal.SIGTERM, interrupt) if main else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


def serve_command() -> str:
    """What to type to serve: the console command, where this process is one, else the Makefile's target."""
    return "subband serve" if Path(sys.argv[0]).stem == "subband" else "make serve"


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the block is done: what belongs together is done whole or not at all.

    Only in the main thread, in which alone Python runs signal handlers; elsewhere nothing needs to be held back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    before = {
        number: handler
        for number in (signal.SIGINT, signal.SIGTERM)
        if callable(handler := signal.getsignal(number))  # one that is ignored, or not Python's, stays as it is
    }
    for number in before:
        signal.signal(number, lambda *told: came.append(told))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for came_number, frame in came[:1]:
            before[signal.Signals(came_number)](came_number, frame)


def plain_table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[Any]], most: int = 24) -> Table:
    """A table of texts: the first column left, the others right; a caption counts the rows beyond `most`."""
    table = Table(
        title=escape(title) if title else None, title_justify="left", box=SIMPLE, show_edge=False, pad_edge=False
    )
    for index, column in enumerate(columns):
        table.add_column(escape(column), justify="left" if index == 0 else "right", overflow="fold")
    for row in rows[:most]:
        table.add_row(*(escape(str(cell)) for cell in row))
    if len(rows) > most:
        table.caption = f"{len(rows) - most} more rows in the CSV file"
    return table
