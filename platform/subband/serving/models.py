"""Which models there are, which of them are in memory, and how a new version takes over.

Requests never ask a registry: a thread of its own does, every few seconds, and puts a new version in place only after it was
loaded. What was loaded goes on answering when the registry does not.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from subband.errors import ModelError, SubbandError, TrackingError, unknown_name
from subband.methods import Deployable
from subband.serving.sources import Source

log = logging.getLogger(__name__)

RETRY_SECONDS = 60.0
"""After a version failed to load, the same version is tried again in the background only after this long."""


class UnknownModelError(ModelError):
    """No model has that name."""


@dataclass(frozen=True)
class Entry:
    """One model as its source names it.

    Attributes:
        name: its name.
        version: its version there.
        source: where it comes from.
    """

    name: str
    version: str
    source: Source


@dataclass(frozen=True)
class Loaded:
    """One version of a model in memory."""

    entry: Entry
    model: Deployable


class Models:
    """Models by name, the most recently used ones in memory. Every method may be called from any thread.

    Life cycle: `start` looks at the sources once and then every `refresh_seconds`, until `close`. `get` loads what is not loaded.

    Args:
        sources: where models come from; of two with the same model, the first one serves it.
        keep: detectors kept in memory.
        device: where they compute.
    """

    def __init__(self, sources: Sequence[Source], keep: int, device: torch.device | str = "cpu") -> None:
        self.sources = tuple(sources)
        self.keep = keep
        self.device = torch.device(device)
        self._catalogue: dict[str, Entry] = {}
        self._versions: dict[Source, dict[str, str]] = {source: {} for source in self.sources}
        self._troubles: dict[Source, str] = {}
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()
        self._descriptions: dict[Entry, dict[str, Any]] = {}
        self._failed: dict[Entry, float] = {}
        self._lock = threading.Lock()
        self._loading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._stop = threading.Event()

    def start(self, refresh_seconds: float) -> None:
        """Look at the sources now and then every `refresh_seconds`."""
        self.refresh()

        def watch() -> None:
            while not self._stop.wait(refresh_seconds):
                try:
                    self.refresh()
                except Exception:
                    log.exception("looking for new models failed; it goes on")

        threading.Thread(target=watch, name="models", daemon=True).start()

    def close(self) -> None:
        """Stop looking for new versions."""
        self._stop.set()

    def refresh(self) -> None:
        """Ask every source once; new versions of loaded models are loaded, and serve only once they are."""
        for source in self.sources:
            self._ask(source)
        named = {
            name: Entry(name, version, source)
            for source in reversed(self.sources)
            for name, version in self._versions[source].items()
        }
        with self._lock:
            loaded = dict(self._loaded)
        for name, entry in named.items():
            if name in loaded and loaded[name].entry != entry and not self._renew(entry):
                named[name] = loaded[name].entry
        with self._lock:
            self._catalogue = named
            for name in [name for name in self._loaded if name not in named]:
                del self._loaded[name]
            self._descriptions = {
                entry: about for entry, about in self._descriptions.items() if entry in named.values()
            }
            self._failed = {entry: when for entry, when in self._failed.items() if entry.name in named}

    def names(self) -> list[str]:
        """Every known name, sorted."""
        with self._lock:
            return sorted(self._catalogue)

    def troubles(self) -> dict[str, str]:
        """Why a source does not answer at the moment, by source."""
        with self._lock:
            return {source.where: reason for source, reason in self._troubles.items()}

    def loaded(self) -> list[str]:
        """Names of the models in memory, least recently used first."""
        with self._lock:
            return list(self._loaded)

    def peek(self, name: str) -> Loaded | None:
        """The model if it is in memory; never waits."""
        with self._lock:
            if name in self._loaded:
                self._loaded.move_to_end(name)
            return self._loaded.get(name)

    def get(self, name: str) -> Loaded:
        """The model, loaded if it is not; requests for the same model load it once.

        Raises:
            UnknownModelError: no model has that name; near matches are given.
            TrackingError: its source does not answer.
            ModelError: it is damaged.
        """
        self.entry(name)
        with self._loading[name]:
            if (found := self.peek(name)) is not None:
                return found
            return self._load(self.entry(name))

    def entry(self, name: str) -> Entry:
        """Version and source of a model.

        Raises:
            UnknownModelError: no model has that name; near matches are given.
            TrackingError: no known model has that name, and a source does not answer.
        """
        with self._lock:
            if name in self._catalogue:
                return self._catalogue[name]
            names, troubles = sorted(self._catalogue), list(self._troubles.values())
        if troubles:
            raise TrackingError(
                f"{name!r} is not loaded, and not every source of models answers: {'; '.join(troubles)}"
            )
        if not names:
            raise UnknownModelError(f"{name!r} is not a model: there is none yet; a sweep registers its champions")
        raise UnknownModelError(unknown_name("model", name, names))

    def describe(self, name: str) -> tuple[Entry, dict[str, Any]]:
        """Version and description of a model; its tensors are not read.

        Raises:
            UnknownModelError: no model has that name; near matches are given.
            SubbandError: the description cannot be read.
        """
        entry = self.entry(name)
        with self._lock:
            known = self._descriptions.get(entry)
        if known is None:
            known = entry.source.describe(name, entry.version)
            with self._lock:
                self._descriptions[entry] = known
        return entry, known

    def _ask(self, source: Source) -> None:
        try:
            versions = source.versions()
        except SubbandError as error:
            with self._lock:
                is_new = source not in self._troubles
                self._troubles[source] = str(error)
            if is_new:
                log.warning("%s; what is known from there goes on", error)
            return
        with self._lock:
            self._versions[source] = versions
            recovered = self._troubles.pop(source, None)
        if recovered:
            log.warning("%s answers again", source.where)

    def _renew(self, entry: Entry) -> bool:
        """Load a new version of a loaded model; False if it cannot serve, so that the old one goes on."""
        if time.monotonic() < self._failed.get(entry, 0.0):
            return False
        try:
            with self._loading[entry.name]:
                self._load(entry)
        except Exception as error:  # whatever is wrong with the new version, the old one answers
            if entry not in self._failed:
                log.warning(
                    "%s: version %s cannot be loaded, the old one goes on: %s", entry.name, entry.version, error
                )
            self._failed[entry] = time.monotonic() + RETRY_SECONDS
            return False
        log.info("%s: version %s serves now", entry.name, entry.version)
        return True

    def _load(self, entry: Entry) -> Loaded:
        # A copy: safetensors maps its file into memory, and whoever overwrites or cuts a mapped file ends the process.
        model = copy.deepcopy(entry.source.load(entry.name, entry.version)).to(self.device)
        loaded = Loaded(entry, model)
        with self._lock:
            self._loaded[entry.name] = loaded
            self._loaded.move_to_end(entry.name)
            while len(self._loaded) > self.keep:
                self._loaded.popitem(last=False)
        return loaded
