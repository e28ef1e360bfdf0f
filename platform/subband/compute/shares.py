"""The one calculation of CPU and GPU shares: of trials, of tasks, and of the workers of a group. Ray must be connected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import ray

from subband.errors import ParamsError

Nodes = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Share:
    """How equal pieces of work share the cluster.

    Attributes:
        at_a_time: pieces that run at the same time.
        cpus: CPUs, and torch threads, of each worker of a piece.
        gpus: GPUs of each worker, possibly a part of one.
    """

    at_a_time: int
    cpus: int
    gpus: float


@dataclass(frozen=True)
class WorkerShare:
    """CPUs and GPU of each worker of a group, and what they were decided by.

    Attributes:
        gpu: whether it has a GPU for itself.
        cpus: its CPUs.
        reason: what the cluster has.
    """

    gpu: bool
    cpus: int
    reason: str

    def __str__(self) -> str:
        return "a GPU" if self.gpu else f"{self.cpus} CPUs"


def cluster_size() -> tuple[int, int]:
    """CPUs (at least 1) and GPUs of the cluster."""
    found = ray.cluster_resources()
    return max(int(found.get("CPU", 1)), 1), int(found.get("GPU", 0))


def equal_share(at_a_time: int, workers_each: int = 1, widen: bool = True) -> Share:
    """The share of pieces of work of which so many run at a time.

    Args:
        at_a_time: pieces at a time.
        workers_each: workers of a piece; those of a group have whole GPUs or none, a single one may share one with others.
        widen: whether a worker gets its part of all CPUs, at most those of one machine; otherwise it gets one.
    """
    cpus, gpus = cluster_size()
    workers = at_a_time * workers_each
    share = min(gpus / workers, 1.0)
    return Share(
        at_a_time,
        max(1, min(cpus // workers, _widest(_alive_nodes()))) if widen else 1,
        share if workers_each == 1 else float(share >= 1),
    )


def whole_machine() -> Share:
    """One piece of work at a time with all CPUs of the widest machine and a GPU if there is one, for measurements of time."""
    _, gpus = cluster_size()
    nodes = [node for node in _alive_nodes() if not gpus or node.get("GPU", 0)]
    return Share(1, _widest(nodes), float(min(gpus, 1)))


def worker_share(workers: int, device: Literal["auto", "gpu", "cpu"], cpus: int | None) -> WorkerShare:
    """Divide the cluster among the workers of one group; whether they fit, `check_fit` says.

    Args:
        workers: how many.
        device: ``auto`` gives each a GPU where there are enough.
        cpus: CPUs of each; None divides those of the cluster.
    """
    there, gpus = cluster_size()
    gpu = device == "gpu" or (device == "auto" and gpus >= workers)
    return WorkerShare(
        gpu, cpus or _equal_cpus(_alive_nodes(), workers, gpu), f"the cluster has {there} CPUs and {gpus} GPUs"
    )


def check_fit(workers: int, cpus_per_worker: int, use_gpu: bool) -> None:
    """Refuse a group that would wait for ever.

    Raises:
        ParamsError: it needs more than the cluster has; the message says what that is, and what would fit.
    """
    if workers < 1:
        raise ParamsError(f"workers {workers}: give at least 1")
    if cpus_per_worker < 1:
        raise ParamsError(f"cpus_per_worker {cpus_per_worker}: give at least 1")
    nodes = _alive_nodes()
    cpus, gpus = (sum(int(node.get(kind, 0)) for node in nodes) for kind in ("CPU", "GPU"))
    if use_gpu and workers > gpus:
        instead = f"give at most {gpus} workers, or" if gpus else "there is none:"
        raise ParamsError(
            f"{workers} workers with a GPU each do not fit: the cluster has {gpus} GPUs; {instead} do without GPUs"
        )
    if cpus_per_worker > _widest(nodes):
        raise ParamsError(
            f"a worker of {cpus_per_worker} CPUs fits no machine: the widest of the cluster has {_widest(nodes)}; give at most so "
            "many"
        )
    # A Tune trial that starts the group keeps the CPUs that it runs on.
    held = _held_cpus()
    fitting = sum(_rooms(nodes, cpus_per_worker, use_gpu))
    if held:
        fitting = min(fitting, int((cpus - held) // cpus_per_worker))
    if workers > fitting:
        beside = f", {held:g} of which this trial itself holds," if held else ""
        raise ParamsError(
            f"{workers} workers of {cpus_per_worker} CPUs do not fit: the cluster has {cpus} CPUs{beside} on {len(nodes)} "
            f"machines; " + (f"give at most {fitting} workers" if fitting else "give each worker fewer CPUs")
        )


def _alive_nodes() -> Nodes:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _widest(nodes: Nodes) -> int:
    """A worker lies on one machine: it has no more CPUs than the largest."""
    return max((int(node.get("CPU", 0)) for node in nodes), default=1)


def _equal_cpus(nodes: Nodes, workers: int, gpu: bool) -> int:
    """The most CPUs that each worker can have, whole workers on each machine; 1 where they do not fit at all."""
    most = int(sum(node.get("CPU", 0) for node in nodes)) // workers
    return next((cpus for cpus in range(most, 1, -1) if sum(_rooms(nodes, cpus, gpu)) >= workers), 1)


def _rooms(nodes: Nodes, cpus: int, gpu: bool) -> list[int]:
    """Workers that each machine has room for."""
    rooms = [int(node.get("CPU", 0)) // cpus for node in nodes]
    return [min(room, int(node.get("GPU", 0))) for room, node in zip(rooms, nodes, strict=True)] if gpu else rooms


def _held_cpus() -> float:
    """CPUs of the task or actor that this code runs in; 0 in a driver."""
    if ray.get_runtime_context().worker.mode != ray.WORKER_MODE:
        return 0.0
    return float(ray.get_runtime_context().get_assigned_resources().get("CPU", 0))
