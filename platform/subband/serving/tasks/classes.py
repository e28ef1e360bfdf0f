"""Answers of classifiers: the most probable classes of every image."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import Response
from pydantic import BaseModel

from subband.serving.request import PredictRequest
from subband.serving.schemas import ClassPrediction, ClassScore


async def classes(request: PredictRequest) -> Response | BaseModel:
    """The most probable classes of every image, the most probable first."""
    request.check_options({"top"})
    request.refuse_png("a classifier draws nothing; jobs/explain.py shows what it looked at")
    model: Any = request.loaded.model
    work = partial(model.predict, top=request.options.top)
    found = await request.answers((model, request.options.top), work, await request.decoded(lambda picture: picture))
    return request.answer([_answer(guesses) for guesses in found])


def _answer(guesses: list[Any]) -> ClassPrediction:
    top = [ClassScore(label=guess.label, probability=guess.probability) for guess in guesses]
    best = top[0]
    return ClassPrediction(score=best.probability, label=best.label, probability=best.probability, top=top)
