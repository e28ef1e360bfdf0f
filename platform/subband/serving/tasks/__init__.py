"""What a model answers, by its task: one file a form of answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from fastapi import Response
from pydantic import BaseModel

from subband.errors import ModelError
from subband.methods import Task
from subband.serving.request import PredictRequest
from subband.serving.tasks.classes import classes
from subband.serving.tasks.defects import defects
from subband.serving.tasks.objects import objects
from subband.serving.tasks.video import video

_OF_TASK: Mapping[Task, Callable[[PredictRequest], Awaitable[Response | BaseModel]]] = {
    "anomaly detection": defects,
    "segmentation": defects,
    "classification": classes,
    "object detection": objects,
    "video prediction": video,
}


async def respond(request: PredictRequest) -> Response | BaseModel:
    """The answer of a model of any task.

    Raises:
        SubbandError: the request cannot be answered; the message says why.
    """
    task = request.loaded.model.task
    if task not in _OF_TASK:
        raise ModelError(
            f"{request.loaded.entry.name} is for {task}, for which this server has no answers; it knows {', '.join(_OF_TASK)}"
        )
    return await _OF_TASK[task](request)
