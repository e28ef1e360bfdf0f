"""PredictRequest: one request for predictions on its way through the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from PIL.Image import Image
from pydantic import BaseModel

from subband.data import decode_image
from subband.errors import ParamsError
from subband.serving.batching import Batcher
from subband.serving.models import Loaded
from subband.serving.schemas import PredictAnswer, Prediction, PredictOptions
from subband.serving.uploads import Upload

T = TypeVar("T")


@dataclass(frozen=True)
class PredictRequest:
    """One predict request: model, decoded options, and the pools that serve it.

    Attributes:
        loaded: the model.
        uploads: its encoded images.
        options: of its address.
        as_png: whether an image is wanted instead of JSON.
        started: `time.perf_counter` when it came.
        batcher: the inference thread.
        decoders: threads that decode.
        max_pixels: largest image.
    """

    loaded: Loaded
    uploads: list[Upload]
    options: PredictOptions
    as_png: bool
    started: float
    batcher: Batcher
    decoders: ThreadPoolExecutor
    max_pixels: int | None

    def check_options(self, understood: set[str]) -> None:
        """Refuse options that this model's task has no use for.

        Raises:
            ParamsError: one was given.
        """
        model = self.loaded.model
        if other := sorted(self.options.model_fields_set - understood):
            legal = ", ".join(sorted(understood)) or "none"
            raise ParamsError(
                f"{self.loaded.entry.name} answers for {model.task}, where {other[0]} says nothing; options: {legal}"
            )

    def check_one_picture(self) -> None:
        """Refuse several files where one image is answered.

        Raises:
            ParamsError: there are several.
        """
        if len(self.uploads) > 1:
            raise ParamsError(
                f"a PNG shows one image, and the form holds {len(self.uploads)} files; send them one by one"
            )

    def refuse_png(self, because: str) -> None:
        """Refuse a request for an image where there is none to draw.

        Raises:
            ParamsError: one was asked for.
        """
        if self.as_png:
            raise ParamsError(f"{self.loaded.entry.name} is for {self.loaded.model.task}: {because}")

    async def decoded(self, then: Callable[[Image], T]) -> list[T]:
        """What a function makes of each decoded image, on the decoding threads.

        Raises:
            DataError: an upload is no image, or too large a one.
        """
        rule = self.loaded.model.reading
        return await self.decoded_by(lambda upload: then(decode_image(upload.data, upload.what, self.max_pixels, rule)))

    async def decoded_by(self, decode: Callable[[Upload], T]) -> list[T]:
        """What a function makes of each upload, on the decoding threads."""
        return await gathered(*(self.elsewhere(decode, upload) for upload in self.uploads))

    async def elsewhere(self, work: Callable[..., T], *arguments: Any) -> T:
        """The result of work that must not hold the event loop up."""
        return await asyncio.get_running_loop().run_in_executor(self.decoders, work, *arguments)

    async def answers(self, kind: Hashable, work: Callable[[list[Any]], Sequence[T]], items: Sequence[Any]) -> list[T]:
        """The answers for items, on the inference thread, in batches with those of other requests of that kind."""
        return await gathered(*(self.batcher.submit(kind, work, item) for item in items))

    def answer(self, predictions: Sequence[Prediction]) -> BaseModel:
        """Predictions of the uploads, in their order, with what every answer begins with."""
        form: Any = type(predictions[0])
        named = [
            prediction.model_copy(update={"file": upload.file})
            for upload, prediction in zip(self.uploads, predictions, strict=False)
        ]
        return PredictAnswer[form].model_construct(
            name=self.loaded.entry.name,
            version=self.loaded.entry.version,
            method=self.loaded.model.method,
            task=self.loaded.model.task,
            seconds=time.perf_counter() - self.started,
            predictions=named,
        )


async def gathered(*work: Any) -> list[Any]:
    """The results in order; the first error only after every other one has ended, so that nothing is left running unseen."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return list(results)
