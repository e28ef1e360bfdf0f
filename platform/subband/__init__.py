"""Wavelet-based defect detection, searched, compared and served on a Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from subband.api import evaluate, fit, sweep
    from subband.data import open_dataset
    from subband.methods import list_methods, load

__version__ = "0.2.0"
__all__ = ["evaluate", "fit", "list_methods", "load", "open_dataset", "sweep"]

_HOMES = {
    "evaluate": "subband.api",
    "fit": "subband.api",
    "sweep": "subband.api",
    "load": "subband.methods",
    "list_methods": "subband.methods",
    "open_dataset": "subband.data",
}


def __getattr__(name: str) -> Any:
    """Public names are imported on first use, so that `import subband` stays light."""
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'subband' has no attribute {name!r}")
