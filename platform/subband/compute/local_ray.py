"""Start a Ray of this process alone, also on a machine that is busy with other work."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

START_SECONDS = 300

# Ray's own limits are 5 to 60 s, which a machine whose load is ten times its CPUs exceeds although nothing is wrong.
START_LIMITS = {
    "RAY_gcs_server_port_wait_time_s": START_SECONDS,
    "RAY_raylet_start_wait_time_s": START_SECONDS,
    "RAY_agent_register_timeout_ms": 1000 * START_SECONDS,
    "RAY_worker_register_timeout_seconds": START_SECONDS,
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": START_SECONDS,
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": 60,
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": 60,
    # Ray's own is 15, by which workers get a thirtieth of a CPU that other work wants too: importing torch takes minutes.
    "RAY_worker_niceness": 0,
}


def raise_start_limits() -> None:
    """Raise the limits, and the priority of workers, that Ray reads from the environment; what the user has set stays.

    Call before Ray starts or is joined: its processes read them once.
    """
    for name, value in START_LIMITS.items():
        os.environ.setdefault(name, str(value))


def start_local_ray(**options: Any) -> None:
    """Start a Ray that ends with this process, on this machine alone.

    Args:
        options: further arguments of ``ray.init``.
    """
    import ray

    raise_start_limits()
    with _patient_node_start():
        # "local": without it Ray would join any cluster that somebody started on this machine, whose workers lack this package.
        ray.init("local", include_dashboard=False, **options)


@contextmanager
def _patient_node_start() -> Iterator[None]:
    """Wait START_SECONDS for the node, where Ray 2.60 waits a fixed 30 s ("The current node timed out during startup").

    No variable sets that limit (``raylet_start_wait_time_s`` in ``ray._private.node.Node``). Ray asks in a loop whether the node
    has registered; the question itself is made to wait and to ask again.
    """
    from ray._private import services

    ask = getattr(services, "get_node", None)
    if ask is None:
        yield
        return

    def ask_patiently(*arguments: Any, **options: Any) -> Any:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return ask(*arguments, **options)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    services.get_node = ask_patiently
    try:
        yield
    finally:
        services.get_node = ask
