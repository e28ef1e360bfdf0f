"""Threads that decode and hash: how many, decided here alone, and how they share work."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def thread_count(asked: int | None = None) -> int:
    """Threads for decoding and hashing: the number asked for, else one a usable processor, at most 8."""
    if asked is not None:
        return max(1, asked)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, usable)


def for_each(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Result]:
    """Do the work for every item; the first failure in the order of the items is the one that is raised.

    Args:
        work: called from several threads at a time.
        items: what it is called with.
        threads: as `thread_count`; the results do not depend on it.
        progress: called in this thread with the number of items done, and of all, after each.

    Returns:
        What the work gave, in the order of the items.
    """
    results = []
    with ThreadPoolExecutor(thread_count(threads)) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                results.append(future.result())
                if progress is not None:
                    progress(len(results), len(items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results
