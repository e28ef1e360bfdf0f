"""The console command ``subband``: every job by its name, with the same flags as the files in jobs/.

subband sweep wepadim --data folder:/data/bottles
subband train wpformer --data pairs:/data/cracks
subband evaluate wepadim --data folder:/data/bottles
subband predict models:/wpformer-cracks@champion --data pairs:/data/cracks
subband check folder:/data/bottles
subband serve
subband ui
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from subband.errors import unknown_name
from subband.runs.shell import DONE, WRONG_USAGE, Shell, run_job

Arguments = Sequence[str]


def _sweep(argv: Arguments) -> int:
    """Search a method's params, refit the winner, and register it: subband sweep METHOD [flags]."""
    from subband.methods import space_of
    from subband.tuning.job import sweep_job

    if not argv or argv[0].startswith("-"):
        return _methods("sweep", argv)
    return run_job(lambda shell: sweep_job(space_of(argv[0]), _sweep.__doc__ or "", argv[1:]))


def _train(argv: Arguments) -> int:
    """Train or fit one method: subband train METHOD [flags]."""
    from subband.training.job import training_job

    return training_job(_train.__doc__ or "", argv)


def _evaluate(argv: Arguments) -> int:
    """Compare values of a method's params on labelled images: subband evaluate METHOD [flags]."""
    from subband.analysis.job import analysis_job
    from subband.analysis.value_table import ValueTableSettings, run
    from subband.methods.registry import FIRST

    return analysis_job("evaluate", ValueTableSettings, run, _evaluate.__doc__ or "", argv, method=FIRST)


def _predict(argv: Arguments) -> int:
    """Write a segmenter's maps: subband predict MODEL [flags]."""
    from subband.analysis.job import analysis_job
    from subband.analysis.prediction import PredictionSettings, run

    return analysis_job("predict", PredictionSettings, run, _predict.__doc__ or "", argv, positional=("model",))


def _check(argv: Arguments) -> int:
    """Say what a dataset holds and what is wrong with it: subband check URI [flags]."""
    from subband.analysis.data_check import data_check_job
    from subband.methods.registry import FIRST

    return data_check_job(_check.__doc__ or "", FIRST, argv)


def _serve(argv: Arguments) -> int:
    """Serve champions and saved models over HTTP."""
    from subband.serving.job import serve_job

    return serve_job(_serve.__doc__ or "", argv)


def _ui(argv: Arguments) -> int:
    """Open MLflow's comparison page on this machine's results; flags are those of mlflow ui."""
    from subband.home import home
    from subband.tracking import resolve_tracking, ui_command

    command = ui_command(resolve_tracking(None, home()))
    if command is None:
        sys.stdout.write("results are on the server that MLFLOW_TRACKING_URI names: open it in a browser\n")
        return DONE
    return subprocess.call([*shlex.split(command), *argv])


COMMANDS: Mapping[str, Callable[[Arguments], int]] = {
    "sweep": _sweep,
    "train": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "check": _check,
    "serve": _serve,
    "ui": _ui,
}


def main(argv: Arguments | None = None) -> int:
    """Run one command.

    Returns:
        Its exit status; 2 where none is named or there is none of that name.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    if given and given[0] in COMMANDS:
        return COMMANDS[given[0]](given[1:])
    asked = bool(given) and given[0] in ("-h", "--help")

    def usage(shell: Shell) -> int:
        if given and not asked:
            shell.error(unknown_name("command", given[0], COMMANDS))
        shell.print("usage: subband COMMAND ...; the flags of one: subband COMMAND --help")
        for name, command in COMMANDS.items():
            shell.print(f"  {name:<9} {command.__doc__}")
        return DONE if asked else WRONG_USAGE

    return run_job(usage)


def _methods(command: str, argv: Arguments) -> int:
    from subband.methods import list_methods

    def usage(shell: Shell) -> int:
        shell.print(f"usage: subband {command} METHOD ...; the flags of one: subband {command} METHOD --help")
        shell.print(f"methods: {', '.join(list_methods())}")
        return DONE if argv and argv[0] in ("-h", "--help") else WRONG_USAGE

    return run_job(usage)
