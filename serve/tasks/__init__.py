"""What a model answers, by its task: one file a form of answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from fastapi import Response
from pydantic import BaseModel

from serve.request import Asked
from serve.tasks.classes import classes
from serve.tasks.defects import defects
from serve.tasks.objects import objects
from serve.tasks.video import video
from subband.errors import ModelError

_OF_TASK: Mapping[str, Callable[[Asked], Awaitable[Response | BaseModel]]] = {
    "anomaly detection": defects,
    "segmentation": defects,
    "classification": classes,
    "object detection": objects,
    "video prediction": video,
}


async def respond(asked: Asked) -> Response | BaseModel:
    """The answer of a model of any task.

    Raises:
        SubbandError: the request cannot be answered; the message says why.
    """
    task = asked.loaded.model.task
    if task not in _OF_TASK:
        raise ModelError(
            f"{asked.loaded.entry.name} is for {task}, for which this server has no answers; it knows {', '.join(_OF_TASK)}"
        )
    return await _OF_TASK[task](asked)
