"""Waits that end when their condition holds; the limit only tells a busy machine from one that will never answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

PATIENCE = 400  # seconds; below pytest's own limit of a test, so that the failure says what was awaited
T = TypeVar("T")


def until(condition: Callable[[], T], awaited: str | Callable[[], str], pause: float = 0.05) -> T:
    """Wait until a condition holds, and give what it returned.

    Args:
        condition: asked again and again; an exception of its own ends the wait.
        awaited: what was waited for, for the failure; called only then if it is a function.
        pause: seconds between two questions.
    """
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {PATIENCE} s: {awaited if isinstance(awaited, str) else awaited()}")
        time.sleep(pause)
    return found
