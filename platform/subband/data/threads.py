"""How many threads decode and hash: one decision, made here."""

from __future__ import annotations

import os


def thread_count(asked: int | None = None) -> int:
    """Threads for decoding and hashing: the number asked for, else one a usable processor, at most 8."""
    if asked is not None:
        return max(1, asked)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, usable)
