"""The body of the training job: the method's name decides whether its weights are trained or its stages fitted."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from subband.errors import SubbandError, unknown_name
from subband.home import home
from subband.methods import is_trained, list_methods, trained_method
from subband.methods.registry import get_method
from subband.runs.flags import ParamFlags, parse_flags
from subband.runs.progress import ProgressBar
from subband.runs.shell import DONE, FAILED, WRONG_USAGE, Shell, plain_table, run_job, serve_command
from subband.training.settings import FitSettings, TrainSettings

COLUMNS = {
    "category": "category",
    "training_images": "images",
    "images_seconds": "s, images",
    "fit_seconds": "s, fit and check",
    "threshold": "threshold",
    "false_alarms": "false alarms",
    "detected": "detected",
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "parity": "parity",
}
"""Columns of the table of fits, by the name of the number."""


def training_job(description: str, argv: Sequence[str] | None = None) -> int:
    """Train or fit the method that is named first.

    Args:
        description: the job's docstring, shown by ``--help``.
        argv: arguments; by default those of the process.

    Returns:
        Exit status: 0 done, 1 failed in whole or in part, 2 no method named or wrong flags, 130 interrupted (and resumable).
    """
    given = list(sys.argv[1:] if argv is None else argv)

    def body(shell: Shell) -> int:
        if not given or given[0] in ("-h", "--help"):
            kinds = {name: "trained" if is_trained(name) else "fitted" for name in list_methods()}
            shell.print(description)
            shell.print("Methods: " + ", ".join(f"{name} ({kind})" for name, kind in kinds.items()))
            shell.print("The flags of one: train.py METHOD --help")
            return DONE if given else WRONG_USAGE
        name, rest = given[0], given[1:]
        if name not in list_methods():
            shell.error(unknown_name("method", name, list_methods()))
            return WRONG_USAGE
        return (_train if is_trained(name) else _fit)(shell, name, description, rest)

    return run_job(body)


def _train(shell: Shell, name: str, description: str, argv: Sequence[str]) -> int:
    shell.if_interrupted = f"interrupted; epochs that were done are safe; see {home() / 'trainings'}"
    method = trained_method(name)
    recipes = f"One of {', '.join(method.recipes)}."
    flags = ParamFlags(name, method.params_type)
    settings, values = parse_flags(TrainSettings, description, argv, params=flags, more_help={"recipe": recipes})
    # Ray and MLflow take seconds to import: a wrong flag is told before.
    from subband.training.plan import make_train_plan
    from subband.training.train import run_training

    plan = make_train_plan(name, values, settings)
    shell.title(plan.folder.name, f"{name} on {plan.dataset.uri}")
    resume = f"continue with --resume {plan.folder.name}"
    shell.if_interrupted = f"interrupted; epochs that were done are safe; {resume}"
    with ProgressBar(shell.console, "epochs", plan.params.epochs, log_every=None) as bar:
        try:
            result = run_training(plan, _watch(bar, plan.params.epochs, method.chosen_by), bar.say)
        except SubbandError:
            shell.if_failed = f"epochs that were done are kept; {resume}" if plan.folder.exists() else ""
            raise
    _train_summary(shell, result)
    return DONE if result.model is not None and not result.problems else FAILED


def _watch(bar: ProgressBar, epochs: int, chosen_by: str) -> Any:
    """A line an epoch."""

    def hear(message: Mapping[str, Any]) -> None:
        if "restored" in message:
            bar.say(f"resumed from the checkpoint of epoch {message['restored']}")
            bar.update(message["restored"])
        if "testing" in message:
            bar.say(f"evaluating the best weights on {message['testing']}")
        if "epoch" in message:
            metrics = message["metrics"]
            words = [f"epoch {message['epoch']}/{epochs}", f"loss {metrics['loss']:.4f}"]
            if chosen_by in metrics:
                words.append(f"{chosen_by} {metrics[chosen_by]:.4f}" + (" (best)" if message["best"] else ""))
            words.append(f"lr {metrics['learning_rate']:.2e}")
            if "seconds" in metrics:
                words.append(f"{metrics['seconds']:.1f} s, {metrics['examples_per_second']:.1f} examples/s")
            bar.console.print("  " + "  ".join(words), markup=False)
            bar.update(message["epoch"])

    return hear


def _train_summary(shell: Shell, result: Any) -> None:
    if result.tests:
        names = list(dict.fromkeys(name for row in result.tests.values() for name in row))
        rows = [[name, *(_number(row.get(name), "{:.4f}") for row in result.tests.values())] for name in names]
        shell.console.print(plain_table(None, ["best weights on test images", *result.tests], rows))
    if result.stop:
        shell.print(f"stopped early: {result.stop}")
    if result.best_epoch is not None:
        chosen_by = result.plan.method.chosen_by
        score = result.history[result.best_epoch - 1][chosen_by]
        kept = f"epoch {result.best_epoch} of {len(result.history)}, {chosen_by} {score:.4f} on the validation examples"
        shell.print(f"kept: {kept}")
    for note in result.plan.examples.notes:
        shell.print(f"note: {note}")
    for problem in result.problems:
        shell.problem(problem)
    shell.print(f"curves, figures and checkpoint: {result.plan.folder}")
    if result.model is not None:
        shell.print(f"model: {result.model} (loaded afresh it answers the same to {result.parity:.0e})")
    if result.run_id:
        shell.print(f"MLflow: run {result.run_id}")
    if result.registered:
        shell.print(f"registered: {result.registered}; answers over HTTP after: {serve_command()}")


def _fit(shell: Shell, name: str, description: str, argv: Sequence[str]) -> int:
    shell.if_interrupted = "interrupted; what was computed is in the store, from which the same command resumes"
    flags = ParamFlags(name, get_method(name).params_type)
    settings, values = parse_flags(FitSettings, description, argv, params=flags)
    # Ray and MLflow take seconds to import: a wrong flag is told before.
    from subband.training.fit_categories import make_fit_plan, run_fits

    plan = make_fit_plan(name, values, settings)
    categories = ", ".join(category.name for category in plan.categories)
    shell.title(plan.name, f"{name} on {plan.dataset.name} ({categories})")
    result = run_fits(plan, shell.say)
    shown = {key: title for key, title in COLUMNS.items() if any(row.get(key) is not None for row in result.rows)}
    rows = [[_cell(key, row.get(key)) for key in shown] for row in result.rows]
    shell.console.print(plain_table(None, list(shown.values()), rows, most=len(rows)))
    for problem in result.problems:
        shell.problem(problem)
    shell.print(f"detectors: {plan.folder / 'champions'} (loaded afresh, each gave the evaluated scores)")
    shell.print(f"table and figures: {plan.folder / 'report'}")
    if result.run_id:
        shell.print(f"MLflow: run {result.run_id} in {plan.target.uri}")
    if result.registered:
        shell.print(f"registered: {', '.join(result.registered)}; answers over HTTP after: {serve_command()}")
    return FAILED if result.problems else DONE


def _cell(name: str, value: Any) -> str:
    if name.endswith("_seconds"):
        return _number(value, "{:.1f}")
    if name == "parity":
        return _number(value, "{:.0e}")
    return _number(value, "{:.4g}") if isinstance(value, float) else "-" if value is None else str(value)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
