"""What every job's process sets for itself when a person, or a cluster, has started it."""

from __future__ import annotations

import logging
import signal
import warnings

from rich.console import Console
from rich.logging import RichHandler


def interrupt(*_: object) -> None:
    """Signal handler: ends the job as Ctrl-C does."""
    raise KeyboardInterrupt


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
