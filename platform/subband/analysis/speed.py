"""How fast a detector is, by two protocols whose difference is the point.

========== ===============================================================================================================
protocol   what is timed
========== ===============================================================================================================
published  WEDGE-Net's: one fixed random tensor on the device, warm-up, then iterations without waiting for any of them, so
           that launches overlap: a throughput at batch 1, not a latency. Forward and search alone, no post-processing,
           where the detector separates them; library defaults, so TF32 convolutions on a GPU.
latency    batch 1, a real image on the device, until its score is on the host; every image is waited for
throughput the same region, one batch after the other, for several batch sizes
========== ===============================================================================================================

None includes decoding, resizing and the copy of the image to the device.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from subband.analysis.detectors import DetectorTask, obtain, parse_detectors
from subband.analysis.results import Analysis
from subband.analysis.settings import AnalysisSettings
from subband.data import load_images
from subband.errors import ParamsError
from subband.report.speed_bars import SpeedRow, speed_bars

Device = Literal["auto", "cpu", "cuda"]
TO_HOST = "forward to image score on the host"
SEARCH = "forward and search to the grid's distances, on the device"
WHOLE = "forward to maps and image scores, on the device (its post-processing is not separate)"
_SMOKE_ITERATIONS, _SMOKE_BATCHES = 5, (1, 2)


class SpeedSettings(AnalysisSettings):
    """Settings of a speed benchmark."""

    detectors: tuple[str, ...] = Field(
        (),
        description="Each measured alone: METHOD, METHOD:param=value,..., models:/NAME@champion or a saved detector's folder, "
        "with {category} where a category's name stands; by default every method with its defaults.",
    )
    device: Device = Field("auto", description="auto: the GPU that Ray gives, else the processor.")
    threads: int | None = Field(None, ge=1, description="Torch threads; by default all CPUs of the machine.")
    warm_up: int = Field(10, ge=1, description="Iterations before the clock starts.")
    iterations: int = Field(200, ge=2, description="Timed iterations of each measurement; fewer do on a processor.")
    batches: tuple[int, ...] = Field((1, 2, 4, 8, 16, 32), min_length=1, description="Batch sizes of the throughput.")
    seed: int = Field(0, ge=0, description="Seed of the published protocol's random tensor.")

    @field_validator("batches")
    @classmethod
    def _positive(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(batch < 1 for batch in value):
            raise ParamsError("a batch holds 1 image or more")
        return tuple(sorted({1, *value}))  # batch 1 is always reported


@dataclass(frozen=True)
class SpeedTask(DetectorTask):
    """One detector on one category."""

    device: Device
    threads: int | None
    warm_up: int
    iterations: int
    batches: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class Measurement:
    """One line of the benchmark.

    Attributes:
        protocol: ``published``, ``latency`` or ``throughput``.
        region: what was timed.
        device: on which, in words.
        threads: torch threads.
        bank_rows: vectors in the memory bank, None without one.
        model_mb: size of the saved tensors, MB (10^6 bytes).
        batch: images an iteration.
        iterations: timed.
        p50: median milliseconds an iteration; None where iterations were not waited for.
        p95: 95th percentile likewise.
        mean: mean milliseconds an iteration.
        fps: images a second.
        notes: for the reader.
    """

    protocol: str
    region: str
    device: str
    threads: int
    bank_rows: int | None
    model_mb: float
    batch: int
    iterations: int
    p50: float | None
    p95: float | None
    mean: float
    fps: float
    notes: tuple[str, ...] = ()


def overlapping(step: Callable[[], Any], wait: Callable[[], None], warm_up: int, iterations: int) -> float:
    """Seconds an iteration when none is waited for before the last has been launched."""
    for _ in range(warm_up):
        step()
    wait()
    started = time.perf_counter()
    for _ in range(iterations):
        step()
    wait()
    return (time.perf_counter() - started) / iterations


def one_by_one(step: Callable[[], Any], wait: Callable[[], None], warm_up: int, iterations: int) -> np.ndarray:
    """Seconds of each iteration (iterations,), each waited for."""
    for _ in range(warm_up):
        step()
    wait()
    seconds = np.empty(iterations)
    for index in range(iterations):
        started = time.perf_counter()
        step()
        wait()
        seconds[index] = time.perf_counter() - started
    return seconds


@torch.inference_mode()
def measure(task: SpeedTask) -> Iterator[Measurement]:
    """Every measurement of one detector.

    Raises:
        ParamsError: a GPU is asked for and there is none.
        SubbandError: the detector cannot be obtained.
    """
    if task.device == "cuda" and not torch.cuda.is_available():
        raise ParamsError("--device cuda: this worker has no GPU; leave --device out, or give Ray one")
    on_gpu = task.device != "cpu" and torch.cuda.is_available()
    where = torch.device("cuda" if on_gpu else "cpu")
    if task.threads is not None:
        torch.set_num_threads(task.threads)
    obtained = obtain(task.spec, task.source.category(task.category), task.source)
    category = obtained.category
    detector = obtained.detector.to(where)
    size = sum(tensor.numel() * tensor.element_size() for tensor in detector.state_dict().values())
    threads = torch.get_num_threads()

    def wait() -> None:
        if on_gpu:
            torch.cuda.synchronize()

    def line(
        protocol: str, region: str, batch: int, iterations: int, seconds: float, each: np.ndarray | None = None
    ) -> Measurement:
        p50, p95 = (None, None) if each is None else (float(x) for x in np.percentile(1000 * each, (50, 95)))
        name = torch.cuda.get_device_name() if on_gpu else "cpu"
        return Measurement(
            protocol, region, name, threads, detector.bank_rows, size / 1e6, batch, iterations, p50, p95,
            1000 * seconds, batch / seconds, obtained.notes,
        )  # fmt: skip

    side = detector.preprocess.image_size
    random = torch.randn((1, 3, side, side), generator=torch.Generator().manual_seed(task.seed)).to(where)
    separate = detector.grid_scores(random) is not None
    published: Callable[[], Any] = (lambda: detector.grid_scores(random)) if separate else (lambda: detector(random))
    seconds = overlapping(published, wait, task.warm_up, task.iterations)
    yield line("published", SEARCH if separate else WHOLE, 1, task.iterations, seconds)

    samples = (category.test or category.train)[: max(task.batches)]
    pictures = torch.from_numpy(load_images([sample.image for sample in samples], detector.preprocess))
    pictures = pictures.to(where).float() / 255

    def to_host(batch: Tensor) -> Callable[[], Tensor]:
        return lambda: detector(batch)[1].cpu()

    each = one_by_one(to_host(pictures[:1]), wait, task.warm_up, task.iterations)
    yield line("latency", TO_HOST, 1, task.iterations, float(each.mean()), each)
    for batch in task.batches:
        repeated = pictures[torch.arange(batch) % len(pictures)]
        iterations = max(task.iterations // batch, 2)
        try:
            seconds = overlapping(to_host(repeated), wait, min(task.warm_up, iterations), iterations)
        except torch.OutOfMemoryError:
            return  # larger ones would not fit either
        yield line("throughput", TO_HOST, batch, iterations, seconds)


def run(analysis: Analysis, settings: SpeedSettings) -> None:
    """Measure every detector on every category, one at a time; a table and a figure.

    Raises:
        SubbandError: a setting is wrong, or nothing could be measured.
    """
    dataset, source = settings.dataset(), settings.source()
    specs = parse_detectors(settings.detectors, source.data)
    if settings.smoke:
        settings = settings.model_copy(
            update={"iterations": _SMOKE_ITERATIONS, "warm_up": 1, "batches": _SMOKE_BATCHES}
        )
    chosen = {
        name: getattr(settings, name) for name in ("device", "threads", "warm_up", "iterations", "batches", "seed")
    }
    tasks = [SpeedTask(spec, name, source, **chosen) for name in dataset.categories for spec in specs]
    found: dict[str, tuple[SpeedTask, list[Measurement]]] = {}
    for task, measured in analysis.spread(measure, tasks, alone=True):
        found.setdefault(str(task), (task, []))[1].append(measured)
        spread = "" if measured.p50 is None else f", p50 {measured.p50:.2f} ms, p95 {measured.p95:.2f} ms"
        analysis.say(f"{task}: {measured.protocol}, batch {measured.batch}: {measured.fps:.1f} FPS{spread}")
        analysis.note(*(f"{task.category}: {note}" for note in measured.notes))
    analysis.note(
        "published and throughput overlap iterations; latency waits for every image; none includes decoding and resizing"
    )
    rows = [_row(task, each) for task, lines in found.values() for each in lines]
    analysis.table("fps", rows)
    kept = [_row(task, each) for task, lines in found.values() for each in _reported(lines)]
    columns = ("detector", "category", "bank_rows", "protocol", "batch", "p50_ms", "p95_ms", "fps")
    analysis.findings.shown["Speed"] = [{column: row[column] for column in columns} for row in kept]
    for task, lines in found.values():
        for each in _reported(lines):
            name = f"{task.category}/{each.protocol}_batch{each.batch}"
            analysis.number(f"{name}/fps/{task.spec.label}", each.fps)
            analysis.number(f"{name}/p50_ms/{task.spec.label}", each.p50)
            analysis.number(f"{name}/p95_ms/{task.spec.label}", each.p95)
    bars = [row for task, lines in found.values() if (row := _bar(str(task), lines)) is not None]
    if bars:
        devices = {(each.device, each.threads) for _, lines in found.values() for each in lines}
        where = "; ".join(f"{name}, {threads} threads" for name, threads in sorted(devices))
        analysis.figure("fps", speed_bars(bars, f"Speed on {where}"))


def _reported(lines: Sequence[Measurement]) -> list[Measurement]:
    """All but the batch sizes between 1 and the fastest."""
    batched = [each for each in lines if each.protocol == "throughput"]
    best = max(batched, key=lambda each: each.fps, default=None)
    return [each for each in lines if each.protocol != "throughput" or each.batch == 1 or each is best]


def _bar(name: str, lines: Sequence[Measurement]) -> SpeedRow | None:
    by_protocol = {
        protocol: [each for each in lines if each.protocol == protocol] for protocol in ("published", "latency")
    }
    batched = [each for each in lines if each.protocol == "throughput"]
    if not batched or not all(by_protocol.values()):
        return None
    latency, best = by_protocol["latency"][0], max(batched, key=lambda each: each.fps)
    return SpeedRow(
        name=name,
        p50=latency.p50 or 0.0,
        p95=latency.p95 or 0.0,
        published=by_protocol["published"][0].fps,
        single=batched[0].fps,
        best=best.fps,
        best_batch=best.batch,
    )


def _row(task: SpeedTask, measured: Measurement) -> dict[str, Any]:
    return {
        "detector": task.spec.label,
        "category": task.category,
        "device": measured.device,
        "threads": measured.threads,
        "bank_rows": "" if measured.bank_rows is None else measured.bank_rows,
        "model_mb": f"{measured.model_mb:.2f}",
        "protocol": measured.protocol,
        "region": measured.region,
        "batch": measured.batch,
        "iterations": measured.iterations,
        "p50_ms": "" if measured.p50 is None else f"{measured.p50:.3f}",
        "p95_ms": "" if measured.p95 is None else f"{measured.p95:.3f}",
        "mean_ms": f"{measured.mean:.3f}",
        "fps": f"{measured.fps:.2f}",
    }
