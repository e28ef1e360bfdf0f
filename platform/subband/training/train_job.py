"""The body of the training job for a trained method: flags in, training, table out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from subband.errors import SubbandError
from subband.home import home
from subband.training.flags import parse_flags
from subband.training.settings import TrainSettings
from subband.tuning.terminal import begin_job


def train_job(method: str, description: str, argv: Sequence[str]) -> int:
    """Train one method for a person at a terminal.

    Args:
        method: name of a trained method.
        description: the job's docstring, shown by ``--help``.
        argv: arguments behind the method's name.

    Returns:
        Exit status: 0 done, 1 failed, 130 interrupted (and resumable).
    """
    console = Console(highlight=False, soft_wrap=True)
    begin_job(console)
    plan = None
    try:
        settings, values = parse_flags(method, TrainSettings, description, argv)
        # Ray and MLflow take seconds to import: a wrong flag is told before.
        from subband.training.plan import make_train_plan
        from subband.training.run import run_training

        plan = make_train_plan(method, values, settings)
        console.print(f"[bold]{plan.folder.name}[/]: {method} on {escape(plan.dataset.uri)}")
        with _Shown(console, plan.params.epochs, plan.method.chosen_by) as shown:
            result = run_training(plan, shown.hear, shown.say)
        _summary(console, result)
    except SubbandError as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}")
        if plan is not None and plan.folder.exists():
            console.print(f"epochs that were done are kept; continue with --resume {plan.folder.name}", markup=False)
        return 1
    except KeyboardInterrupt:
        where = f"continue with --resume {plan.folder.name}" if plan is not None else f"see {home() / 'trainings'}"
        console.print(f"interrupted; epochs that were done are safe; {where}", markup=False)
        return 130
    return 0 if result.model is not None and not result.problems else 1


class _Shown:
    """A line an epoch, and in a terminal a bar with the time that is left."""

    def __init__(self, console: Console, epochs: int, chosen_by: str) -> None:
        self._console = console
        self._epochs = epochs
        self._chosen_by = chosen_by
        self._started = time.monotonic()
        self._live = Progress(
            TextColumn("[bold]epochs"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._live.add_task("training", total=epochs)

    def __enter__(self) -> _Shown:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        self._console.print(f"  {line}", style="dim", markup=False)

    def hear(self, message: Mapping[str, Any]) -> None:
        if "restored" in message:
            self.say(f"goes on after epoch {message['restored']}, from its checkpoint")
            self._live.update(self._task, completed=message["restored"])
        if "testing" in message:
            self.say(f"evaluating the best weights on {message['testing']}")
        if "epoch" in message:
            metrics = message["metrics"]
            words = [f"epoch {message['epoch']}/{self._epochs}", f"loss {metrics['loss']:.4f}"]
            if self._chosen_by in metrics:
                words.append(
                    f"{self._chosen_by} {metrics[self._chosen_by]:.4f}" + (" (best)" if message["best"] else "")
                )
            words.append(f"lr {metrics['learning_rate']:.2e}")
            if "seconds" in metrics:
                words.append(f"{metrics['seconds']:.1f} s, {metrics['examples_per_second']:.1f} examples/s")
            self._console.print("  " + "  ".join(words), markup=False)
            self._live.update(self._task, completed=message["epoch"])


def _summary(console: Console, result: Any) -> None:
    if result.tests:
        names = list(dict.fromkeys(name for row in result.tests.values() for name in row))
        table = Table(box=SIMPLE, show_edge=False, pad_edge=False)
        table.add_column("best weights on test pictures")
        for tested in result.tests:
            table.add_column(tested, justify="right")
        for name in names:
            cells = (f"{row[name]:.4f}" if name in row else "-" for row in result.tests.values())
            table.add_row(name, *cells)
        console.print(table)
    if result.stop:
        console.print(f"stopped early: {result.stop}", markup=False)
    if result.best_epoch is not None:
        chosen_by = result.plan.method.chosen_by
        score = result.history[result.best_epoch - 1][chosen_by]
        console.print(
            f"kept: epoch {result.best_epoch} of {len(result.history)}, {chosen_by} {score:.4f} on the validation examples"
        )
    for note in result.plan.examples.notes:
        console.print(f"note: {note}", markup=False)
    for problem in result.problems:
        console.print(f"[bold red]problem:[/] {escape(problem)}")
    console.print(f"curves, figures and checkpoint: {result.plan.folder}", markup=False)
    if result.model is not None:
        console.print(f"model: {result.model} (loaded afresh it answers the same to {result.parity:.0e})", markup=False)
    if result.run_id:
        console.print(f"MLflow: run {result.run_id}", markup=False)
    if result.registered:
        console.print(f"registered: {result.registered}; answers over HTTP after: make serve", markup=False)
