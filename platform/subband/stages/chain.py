"""A method is a chain of stages; each stage names the parameters it reads. Each distinct stage is computed once.

The whole idea is in `Runner.key`: the key of a stage is the hash of the stage before it, its own name and version, and just the
parameters it reads. Two configurations that differ in a late parameter have equal early keys, and share that work through the
store, on whatever worker needed it first.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from subband.errors import StoreError
from subband.stages.store import BusyError, Chunk, Entry, Store


class ParamView:
    """The parameters a stage declared, and no others: reading another is an error, so no dependency goes unhashed."""

    def __init__(self, stage: str, values: Mapping[str, Any]) -> None:
        self._stage = stage
        self._values = values

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"stage {self._stage!r} reads parameter {name!r} without declaring it") from None


@dataclass(frozen=True)
class Stage:
    """One step of a method.

    Life cycle: `compute` is called when the stage's key is not in the store, on the one worker that holds the key's lock.
    It may ask for the stages before it (computed first if needed) and for the source; it never sees labels.

    Attributes:
        name: unique in its chain.
        version: raised whenever `compute` would give something else for the same inputs.
        reads: names of the parameters it depends on; `compute` can see only these.
        compute: (upstream, params, source) -> one chunk, or an iterable of chunks whose rows are appended.
        content: what else the result depends on, as text (for instance the digest of a weights file).
        keep: whether the result is stored; a result cheaper to compute than to read back is only held in memory.
        per_picture: whether each array has a row an image, in their order, that depends on this image alone; such rows may be
            computed by several workers and joined.
    """

    name: str
    version: int
    reads: tuple[str, ...]
    compute: Callable[[Upstream, ParamView, Any], Chunk | Iterable[Chunk]]
    content: Callable[[ParamView], str] | None = None
    keep: bool = True
    per_picture: bool = False

    def view(self, params: Mapping[str, Any]) -> ParamView:
        """The declared part of the params."""
        return ParamView(self.name, {name: params[name] for name in self.reads})


Chain = tuple[Stage, ...]


def per_picture_part(chain: Chain) -> Chain:
    """The longest run of first stages that images can be divided for."""
    return tuple(itertools.takewhile(lambda stage: stage.per_picture, chain))


class Upstream(Protocol):
    """Gives results of stages before, computing them only when called."""

    def __call__(self, stage: str | None = None, /) -> Entry:
        """The result of the stage before, or of an earlier stage of the chain by its name: its key is part of this one's."""
        ...


WAITING = "store"
"""Name under which a runner counts the seconds of reading and writing the store, and of waiting for other workers."""


class Runner:
    """Runs chains for one source (the images of one category) on one worker.

    Args:
        source: handed to every stage; images without labels.
        fingerprint: of the source's content; the root of every key.
        store: where kept stages lie, or None to hold everything in memory (same results, nothing shared).
        memory_entries: how many recent results this worker holds open; by default 8, and without a store as many as the longest
            chain has stages, since what is let go of must be computed again.
    """

    def __init__(self, source: Any, fingerprint: str, store: Store | None, memory_entries: int | None = None) -> None:
        self.source = source
        self.fingerprint = fingerprint
        self.store = store
        self.seconds: dict[str, float] = {}
        self.computed: dict[str, int] = {}
        self._recent: OrderedDict[str, Entry] = OrderedDict()
        self._memory_entries = memory_entries or (8 if store else 32)
        self._nested: list[float] = []

    def key(self, chain: Chain, params: Mapping[str, Any]) -> str:
        """Content key of the chain's last stage under these params: hexadecimal, 40 characters."""
        key = self.fingerprint
        for stage in chain:
            view = stage.view(params)
            content = stage.content(view) if stage.content else ""
            parts = [key, stage.name, stage.version, {name: params[name] for name in stage.reads}, content]
            key = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:40]
        return key

    def prepare(self, chain: Chain, params: Mapping[str, Any]) -> None:
        """Compute the chain's last stage into the store, unless it is there or another worker is at it."""
        with contextlib.suppress(BusyError):
            self.run(chain, params, wait=False)

    def run(self, chain: Chain, params: Mapping[str, Any], wait: bool = True) -> Entry:
        """Result of the chain's last stage; what is stored is read, what is missing is computed.

        Args:
            chain: the stages, first to last.
            params: every parameter the stages read, as plain values.
            wait: whether to wait for another worker that is computing the last stage.

        Raises:
            BusyError: another worker is, and `wait` is false.
        """
        stage, before = chain[-1], chain[:-1]
        key = self.key(chain, params)
        if key in self._recent:
            self._recent.move_to_end(key)
            return self._recent[key]
        started = time.perf_counter()
        computing = 0.0
        self._nested.append(0.0)

        def upstream(name: str | None = None) -> Entry:
            return self.run(before if name is None else _up_to(before, name), params)

        def compute() -> Iterable[Chunk]:
            nonlocal computing
            begun = time.perf_counter()
            result = stage.compute(upstream, stage.view(params), self.source)
            if isinstance(result, Mapping):
                yield result
            else:
                yield from result
            computing = time.perf_counter() - begun - self._nested[-1]
            self.computed[stage.name] = self.computed.get(stage.name, 0) + 1

        try:
            if self.store is not None and stage.keep:
                entry, _ = self.store.get_or_compute(key, compute, _about(stage, params), wait)
            else:
                entry = _in_memory(compute())
        finally:
            spent = time.perf_counter() - started
            inside = self._nested.pop()
            if self._nested:
                self._nested[-1] += spent
            self._add(stage.name, computing)
            self._add(WAITING, max(spent - computing - inside, 0.0))
        self._recent[key] = entry
        while len(self._recent) > self._memory_entries:
            self._recent.popitem(last=False)
        return entry

    def stored(self, chain: Chain, params: Mapping[str, Any]) -> Entry | None:
        """The chain's last stage if the store has it; nothing is computed."""
        return self.store.get(self.key(chain, params)) if self.store is not None else None

    def join(self, chain: Chain, params: Mapping[str, Any], parts: Sequence[Runner]) -> None:
        """Store the chain's last stage, whose rows other runners have stored: the entry is the one that `run` would give.

        Args:
            chain: stages of which each is `per_picture`.
            params: every parameter the stages read.
            parts: runners with the same store whose sources are this one's images, divided: fitted and scored ones in order.

        Raises:
            StoreError: a part's rows are not in the store.
            ValueError: a stage of the chain is not `per_picture`, or there is no store.
        """
        if self.store is None or len(per_picture_part(chain)) < len(chain):
            raise ValueError(f"{chain[-1].name} cannot be joined: it needs a store, and stages that are per_picture")
        store, found = self.store, [part.stored(chain, params) for part in parts]
        whole = [entry for entry in found if entry is not None]
        if len(whole) < len(found):
            raise StoreError(
                f"part {found.index(None) + 1} of {len(found)} of {chain[-1].name} is not in {store.folder}: all workers must use "
                f"this folder, and its budget of {store.budget_bytes / 1e9:.1f} GB must hold all parts at a time (--store-gb)"
            )

        def rows() -> Iterator[Chunk]:
            for entry in whole:
                for name in entry.arrays:
                    yield from ({name: batch} for batch in entry.batches(name))

        store.get_or_compute(self.key(chain, params), rows, _about(chain[-1], params))

    def discard(self, chain: Chain, params: Mapping[str, Any]) -> None:
        """Take every stage of the chain out of the store."""
        for length in range(1, len(chain) + 1):
            key = self.key(chain[:length], params)
            self._recent.pop(key, None)
            if self.store is not None:
                self.store.discard(key)

    def _add(self, name: str, seconds: float) -> None:
        if seconds > 0:
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds


def _about(stage: Stage, params: Mapping[str, Any]) -> dict[str, Any]:
    return {"stage": stage.name, "params": {name: params[name] for name in stage.reads}}


def _up_to(chain: Chain, name: str) -> Chain:
    names = [stage.name for stage in chain]
    if name not in names:
        raise ValueError(f"no stage {name!r} comes before; there are {', '.join(names)}")
    return chain[: names.index(name) + 1]


def _in_memory(chunks: Iterable[Chunk]) -> Entry:
    arrays: dict[str, list[Any]] = {}
    values: dict[str, Any] = {}
    for chunk in chunks:
        for name, value in chunk.items():
            if isinstance(value, np.ndarray):
                arrays.setdefault(name, []).append(value)
            else:
                values[name] = value
    return Entry({n: parts[0] if len(parts) == 1 else np.concatenate(parts) for n, parts in arrays.items()}, values)
