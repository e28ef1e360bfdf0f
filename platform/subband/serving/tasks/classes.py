"""Answers of classifiers: the most probable classes of every picture."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import Response
from pydantic import BaseModel

from subband.serving.request import Asked
from subband.serving.schemas import ClassAnswer, ClassesAnswer


async def classes(asked: Asked) -> Response | BaseModel:
    """The most probable classes of every picture, the most probable first."""
    asked.check_options({"top"})
    asked.refuse_png("a classifier draws nothing; jobs/explain.py shows what it looked at")
    model: Any = asked.loaded.model
    work = partial(model.predict, top=asked.options.top)
    found = await asked.answers((model, asked.options.top), work, await asked.decoded(lambda picture: picture))
    return asked.answer([_answer(guesses) for guesses in found])


def _answer(guesses: list[Any]) -> ClassesAnswer:
    top = [ClassAnswer(label=guess.label, probability=guess.probability) for guess in guesses]
    return ClassesAnswer(label=top[0].label, probability=top[0].probability, top=top)
