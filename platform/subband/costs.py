"""What a model costs: the size of what fitting stored, and how long one answer takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Collection

import torch

from subband.methods import Deployable
from subband.metrics import COSTS

WARM_UP = 3
FEWEST, MOST = 10, 100
SECONDS = 0.5
"""Repetitions are counted up to the most, and end earlier once there are the fewest and this time is spent."""


def measure_costs(model: Deployable, names: Collection[str] = COSTS) -> tuple[dict[str, float], str]:
    """Measure a model where it would answer: on the GPU that this process sees, else on the CPU.

    ``bank_mb`` is `Deployable.fitted_bytes` in 1e6 bytes. ``latency_ms`` and ``fps`` time one region, `Deployable.timing_probe`; of
    a detector it goes from uint8 pixels (1, 3, S, S) in host memory, which are preprocessed already, through the copy to the device
    and the network, to map and score in host memory. Reading, decoding and resizing a file are not in it. The copy back waits for
    the device, so every repetition is whole; the device is idle before the first. After 3 repetitions of warm-up there are 10 to
    100, as many as fit into half a second: ``latency_ms`` is their median, ``fps`` their number by the time they took together.

    Args:
        model: fitted or trained; it is moved to the device and stays there.
        names: costs to measure; where only the size is asked for, nothing is run.

    Returns:
        Values by name, and under which conditions times were measured (empty if none were).
    """
    costs: dict[str, float] = {}
    if "bank_mb" in names:
        costs["bank_mb"] = model.fitted_bytes() / 1e6
    if not {"latency_ms", "fps"} & set(names):
        return costs, ""
    on_gpu = torch.cuda.is_available()
    seconds = _seconds_per_answer(model.to("cuda" if on_gpu else "cpu").eval())
    timed = {"latency_ms": 1e3 * statistics.median(seconds), "fps": len(seconds) / sum(seconds)}
    costs |= {name: value for name, value in timed.items() if name in names}
    device = torch.cuda.get_device_name() if on_gpu else "CPU"
    threads = torch.get_num_threads()
    return costs, f"measured on {device} with {threads} torch thread{'s' if threads > 1 else ''}"


def _seconds_per_answer(model: Deployable) -> list[float]:
    answer = model.timing_probe()
    for _ in range(WARM_UP):
        answer()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds: list[float] = []
    begun = time.perf_counter()
    while len(seconds) < FEWEST or (len(seconds) < MOST and time.perf_counter() - begun < SECONDS):
        started = time.perf_counter()
        answer()
        seconds.append(time.perf_counter() - started)
    return seconds
