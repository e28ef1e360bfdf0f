"""The body of every sweep job: flags in, plan, sweep, table out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from subband.home import home
from subband.methods import get_method
from subband.runs.flags import ParamFlags, parse_flags
from subband.runs.progress import ProgressBar
from subband.runs.shell import DONE, FAILED, INTERRUPTED, Shell, run_job
from subband.spaces import Space
from subband.tuning.lanes import lane_of
from subband.tuning.settings import SweepSettings, default_settings


def sweep_job(space: Space, description: str, argv: Sequence[str] | None = None) -> int:
    """Run one sweep for a person at a terminal.

    Args:
        space: what is explored.
        description: the job's docstring, shown by ``--help``.
        argv: arguments; by default those of the process.

    Returns:
        Exit status: 0 done, 1 failed, 2 wrong flags, 130 interrupted (and resumable).
    """

    def body(shell: Shell) -> int:
        settings, axes = parse_sweep(space, description, argv)
        # Ray, Optuna and MLflow take seconds to import: a wrong flag is told before.
        from subband.tuning.plan import make_plan
        from subband.tuning.summary import SweepProgress, print_summary
        from subband.tuning.sweep import run_sweep

        plan = make_plan(space, axes, settings)
        where = f"{plan.method.name} on {plan.dataset.name} ({', '.join(plan.dataset.categories)})"
        shell.title(plan.folder.name, where)
        with ProgressBar(shell.console, "trials") as bar:
            result = run_sweep(plan, SweepProgress(bar, plan.settings.objective[0]), bar.say)
        print_summary(shell, result)
        if result.interrupted:
            return INTERRUPTED
        return DONE if result.chosen is not None and not result.problems else FAILED

    kept = f"interrupted; finished trials are safe in {home() / 'runs'}; continue with --resume last"
    return run_job(body, kept)


def parse_sweep(
    space: Space, description: str, argv: Sequence[str] | None = None
) -> tuple[SweepSettings, dict[str, tuple[Any, ...]]]:
    """Settings, and by param name the values given: one fixes a param, several are searched.

    Raises:
        ParamsError: as of `parse_flags`. The params' ranges are checked by `make_plan`, which knows what they are combined with.
    """
    lane = lane_of(space.method)
    presets = "\n".join(f"  {name}: {preset.about}" for name, preset in space.presets.items())
    defaults = default_settings(space.method)
    settings, axes = parse_flags(
        SweepSettings,
        f"{description}\n\nSearched by default: {space.about}.\n\nPresets:\n{presets}",
        argv,
        params=ParamFlags(
            space.method, get_method(space.method).params_type, True, ": one value fixes a param, several are searched"
        ),
        defaults={"data": defaults.data, "objective": defaults.objective},
        hidden=lane.hidden,
        kinds=lane.kinds,
        more_help=lane.more_help,
    )
    return settings, {name: tuple(values) for name, values in axes.items()}
