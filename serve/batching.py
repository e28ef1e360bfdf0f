"""Pictures that wait together are scored together.

A free worker takes whatever waits, at once: a lone picture never waits for company, and under load the batches fill by themselves.
`serve.batch` forms a batch before it is known when that batch can run, so that it either waits for a fixed time with every lone
picture or never fills (Ray 2.60, ``_BatchQueue._process_batches``).
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from subband.errors import ModelError
from subband.methods import Detector


@dataclass(frozen=True)
class _Waiting:
    detector: Detector
    image_3SS: np.ndarray
    answer: asyncio.Future[tuple[np.ndarray, float]]


class Batcher:
    """Scores pictures on one thread, off the event loop, in batches that never mix detectors.

    Args:
        size: pictures in a batch, at most.
        threads: torch threads of a batch.
    """

    def __init__(self, size: int, threads: int) -> None:
        self.size = size
        # torch keeps the number of threads by thread, so the one that computes must set it.
        self._thread = ThreadPoolExecutor(1, "inference", initializer=torch.set_num_threads, initargs=(threads,))
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def score(self, detector: Detector, image_3SS: np.ndarray) -> tuple[np.ndarray, float]:
        """Anomaly map (S, S) and score of one preprocessed picture, uint8 (3, S, S).

        Raises:
            ModelError: the detector gives a score that is not a number.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(detector, image_3SS, loop.create_future())
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
            images_N3SS = np.stack([waiting.image_3SS for waiting in batch])
            try:
                maps_NSS, scores_N = await loop.run_in_executor(
                    self._thread, batch[0].detector.score, images_N3SS, self.size
                )
            except Exception as error:
                for waiting in batch:
                    if not waiting.answer.done():
                        waiting.answer.set_exception(error)
                continue
            for waiting, map_SS, score in zip(batch, maps_NSS, scores_N, strict=True):
                if waiting.answer.done():
                    continue
                if np.isfinite(score):
                    waiting.answer.set_result((map_SS, float(score)))
                else:
                    waiting.answer.set_exception(ModelError(f"the detector gives the score {score}; fit it again"))

    def _next(self) -> list[_Waiting]:
        """Who came first, and others that wait for the same detector."""
        self._waiting = [waiting for waiting in self._waiting if not waiting.answer.done()]  # clients that have left
        if not self._waiting:
            return []
        first = self._waiting[0].detector
        batch = [waiting for waiting in self._waiting if waiting.detector is first][: self.size]
        taken = set(map(id, batch))
        self._waiting = [waiting for waiting in self._waiting if id(waiting) not in taken]
        return batch
