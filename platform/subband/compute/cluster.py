"""Ray: the cluster that RAY_ADDRESS names, else this machine."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

import ray

from subband.compute.local_ray import raise_start_limits, start_local_ray

# Ray, Tune and Train read these when something starts, not when they are imported.
ENVIRONMENT = {
    # Tune's own tables and per-trial files would repeat, slowly, what the ledger keeps.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # An interruption must reach the sweep, which says what is safe and how to resume; Tune would swallow it.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Train's controller looks after its workers this often; by its default of 2 s short work waits for its own end.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",
    # Workers stay in the driver's folder: relative paths mean the same in both.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


def worker_environment() -> dict[str, str]:
    """Environment variables of every worker, which must be set before it starts.

    On AMD's processors with AVX-512, numpy 2's AVX-512 sort is about four times slower than its AVX2 one (measured on a Zen 4
    server: 94 and 17 ms for 2.6 million float32), and exact pixel metrics are one sort.
    """
    try:
        processor = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    slow = "AuthenticAMD" in processor and "avx512f" in processor
    return {"NPY_DISABLE_CPU_FEATURES": os.environ.get("NPY_DISABLE_CPU_FEATURES", "X86_V4")} if slow else {}


def connect() -> tuple[str, str]:
    """Start or join Ray, with this package importable in every worker.

    The process keeps its own handler of SIGTERM, which Ray would replace by one that exits without a word.

    Returns:
        What was done and why, for the person.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    on_termination = signal.getsignal(signal.SIGTERM)
    try:
        return _connect()
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_termination)


def _connect() -> tuple[str, str]:
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    if ray.is_initialized():
        return "the running one", f"Ray was initialised already{_held_by_others()}"
    package = Path(__file__).resolve().parents[1]
    if os.environ.get("RAY_ADDRESS"):
        raise_start_limits()
        # Workers of a cluster may lie on machines without the checkout: send them the package (a few hundred KB).
        ray.init(runtime_env={"py_modules": [str(package)], "env_vars": worker_environment()}, log_to_driver=False)
        return _size(), f"joined the cluster at {os.environ['RAY_ADDRESS']}{_held_by_others()}"
    paths = [str(package.parent), str(package.parents[1])]
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])])
    sys.path[:0] = [path for path in paths if path not in sys.path]
    os.environ.update(worker_environment())
    start_local_ray(log_to_driver=False, logging_level=logging.ERROR)
    return _size(), "no RAY_ADDRESS: a local Ray for this run"


def _size() -> str:
    resources = ray.cluster_resources()
    return f"{resources.get('CPU', 0):.0f} CPUs, {resources.get('GPU', 0):.0f} GPUs"


def _held_by_others() -> str:
    """Words on processors that other work holds, served models for instance: Ray lets wait, without a word, what does not fit."""
    free, all_of_them = (int(found.get("CPU", 0)) for found in (ray.available_resources(), ray.cluster_resources()))
    if free >= all_of_them:
        return ""
    return f"; {free} of {all_of_them} CPUs free: what does not fit will queue"
