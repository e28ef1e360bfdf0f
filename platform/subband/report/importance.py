"""Which searched params move the objective: fANOVA over the finished trials."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from subband.metrics import Direction, direction_of
from subband.report import style
from subband.report.names import format_value
from subband.report.parallel import LOG_RATIO, UNUSED, is_number
from subband.trials import TrialRecord
from subband.trials.ranking import Source, complete_with, searched_names, value_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST_TRIALS = 8
EVALUATOR = "fANOVA (Optuna, 64 trees, seed 0)"


@dataclass(frozen=True)
class Importances:
    """Shares of the objective's variance.

    Attributes:
        shares: by param, descending, summing to 1; empty where nothing can be said.
        trials: how many complete trials were used.
        evaluator: how the shares were estimated.
        notes: what a reader must know, one sentence each.
    """

    shares: dict[str, float]
    trials: int
    evaluator: str
    notes: tuple[str, ...]


def param_importances(records: Sequence[TrialRecord], objective: str, source: Source = "choose") -> Importances:
    """Estimate how much of the objective's variance each searched param explains alone.

    Optuna's fANOVA evaluator (Hutter et al. 2014) is run on a study rebuilt from the records: a random forest is fitted
    to the complete trials and its variance split over the params' main effects, normalised to sum to 1. Interactions
    are not shown. Where a conditional space leaves a param out of some trials, "not used" counts as one more of its
    values.

    Args:
        records: the sweep's trials; only complete ones with the metric are used.
        objective: name of the metric.
        source: which mean is explained.

    Raises:
        ParamsError: the records hold no metric of that name.
    """
    trials = complete_with(records, objective, source)
    columns = {name: [record.params.get(name) for record in trials] for name in searched_names(records)}
    fixed = [name for name, column in columns.items() if len({format_value(value) for value in column}) < 2]
    varied = {name: column for name, column in columns.items() if name not in fixed}
    objectives = [value_of(record, objective, source) or 0.0 for record in trials]
    notes = []
    if len(trials) < FEWEST_TRIALS:
        notes.append(f"{len(trials)} complete trials are too few to tell importances: it takes {FEWEST_TRIALS}")
    elif not varied:
        notes.append("no searched param took two values")
    elif max(objectives) == min(objectives):
        notes.append(f"{objective} is {objectives[0]:.4g} in all {len(trials)} trials: nothing to explain")
    if notes:
        return Importances({}, len(trials), EVALUATOR, tuple(notes))
    if fixed:
        notes.append(f"left out, only one value tried: {', '.join(fixed)}")
    shares = _fanova(varied, objectives, direction_of(objective))
    ordered = dict(sorted(shares.items(), key=lambda item: -item[1]))
    return Importances(ordered, len(trials), EVALUATOR, tuple(notes))


def importance(records: Sequence[TrialRecord], objective: str, source: Source = "choose") -> Figure:
    """Bar chart of `param_importances` that states evaluator and number of trials; arguments and errors as there."""
    found = param_importances(records, objective, source)
    figure = style.new_figure(6.4, 1.5 + 0.36 * max(len(found.shares), 3))
    axes = figure.subplots()
    style.headline(figure, f"What moves {objective} ({source})")
    if not found.shares:
        style.message(axes, " ".join(found.notes), width=60)
        return figure
    names, shares = list(found.shares), list(found.shares.values())
    bars = axes.barh(names, shares, color=style.BLUE, height=0.62)
    axes.bar_label(
        bars,
        ["< 1%" if share < 0.005 else f"{share:.0%}" for share in shares],
        padding=4,
        fontsize=style.SMALL,
        color=style.INK,
    )
    axes.invert_yaxis()
    axes.set(xlim=(0, max(shares) * 1.12), xlabel="share of the main effects' variance")
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    style.tidy(axes, grid="x")
    axes.tick_params(axis="y", length=0)
    style.caption(figure, "; ".join([f"{found.evaluator}, {found.trials} complete trials", *found.notes]))
    return figure


def _fanova(columns: dict[str, list[Any]], objectives: list[float], direction: Direction) -> dict[str, float]:
    # Optuna takes half a second to import, and whoever draws a gallery does not need it.
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    described = {name: _described(column) for name, column in columns.items()}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize" if direction == "max" else "minimize")
        distributions = {name: distribution for name, (distribution, _) in described.items()}
        for row, value in enumerate(objectives):
            params = {name: values[row] for name, (_, values) in described.items()}
            study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=value))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return dict(get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0)))
    finally:
        optuna.logging.set_verbosity(verbosity)


def _described(column: list[Any]) -> tuple[BaseDistribution, list[Any]]:
    """A param's distribution and its values in it: a range for numbers (logarithmic over decades), else choices."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if all(is_number(value) for value in column):
        values = [float(value) for value in column]
        low, high = min(values), max(values)
        return FloatDistribution(low, high, log=low > 0 and high / low >= LOG_RATIO), values
    words = [UNUSED if value is None else format_value(value) for value in column]
    return CategoricalDistribution(sorted(set(words))), words
