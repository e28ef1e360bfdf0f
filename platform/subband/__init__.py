"""Wavelet-based defect detection, searched, compared and served on a Ray cluster."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["list_methods", "load", "open_dataset"]

_HOMES = {"load": "subband.methods", "list_methods": "subband.methods", "open_dataset": "subband.data"}


def __getattr__(name: str) -> Any:
    """Public names are imported on first use, so that `import subband` stays light."""
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'subband' has no attribute {name!r}")
