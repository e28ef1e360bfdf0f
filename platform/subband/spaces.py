"""Search spaces: what a sweep of a method may vary, and the published grids as presets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from subband.errors import ParamsError, unknown_name

if TYPE_CHECKING:
    import optuna

    from subband.trials import TrialRecord

Point = dict[str, Any]
"""Values of the searched params of one trial; everything else keeps its base value."""

Round = Callable[[Sequence["TrialRecord"], str], list[Point]]
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
