"""Search spaces: what a sweep may vary, and the published grids as presets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna

from subband.errors import ParamsError, unknown_name
from subband.trials import TrialRecord

Point = dict[str, Any]
"""Values of the searched params of one trial; everything else keeps its base value."""

Round = Callable[[Sequence[TrialRecord], str], list[Point]]
"""(finished records, objective) -> the points to try next; later rounds may follow the winners of earlier ones."""


@dataclass(frozen=True)
class Preset:
    """An exact list of trials, in one round or in several that follow each other's winners.

    Attributes:
        about: source, size and cost in one or two lines, shown by ``--help``.
        rounds: each gives the points of one round.
        base: base values that the preset needs, below what the user gives.
        published: whether its figures stand beside published ones, or its points name networks: it keeps its network, and ends
            with an error where the published weights cannot be had.
    """

    about: str
    rounds: tuple[Round, ...]
    base: Mapping[str, Any] = field(default_factory=dict)
    published: bool = False


@dataclass(frozen=True)
class Space:
    """What a sweep of one method explores.

    Attributes:
        method: name in the registry.
        suggest: define-by-run search: asks the trial for values and returns them; branches are allowed.
        presets: exact grids by name.
        about: one line for ``--help``.
        smoke: params that make a ``--smoke`` run tiny, below what the user gives.
        embedded_recipe: of a trained method, for its embedded data, where the user gives no recipe.
    """

    method: str
    suggest: Callable[[optuna.Trial], Point]
    presets: Mapping[str, Preset]
    about: str
    smoke: Mapping[str, Any] = field(default_factory=dict)
    embedded_recipe: str | None = None

    def preset(self, name: str) -> Preset:
        """The preset of that name.

        Raises:
            ParamsError: no such preset; near matches are given.
        """
        if name not in self.presets:
            raise ParamsError(unknown_name("preset", name, self.presets))
        return self.presets[name]


def product(**axes: Sequence[Any]) -> list[Point]:
    """Every combination, the last axis varying fastest."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def grid(about: str, base: Mapping[str, Any] | None = None, published: bool = False, **axes: Sequence[Any]) -> Preset:
    """A one-round preset: every combination of the axes, the last varying fastest."""
    return Preset(about, (lambda records, objective: product(**axes),), base or {}, published)


def quiet_optuna() -> None:
    """Silence Optuna's progress lines, which would break ours; called wherever a study is made."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)


class NarrowedTrial:
    """An Optuna trial in which some params are settled by the user: one value fixes a param, several become its choices."""

    def __init__(self, trial: optuna.Trial, axes: Mapping[str, Sequence[Any]]) -> None:
        self._trial = trial
        self._axes = axes

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the user's values if there are any, else one of `choices`."""
        return self._narrowed(name, lambda: self._trial.suggest_categorical(name, choices))

    def suggest_float(self, name: str, low: float, high: float, **options: Any) -> Any:
        """One of the user's values if there are any, else a number from `low` to `high`."""
        return self._narrowed(name, lambda: self._trial.suggest_float(name, low, high, **options))

    def suggest_int(self, name: str, low: int, high: int, **options: Any) -> Any:
        """One of the user's values if there are any, else a whole number from `low` to `high`."""
        return self._narrowed(name, lambda: self._trial.suggest_int(name, low, high, **options))

    def _narrowed(self, name: str, suggest: Callable[[], Any]) -> Any:
        values = self._axes.get(name, ())
        if not values:
            return suggest()
        return values[0] if len(values) == 1 else self._trial.suggest_categorical(name, list(values))


@dataclass(frozen=True)
class NarrowedSearch:
    """A space's `suggest` under the user's axes; axes that the space does not vary are added to the search.

    A class and not a closure, because Tune pickles its searcher.

    Attributes:
        suggest: the space's.
        axes: values the user gave, by param name.
    """

    suggest: Callable[[optuna.Trial], Point]
    axes: Mapping[str, Sequence[Any]]

    def __call__(self, trial: optuna.Trial) -> Point:
        """The values of one trial."""
        view = NarrowedTrial(trial, self.axes)
        point = dict(self.suggest(view))  # type: ignore[arg-type]  # a trial as far as `suggest` can tell
        for name, values in self.axes.items():
            if len(values) > 1 and name not in point:
                point[name] = view.suggest_categorical(name, list(values))
        return point

    def config(self, trial: optuna.Trial) -> dict[str, Any]:
        """The same as a Tune config."""
        return {"point": self(trial)}
