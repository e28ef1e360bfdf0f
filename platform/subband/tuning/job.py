"""The body of every sweep job: flags in, plan, sweep, table out."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from subband.errors import SubbandError
from subband.home import home
from subband.tuning.flags import parse
from subband.tuning.space import Space
from subband.tuning.terminal import begin_job


def sweep_job(space: Space, description: str, argv: list[str] | None = None) -> int:
    """Run one sweep for a person at a terminal.

    Args:
        space: what is explored.
        description: the job's docstring, shown by ``--help``.
        argv: arguments; by default those of the process.

    Returns:
        Exit status: 0 done, 1 failed, 130 interrupted (and resumable).
    """
    console = Console(highlight=False, soft_wrap=True)
    begin_job(console)
    try:
        settings, axes = parse(space, description, argv)
        # Ray, Optuna and MLflow take seconds to import: a wrong flag is told before.
        from subband.tuning.plan import make_plan
        from subband.tuning.progress import Progress
        from subband.tuning.summary import print_summary
        from subband.tuning.sweep import run_sweep

        plan = make_plan(space, axes, settings)
        console.print(
            f"[bold]{plan.folder.name}[/]: {plan.method.name} on {plan.dataset.name} "
            + escape(f"({', '.join(plan.dataset.categories)})")
        )
        with Progress(console, plan) as progress:
            result = run_sweep(plan, progress.trial, progress.say)
        print_summary(console, result)
    except SubbandError as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}")
        return 1
    except KeyboardInterrupt:
        console.print(
            f"interrupted; finished trials are safe in {home() / 'runs'}; continue with --resume last", markup=False
        )
        return 130
    if result.interrupted:
        return 130
    return 0 if result.chosen is not None and not result.problems else 1
