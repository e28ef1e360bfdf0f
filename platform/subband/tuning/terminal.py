"""What every job's process sets for itself when a person, or a cluster, has started it."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from types import FrameType

from rich.console import Console
from rich.logging import RichHandler


def interrupt(*_: object) -> None:
    """Signal handler: ends the job as Ctrl-C does."""
    raise KeyboardInterrupt


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Holds Ctrl-C and SIGTERM back until the block is done: what belongs together is done whole or not at all.

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


def log_to(console: Console) -> None:
    """Show warnings of the log on the console, as plain lines."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=console, show_time=False, show_path=False)],
    )


def begin_job(console: Console) -> None:
    """For a process that ends with its job: logging, silence of libraries, and SIGTERM as an interruption."""
    log_to(console)
    warnings.filterwarnings("ignore")
    signal.signal(signal.SIGTERM, interrupt)  # `ray job stop` and cluster managers ask this way; `connect` keeps it
