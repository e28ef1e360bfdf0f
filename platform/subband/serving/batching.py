"""What waits together is answered together.

A free worker takes whatever waits, at once: a lone image never waits for company, and under load the batches fill by themselves.
`serve.batch` forms a batch before it is known when that batch can run, so that it either waits for a fixed time with every lone
image or never fills (Ray 2.60, ``_BatchQueue._process_batches``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from subband.errors import ModelError
from subband.methods import Detector

Work = Callable[[list[Any]], Sequence[Any]]
"""Answers for items in their order; an exception in the place of an answer is raised to the one who asked for it."""


@dataclass(frozen=True)
class _Waiting:
    kind: Hashable
    work: Work
    item: Any
    answer: asyncio.Future[Any]


class Batcher:
    """Answers on one thread, off the event loop, in batches that never mix kinds of work.

    Args:
        size: items in a batch, at most.
        threads: torch threads of a batch.
    """

    def __init__(self, size: int, threads: int) -> None:
        self.size = size
        # torch keeps the number of threads by thread, so the one that computes must set it.
        self._thread = ThreadPoolExecutor(1, "inference", initializer=torch.set_num_threads, initargs=(threads,))
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def score(self, detector: Detector, image_3SS: np.ndarray) -> tuple[np.ndarray, float]:
        """Anomaly map (S, S) and score of one preprocessed image, uint8 (3, S, S).

        Raises:
            ModelError: the detector gives a score that is not a number.
        """
        found: tuple[np.ndarray, float] = await self.submit(detector, partial(_scores, detector, self.size), image_3SS)
        return found

    async def submit(self, kind: Hashable, work: Work, item: Any) -> Any:
        """The answer for one item.

        Args:
            kind: items of equal kind may be answered in one batch.
            work: answers for the items of a batch, on the inference thread.
            item: of this request.

        Raises:
            Exception: whatever the work raises.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(kind, work, item, loop.create_future())
        self._waiting.append(waiting)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._work())
        return await waiting.answer

    async def ping(self) -> None:
        """Return once the inference thread has taken up something new."""
        await asyncio.get_running_loop().run_in_executor(self._thread, int)

    def close(self) -> None:
        """Stop the thread after the batch that runs."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next():
            try:
                answers = await loop.run_in_executor(self._thread, batch[0].work, [waiting.item for waiting in batch])
            except Exception as error:
                for waiting in batch:
                    if not waiting.answer.done():
                        waiting.answer.set_exception(error)
                continue
            for waiting, answer in zip(batch, answers, strict=True):
                if waiting.answer.done():
                    continue
                if isinstance(answer, Exception):
                    waiting.answer.set_exception(answer)
                else:
                    waiting.answer.set_result(answer)

    def _next(self) -> list[_Waiting]:
        """Who came first, and others that wait for the same."""
        self._waiting = [waiting for waiting in self._waiting if not waiting.answer.done()]  # clients that have left
        if not self._waiting:
            return []
        first = self._waiting[0].kind
        batch = [waiting for waiting in self._waiting if waiting.kind == first][: self.size]
        taken = set(map(id, batch))
        self._waiting = [waiting for waiting in self._waiting if id(waiting) not in taken]
        return batch


def _scores(detector: Detector, size: int, images: list[Any]) -> list[Any]:
    maps_NSS, scores_N = detector.score(np.stack(images), size)
    return [
        (map_SS, float(score))
        if np.isfinite(score)
        else ModelError(f"the detector gives the score {score}; fit it again")
        for map_SS, score in zip(maps_NSS, scores_N, strict=True)
    ]
