"""The Ray Serve application, by the path that `serve run serve.app:app` and serve/config.yaml name: see `subband.serving.app`."""

from __future__ import annotations

from typing import Any

from subband.serving.app import build

__all__ = ["build"]


def __getattr__(name: str) -> Any:
    """``serve.app:app`` is built when Serve asks for it, not whenever a replica imports this module."""
    if name == "app":
        return build({})
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
