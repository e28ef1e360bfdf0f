"""Fanning a function out over items as Ray tasks that yield their results one by one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
import torch

from subband.compute import cluster
from subband.compute.shares import cluster_size, equal_share, whole_machine
from subband.errors import SubbandError


def spread_over_ray(
    function: Callable[[Any], Iterator[Any]],
    items: Sequence[Any],
    *,
    alone: bool = False,
    workers: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[tuple[Any, Any]]:
    """Run a generator function on every item in Ray tasks, and yield (item, result) as results come.

    An item that fails ends with its SubbandError in place of a result: an error of the function's, or of its worker's death.

    Args:
        function: importable by name in the workers; called with one item.
        items: what to work on; each is one task with one CPU and its share of the GPUs.
        alone: one task at a time, with all CPUs of the widest node and a whole GPU, for measurements of time.
        workers: items at a time; by default one a CPU of the cluster.
        say: called with how Ray was found.
    """
    where, why = cluster.connect()
    say(f"ray: {where} ({why})")
    cpus, _ = cluster_size()
    share = whole_machine() if alone else equal_share(max(1, min(workers or cpus, len(items))), widen=False)
    task = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus, num_returns="streaming", max_retries=0)(_run)
    waiting = list(items)
    running: dict[Any, Any] = {}  # by the generator of results
    ready: Any
    try:
        while waiting or running:
            while waiting and len(running) < share.at_a_time:
                item = waiting.pop(0)
                running[task.remote(function, item, share.cpus)] = item
            (ready, *_), _ = ray.wait(list(running), num_returns=1, fetch_local=False)
            item = running[ready]
            try:
                yield item, ray.get(next(ready))
            except StopIteration:
                del running[ready]
            except ray.exceptions.RayError as error:
                del running[ready]
                yield item, _as_ours(error)
    finally:
        for generator in running:
            with contextlib.suppress(ray.exceptions.RayError, ValueError):
                ray.cancel(generator)


def _run(function: Callable[[Any], Iterator[Any]], item: Any, threads: int) -> Iterator[Any]:
    torch.set_num_threads(threads)
    yield from function(item)


def _as_ours(error: Exception) -> SubbandError:
    cause = getattr(error, "cause", None) or error
    if isinstance(cause, SubbandError):
        return cause
    return SubbandError(f"{type(cause).__name__}: {str(cause).strip().splitlines()[0] if str(cause).strip() else ''}")
