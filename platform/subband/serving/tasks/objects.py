"""Answers of object detectors: boxes, classes, scores and masks of what was found in every picture."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

import numpy as np
from fastapi import Response
from matplotlib import colormaps
from PIL import Image, ImageDraw
from pydantic import BaseModel

from subband.serving.request import Asked
from subband.serving.schemas import ImageSize, ObjectAnswer, ObjectsAnswer

COLOURS = "tab10"
OPACITY = 0.45


async def objects(asked: Asked) -> Response | BaseModel:
    """The objects of every picture as JSON, or those of one picture drawn, or their pixels."""
    asked.check_options({"score", "map"})
    model: Any = asked.loaded.model
    mask_only = asked.options.map == "mask"
    if asked.as_png or mask_only:
        asked.check_one_picture()
    pictures = await asked.decoded(lambda picture: picture)
    work = partial(model.predict, score=asked.options.score)
    found = await asked.answers((model, asked.options.score), work, pictures)
    if asked.as_png or mask_only:
        draw = mask_png if mask_only else partial(drawn_png, classes=model.classes)
        return Response(await asked.elsewhere(draw, pictures[0], found[0]), media_type="image/png")
    with_masks = asked.options.map == "values"
    return asked.answer([_answer(each, model.classes, with_masks) for each in found])


def _answer(found: Any, classes: tuple[str, ...], with_masks: bool) -> ObjectsAnswer:
    width, height = found.size
    return ObjectsAnswer(
        objects=[
            ObjectAnswer(label=classes[label], score=score, box=tuple(box), mask=dict(runs) if with_masks else None)
            for box, label, score, runs in zip(
                found.boxes.tolist(), found.labels.tolist(), found.scores.tolist(), found.runs, strict=True
            )
        ],
        image_size=ImageSize(width=width, height=height),
    )


def drawn_png(picture: Image.Image, found: Any, classes: tuple[str, ...]) -> bytes:
    """The picture with every object's mask, box, class and score, as PNG of the picture's size."""
    colours = np.rint(255 * colormaps[COLOURS](np.arange(len(classes)) % 10)[:, :3]).astype(int)
    canvas = picture.convert("RGB")
    for label, mask_HW in zip(found.labels, found.masks, strict=True):
        opacity = Image.fromarray(np.where(mask_HW, np.uint8(255 * OPACITY), np.uint8(0)))
        canvas.paste(tuple(map(int, colours[label])), (0, 0), opacity)
    pen = ImageDraw.Draw(canvas)
    for box, label, score in zip(found.boxes.tolist(), found.labels, found.scores, strict=True):
        colour = tuple(map(int, colours[label]))
        pen.rectangle(box, outline=colour)
        pen.text((box[0] + 2, box[1] + 1), f"{classes[label]} {score:.2f}", fill=colour)
    return _png(canvas)


def mask_png(picture: Image.Image, found: Any) -> bytes:
    """The pixels that belong to any object, as an 8-bit PNG of 0 and 255."""
    covered_HW = found.masks.any(axis=0) if len(found) else np.zeros(picture.size[::-1], bool)
    return _png(Image.fromarray(np.where(covered_HW, np.uint8(255), np.uint8(0))))


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
