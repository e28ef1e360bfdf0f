"""Under which name a champion is registered, and what its version says of it."""

from __future__ import annotations

from collections.abc import Mapping

from subband.data import Dataset
from subband.tracking import registry_name


def champion_name(method: str, dataset: Dataset, category: str | None = None, smoke: bool = False) -> str:
    """The registered model: method, dataset and, of a detector, its category.

    What checks the path must never be served in the place of a real model: the name of a smoke run starts with ``smoke``.
    """
    return registry_name(*(["smoke"] if smoke else []), method, dataset.name, *([category] if category else []))


def champion_tags(
    method: str, dataset: Dataset, parity: float, threshold: float | None, more: Mapping[str, str]
) -> dict[str, str]:
    """Tags of the registered version.

    Args:
        method: name of the method.
        dataset: that it was taught with.
        parity: see `subband.champions.parity`.
        threshold: in force, if there is one.
        more: further tags.
    """
    return {
        "method": method,
        "dataset": dataset.name,
        "data": whole_uri(dataset.uri),
        "parity": f"{parity:.2e}",
        **({} if threshold is None else {"threshold": f"{threshold:.6g}"}),
        **more,
    }


def metric_tags(prefix: str, metrics: Mapping[str, float]) -> dict[str, str]:
    """Metrics as tags, ``PREFIX.NAME``."""
    return {f"{prefix}.{name}": f"{value:.6f}" for name, value in metrics.items()}


def whole_uri(uri: str) -> str:
    """The dataset's URI without its choice of categories: champions of some and of all are champions of the same data."""
    path, _, query = uri.partition("?")
    options = "&".join(option for option in query.split("&") if not option.startswith("categories="))
    return f"{path}?{options}" if options else path
