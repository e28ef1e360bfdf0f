"""Names and values of trials as tables, figures and the terminal show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from subband.metrics import COSTS

# Fields so common in this field that their initial is understood; all others are written out.
_ABBREVIATIONS = {"sigma": "s", "cov_reg": "r", "coreset_ratio": "c"}
# A level says little without its wavelet: db4-2.
_JOINED_TO = {"level": "wavelet"}
# Words that do not tell which field they belong to.
_MUTE_WORDS = frozenset({"none", "auto", "default", "on", "off", "yes", "no", "all", "mean", "max", "sum"})


def format_value(value: Any, digits: int = 6) -> str:
    """A param's value as a person would write it: 0.01, on, LL+LH, none; floats to so many significant digits."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    if isinstance(value, (list, tuple)):
        return "+".join(format_value(part, digits) for part in value)
    return str(value)


def format_metric(objective: str, value: float) -> str:
    """A metric with four decimals; a cost with four significant digits, because its size is not known beforehand."""
    return f"{value:.4g}" if objective in COSTS else f"{value:.4f}"


def short_name(params: Mapping[str, Any], searched: Sequence[str]) -> str:
    """A readable name for one trial, made of the searched params alone: ``haar-1 LL+LH+HL s4 r0.01``.

    Words stand for themselves, numbers carry their field's name (or its usual initial), switches read ``name`` or
    ``no-name``. Params that a conditional space left out are left out here. Floats are cut to three significant digits:
    the names of a continuous search are readable, not always unique.

    Args:
        params: the trial's params.
        searched: names of the params that the space varies, in the wanted order.
    """
    shown = [name for name in searched if params.get(name) is not None]
    values = {name: format_value(params[name], digits=3) for name in shown}
    parts: dict[str, str] = {}
    for name in shown:
        text = values[name]
        host = _JOINED_TO.get(name)
        ambiguous = text.lower() in _MUTE_WORDS or list(values.values()).count(text) > 1
        if host in shown:
            continue
        if isinstance(params[name], bool):
            parts[name] = name if params[name] else f"no-{name}"
        elif isinstance(params[name], (str, list, tuple)) and not ambiguous:
            parts[name] = text
        elif name in _ABBREVIATIONS:
            parts[name] = f"{_ABBREVIATIONS[name]}{text}"
        else:
            parts[name] = f"{name}={text}"
        parts[name] += "".join(f"-{values[guest]}" for guest in shown if _JOINED_TO.get(guest) == name)
    return " ".join(parts.values()) or "nothing searched"
