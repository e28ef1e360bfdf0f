"""What MLflow shows: legal keys, flat plain values and run names that fit a column."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any

from subband.runs.description import plain_text
from subband.trials import TrialRecord

# MLflow's limits (mlflow.utils.validation): longer ones are refused with the whole batch.
KEY_LENGTH = 250
PARAM_LENGTH = 6000
TAG_LENGTH = 8000
RUN_NAME_LENGTH = 120

MODEL_NAME_LENGTH = 180

_ILLEGAL = re.compile(r"[^\w.\- /]")
_ILLEGAL_IN_MODELS = re.compile(r"[^A-Za-z0-9_-]+")


def legal_key(name: str) -> str:
    """The name as an MLflow param, metric or tag key.

    MLflow allows letters, digits, ``_``, ``-``, ``.``, space and ``/`` (which groups), at most 250 characters. A name
    that had to be changed carries a short hash of the original, so that two names never become one key.
    """
    cleaned = "/".join(part for part in _ILLEGAL.sub("_", name).split("/") if part not in ("", ".", ".."))
    if cleaned == name and len(name) <= KEY_LENGTH:
        return name
    return f"{cleaned[: KEY_LENGTH - 7]}-{_digest(name)}"


def registry_name(*parts: str) -> str:
    """A legal name of a registered model, for instance ``wepadim-mvtec-metal_nut-b61821`` for a category ``metal nut``.

    MLflow allows no ``/``, ``:``, ``.``, ``%`` and quotes, and other signs do not survive in addresses and shells: only letters,
    digits, ``_`` and ``-`` stay. A part that had to be changed carries a short hash of the original, so that two never become one;
    what it was stands in the version's tag ``category``.

    Args:
        parts: joined by ``-``; none empty.
    """
    name = "-".join(_legal_part(part) for part in parts)
    return name if len(name) <= MODEL_NAME_LENGTH else f"{name[: MODEL_NAME_LENGTH - 7]}-{_digest(name)}"


def _legal_part(text: str) -> str:
    cleaned = _ILLEGAL_IN_MODELS.sub("_", text).strip("_") or "_"
    return text if cleaned == text else f"{cleaned}-{_digest(text)}"


def category_prefix(category: str) -> str:
    """The group of a category's metrics, ``within/weave``.

    MLflow sorts metrics by name and its comparison shows the first seven: this prefix sorts behind the means, whatever
    the categories are called, and keeps a category named ``report`` apart from our own group of that name.
    """
    prefix = legal_key(category)
    return f"within/{prefix}" if "/" not in category else f"within/{prefix.replace('/', '_')}-{_digest(category)}"


def _digest(name: str) -> str:
    return hashlib.sha1(name.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()[:6]


def shortened(text: str, limit: int) -> str:
    """The text, cut to ``limit`` characters with an ellipsis where it was longer."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def flat_params(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Params as MLflow keeps them: nested mappings joined by dots, every value a text within the limits."""
    flat: dict[str, str] = {}
    for name, value in params.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            flat.update(flat_params(value, f"{key}."))
        else:
            flat[legal_key(key)] = shortened(plain_text(value), PARAM_LENGTH)
    return flat


def legal_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags with legal keys and texts within the limits."""
    return {legal_key(name): shortened(plain_text(value), TAG_LENGTH) for name, value in tags.items()}


def trial_name(record: TrialRecord, template: str = "") -> str:
    """A run name that tells trials apart.

    Args:
        record: the trial.
        template: format string over ``number`` and the params. Empty, or naming something that the trial has not, it
            gives the number and the searched values (numbers with their names): ``007 haar LL+LH level=2 sigma=4``.
    """
    if template:
        try:
            return shortened(template.format(**{**record.params, "number": record.number}), RUN_NAME_LENGTH)
        except (LookupError, ValueError, TypeError, AttributeError):
            pass  # a failed trial may lack params that a conditional space gives to others
    words = [f"{record.number:03d}"]
    values = {name: record.params[name] for name in record.searched if name in record.params}
    words += [value for value in values.values() if isinstance(value, str)]
    # Three digits tell trials apart; a sampled 0.00030254239799240895 would fill the column.
    numbers = {name: value for name, value in values.items() if not isinstance(value, str)}
    words += [f"{n}={f'{v:.3g}' if isinstance(v, float) else plain_text(v)}" for n, v in numbers.items()]
    return shortened(" ".join(words), RUN_NAME_LENGTH)


def trial_metrics(record: TrialRecord, *, with_report: bool) -> tuple[dict[str, float], tuple[str, ...]]:
    """A trial's metrics under their MLflow keys, and the keys whose value is not a number.

    Means over categories come bare (``image_auroc``: what selection looked at) and as ``report/image_auroc``; per
    category as ``within/weave/image_auroc`` and ``within/weave/report/image_auroc``; timings as ``seconds/...``.

    Args:
        record: the trial.
        with_report: log the categories' ``report`` values too; they equal the others under ``selection="test"``.
    """
    named = dict(record.choose)  # the page's charts start with the first metric they are given
    named.update({f"report/{name}": value for name, value in record.report.items()})
    for category, parts in record.categories.items():
        prefix = category_prefix(category)
        named.update({f"{prefix}/{name}": value for name, value in parts.get("choose", {}).items()})
        if with_report:
            named.update({f"{prefix}/report/{name}": value for name, value in parts.get("report", {}).items()})
    named.update({f"seconds/{name}": value for name, value in record.timings.items()})
    metrics = {legal_key(name): float(value) for name, value in named.items() if math.isfinite(value)}
    undefined = tuple(name for name, value in named.items() if not math.isfinite(value))
    return metrics, undefined
