"""The body of the training job for a method without training: flags in, fits on N workers, table out."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from subband.errors import SubbandError
from subband.training.fit_settings import FitSettings
from subband.training.flags import parse_flags
from subband.tuning.terminal import begin_job

COLUMNS = {
    "category": "category",
    "training_pictures": "pictures",
    "pictures_seconds": "s, pictures",
    "fit_seconds": "s, fit and check",
    "threshold": "threshold",
    "false_alarms": "false alarms",
    "detected": "detected",
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "parity": "parity",
}
"""Columns of the table, by the name of the number."""


def fit_job(method: str, description: str, argv: Sequence[str]) -> int:
    """Fit one method to one or all categories of a dataset, for a person at a terminal.

    Args:
        method: name of a method without training.
        description: the job's docstring, shown by ``--help``.
        argv: arguments behind the method's name.

    Returns:
        Exit status: 0 done, 1 failed in whole or in part, 130 interrupted.
    """
    # A log file has no width; the table needs more than rich's 80 columns.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160
    console = Console(highlight=False, soft_wrap=True, width=width)
    begin_job(console)
    try:
        settings, values = parse_flags(method, FitSettings, description, argv)
        # Ray and MLflow take seconds to import: a wrong flag is told before.
        from subband.training.fit_run import make_fit_plan, run_fits

        plan = make_fit_plan(method, values, settings)
        names = ", ".join(category.name for category in plan.categories)
        console.print(f"[bold]{escape(plan.name)}[/]: {method} on {escape(plan.dataset.name)} ({escape(names)})")
        result = run_fits(plan, lambda line: console.print(f"  {line}", style="dim", markup=False))
    except SubbandError as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}")
        return 1
    except KeyboardInterrupt:
        console.print(
            "interrupted; what was computed is in the store, and the same command goes on from there", markup=False
        )
        return 130
    console.print(_table(result.rows))
    for problem in result.problems:
        console.print(f"[bold red]problem:[/] {escape(problem)}")
    console.print(
        f"detectors: {plan.folder / 'champions'} (loaded afresh, each gave the evaluated scores)", markup=False
    )
    console.print(f"table and figures: {plan.folder / 'report'}", markup=False)
    if result.run_id:
        console.print(f"MLflow: run {result.run_id} in {plan.target.uri}", markup=False)
    if result.registered:
        console.print(f"registered: {', '.join(result.registered)}; answers over HTTP after: make serve", markup=False)
    return 1 if result.problems else 0


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=SIMPLE, show_edge=False, pad_edge=False)
    shown = {name: title for name, title in COLUMNS.items() if any(row.get(name) is not None for row in rows)}
    for name, title in shown.items():
        table.add_column(title, justify="left" if name == "category" else "right")
    for row in rows:
        table.add_row(*(_cell(name, row.get(name)) for name in shown))
    return table


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name.endswith("_seconds"):
        return f"{value:.1f}"
    if name == "parity":
        return f"{value:.0e}"
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))
