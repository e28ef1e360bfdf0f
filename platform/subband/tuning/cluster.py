"""Ray: the cluster that RAY_ADDRESS names, else this machine."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

# Tune reads these when it is imported: its own tables and per-trial files would repeat, slowly, what the ledger keeps.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# An interruption must reach the sweep, which says what is safe and how to go on; Tune would swallow it.
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")

import ray

from subband.compute import raise_start_limits, start_local_ray


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
        spaces = package.parents[1] / "search_spaces"
        modules = [str(package)] + ([str(spaces)] if spaces.is_dir() else [])
        ray.init(runtime_env={"py_modules": modules, "env_vars": worker_environment()}, log_to_driver=False)
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
    return f"; only {free} of its {all_of_them} CPUs are free now: what does not fit beside other work waits until that ends"
