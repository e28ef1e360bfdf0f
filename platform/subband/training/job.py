"""The body of the training job: the method's name decides whether its weights are trained or its stages fitted."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from subband.errors import SubbandError, unknown_name
from subband.methods import is_trained, list_methods


def training_job(description: str, argv: Sequence[str] | None = None) -> int:
    """Train or fit the method that is named first.

    Args:
        description: the job's docstring, shown by ``--help``.
        argv: arguments; by default those of the process.

    Returns:
        Exit status: 0 done, 1 failed, 2 no method named, 130 interrupted (and resumable).
    """
    given = list(sys.argv[1:] if argv is None else argv)
    console = Console(highlight=False, soft_wrap=True)
    if not given or given[0] in ("-h", "--help"):
        kinds = {name: "trained" if is_trained(name) else "fitted" for name in list_methods()}
        console.print(description, markup=False)
        console.print("Methods: " + ", ".join(f"{name} ({kind})" for name, kind in kinds.items()), markup=False)
        console.print("The flags of one: train.py METHOD --help", markup=False)
        return 0 if given else 2
    name, rest = given[0], given[1:]
    if name not in list_methods():
        console.print(f"[bold red]error:[/] {escape(unknown_name('method', name, list_methods()))}")
        return 2
    try:
        if is_trained(name):
            from subband.training.train_job import train_job

            return train_job(name, description, rest)
        from subband.training.fit_job import fit_job

        return fit_job(name, description, rest)
    except SubbandError as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}")
        return 1
