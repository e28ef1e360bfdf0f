"""Exact greedy k-center over Ray workers, each of which holds a shard of the rows.

Each round every worker proposes its farthest rows, with certain bounds of their distances and a level that its other rows do not
exceed; the driver picks among the proposed rows as long as nobody else can be farther (`subband.banks.contest`), and the picks go
out together. So a round trip makes many picks, and they are those of `GreedyKCenter` on one machine, however many workers there
are: every decision is by certain bounds or by float64 distances of two rows, which no division changes.

Memory: a worker holds bounds of its rows and sees the picks' vectors (k x D) in the object store, once a machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import ray
import torch
from torch import Tensor

from subband.banks.bounds import Bounds
from subband.banks.candidates import Candidates, Shard
from subband.banks.contest import Contest
from subband.banks.kcenter import FarthestFirst
from subband.banks.rows import Rows
from subband.errors import ClusterError, ParamsError, SubbandError

Opener = Callable[[], Rows]
"""Gives the rows of a shard on the machine where it is called, by mapping a file for instance."""


class _Vectors:
    """Vectors of the picks in the order of picking, kept in the pieces in which they came."""

    def __init__(self) -> None:
        self.pieces: list[np.ndarray] = []
        self._rows: Rows | None = None

    def append(self, vectors: np.ndarray) -> None:
        self.pieces.append(vectors)
        self._rows = Rows([self.pieces])

    def __call__(self, positions: np.ndarray) -> Tensor:
        assert self._rows is not None
        return self._rows.take(positions)


class _Worker:
    """One shard in an actor. It is asked in this order: open, place, then again and again absorb and propose."""

    def open(self, opener: Opener) -> tuple[int, int]:
        self._rows = opener()
        return self._rows.shape

    def place(self, offset: int, name: str) -> None:
        self._vectors = _Vectors()
        self._shard = Shard(self._rows, offset, self._vectors, name=name)

    def absorb(self, ids: np.ndarray, vectors: np.ndarray, ours: np.ndarray, bounds: Bounds | None) -> None:
        self._vectors.append(vectors)
        self._shard.absorb(ids)
        if bounds is not None and len(ours):
            self._shard.write_back(ours, bounds)

    def propose(self, wanted: int, squared_radius: float) -> Candidates:
        self._shard.choose_precision(squared_radius)
        return self._shard.propose(wanted)

    def take(self, indices: np.ndarray) -> np.ndarray:
        return self._rows.take(indices).numpy()

    def distances(self) -> np.ndarray:
        return self._shard.distances()


class _Workers:
    """The shards' actors; one that dies is started anew and told all picks."""

    def __init__(self, openers: Sequence[Opener], cpus: float, restarts: int, name: str) -> None:
        self._openers = openers
        self._cpus = cpus
        self._restarts = restarts
        self._name = name
        self._vectors = _Vectors()
        self._told: list[tuple[np.ndarray, Any]] = []
        self._actors = [self._start() for _ in openers]
        try:
            shapes = self._ask_each("open", [(opener,) for opener in openers])
            if len({width for _, width in shapes}) != 1:
                raise ParamsError(f"the shards' vectors have different widths: {[width for _, width in shapes]}")
            self.edges = np.concatenate([[0], np.cumsum([count for count, _ in shapes])])
            self._ask_each("place", [(int(offset), name) for offset in self.edges[:-1]])
        except BaseException:
            self.close()
            raise

    def lookup(self, positions: np.ndarray) -> Tensor:
        return self._vectors(positions)

    def propose(self, wanted: int, squared_radius: float) -> list[Candidates]:
        share = max(16, -(-wanted // len(self._actors)))
        return self._ask_each("propose", [(share, squared_radius)] * len(self._actors))

    def absorb(self, ids: np.ndarray, vectors: Tensor, contest: Contest | None) -> None:
        piece = vectors.numpy()
        self._vectors.append(piece)
        stored = ray.put(piece)
        self._told.append((ids, stored))
        for actor, first, stop in zip(self._actors, self.edges[:-1], self.edges[1:], strict=True):
            if contest is None:
                actor.absorb.remote(ids, stored, ids[:0], None)
            else:
                own = np.flatnonzero((contest.ids >= first) & (contest.ids < stop))
                actor.absorb.remote(ids, stored, contest.ids[own], contest.bounds[own])

    def take(self, indices: np.ndarray) -> Tensor:
        """Vectors of rows, wherever they are."""
        where = np.searchsorted(self.edges, indices, side="right") - 1
        asked = [(indices[where == shard] - self.edges[shard],) for shard in range(len(self._actors))]
        found = self._ask_each("take", asked)
        vectors = np.empty((len(indices), found[0].shape[1]), np.float32)
        for shard, part in enumerate(found):
            vectors[where == shard] = part
        return torch.from_numpy(vectors)

    def distances(self) -> np.ndarray:
        return np.concatenate(self._ask_each("distances", [()] * len(self._actors)))

    def close(self) -> None:
        for actor in self._actors:
            ray.kill(actor)

    def _start(self) -> Any:
        return ray.remote(_Worker).options(num_cpus=self._cpus).remote()

    def _ask_each(self, question: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """One answer of every worker; all work at the same time."""
        asked = [getattr(actor, question).remote(*given) for actor, given in zip(self._actors, arguments, strict=True)]
        answers = []
        for number, answer in enumerate(asked):
            try:
                answers.append(ray.get(answer))
            except ray.exceptions.RayActorError as death:
                answers.append(self._ask_anew(number, question, arguments[number], death))
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, SubbandError):
                    raise error.cause from None
                raise
        return answers

    def _ask_anew(self, number: int, question: str, given: tuple[Any, ...], death: Exception) -> Any:
        """Start a worker again, tell it all picks and repeat the question."""
        while self._restarts > 0:
            self._restarts -= 1
            actor = self._actors[number] = self._start()
            try:
                if question != "open":
                    ray.get(actor.open.remote(self._openers[number]))
                if question not in ("open", "place"):
                    ray.get(actor.place.remote(int(self.edges[number]), self._name))
                    for ids, vectors in self._told:
                        ray.get(actor.absorb.remote(ids, vectors, ids[:0], None))
                return ray.get(getattr(actor, question).remote(*given))
            except ray.exceptions.RayActorError as again:
                death = again
        raise ClusterError(
            f"worker {number + 1} of {len(self._actors)} died, and no restart is left; a worker dies when its machine does or when "
            f"memory runs out (its shard's bounds need little, the mapped rows none): more workers with smaller shards may help"
        ) from death


class DistributedKCenter(FarthestFirst):
    """Exact greedy k-center over rows that lie with several Ray workers; picks and radii are those of `GreedyKCenter`.

    Use it in a `with` statement, which ends the workers. Ray must be connected (`subband.compute.cluster.connect`).

    Args:
        openers: one a worker; together the rows in their order. A function that maps a part of a file which every machine sees
            sends no rows; one that holds arrays sends them through the object store.
        start: index of the first pick in the whole.
        resume: picks and radii of an earlier `state`, after which to go on; the bounds are computed anew.
        cpus_per_worker: processors reserved for each.
        restarts: how many dead workers are started anew, in all.
        name: of the rows in messages.

    Raises:
        ClusterError: more processors than the cluster has, or a worker that died more often than `restarts`.
        DataError: a row that is not finite; the message has its index.
        ParamsError: no worker, shards of different widths, or a start outside the rows.
    """

    def __init__(
        self,
        openers: Sequence[Opener],
        start: int = 0,
        resume: Mapping[str, np.ndarray] | None = None,
        cpus_per_worker: float = 1,
        restarts: int = 2,
        name: str = "features",
    ) -> None:
        if not openers:
            raise ParamsError("a distributed selection needs at least one worker")
        there = ray.cluster_resources().get("CPU", 0)
        if len(openers) * cpus_per_worker > there:
            raise ClusterError(
                f"{len(openers)} workers of {cpus_per_worker:g} processors each do not fit: the cluster has {there:g}; "
                "take fewer workers"
            )
        self._workers = _Workers(openers, cpus_per_worker, restarts, name)
        count = int(self._workers.edges[-1])
        try:
            if not 0 <= start < count:
                raise ParamsError(f"start: row {start} does not exist; 0 to {count - 1} do")
            if resume is None:
                super().__init__(self._workers, count)
                self.begin(start, self._workers.take(np.array([start])))
            else:
                picks = np.asarray(resume["picks"], np.int64)
                super().__init__(self._workers, count, picks.tolist(), np.asarray(resume["radii"]).tolist())
                self._workers.absorb(picks, self._workers.take(picks), None)
        except BaseException:
            self.close()
            raise

    @property
    def distances(self) -> np.ndarray:
        """Exact distance (N,) float64 of every row to its nearest pick."""
        return self._workers.distances()

    def state(self) -> dict[str, np.ndarray]:
        """Picks and radii, which are enough to go on."""
        return {"picks": self.picks, "radii": self.radii}

    def close(self) -> None:
        """End the workers."""
        self._workers.close()

    def __enter__(self) -> DistributedKCenter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
