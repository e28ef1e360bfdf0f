"""The few exceptions a user meets. Each message says what was wrong and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SubbandError(Exception):
    """Base of every error the platform raises on purpose; a job prints it without a traceback."""


class DataError(SubbandError, ValueError):
    """A dataset, image or mask cannot be used."""


class ParamsError(SubbandError, ValueError):
    """A parameter, flag or search space has an illegal value."""


class UndefinedMetricError(SubbandError, ValueError):
    """A metric has no value on these labels (for instance AUROC when only one label occurs)."""


class StoreError(SubbandError, RuntimeError):
    """The stage store cannot be read or written."""


class ModelError(SubbandError, RuntimeError):
    """A saved detector cannot be loaded, or does not give the scores it was evaluated with."""


class TrackingError(SubbandError, RuntimeError):
    """MLflow cannot be reached or refuses what it is given."""


class ClusterError(SubbandError, RuntimeError):
    """Ray cannot give the workers that were asked for, or lost them."""


def unknown_name(kind: str, name: str, legal: Iterable[str]) -> str:
    """Message for a misspelt name: the nearest legal names first, then all of them.

    Args:
        kind: what the name should have been, with its article left out ("wavelet").
        name: what the user wrote.
        legal: every legal name.
    """
    choices = list(legal)
    lowered = {choice.lower(): choice for choice in choices}
    near = [lowered[hit] for hit in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.6)]
    hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    article = "an" if kind[:1].lower() in "aeiou" else "a"
    return f"{name!r} is not {article} {kind}{hint} (legal: {', '.join(choices)})"
