"""A search space under the values that the user gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from subband.spaces import Point


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
