"""Answers of object detectors: boxes, classes, scores and masks of what was found in every image."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

import numpy as np
from fastapi import Response
from matplotlib import colormaps
from PIL import Image, ImageDraw
from pydantic import BaseModel

from subband.serving.request import PredictRequest
from subband.serving.schemas import FoundObject, ImageSize, ObjectsPrediction

COLOURS = "tab10"
OPACITY = 0.45


async def objects(request: PredictRequest) -> Response | BaseModel:
    """The objects of every image as JSON, or those of one image drawn, or their pixels."""
    request.check_options({"score", "map"})
    model: Any = request.loaded.model
    mask_only = request.options.map == "mask"
    if request.as_png or mask_only:
        request.check_one_picture()
    pictures = await request.decoded(lambda picture: picture)
    work = partial(model.predict, score=request.options.score)
    found = await request.answers((model, request.options.score), work, pictures)
    if request.as_png or mask_only:
        draw = mask_png if mask_only else partial(drawn_png, classes=model.classes)
        return Response(await request.elsewhere(draw, pictures[0], found[0]), media_type="image/png")
    with_masks = request.options.map == "values"
    return request.answer([_answer(each, model.classes, with_masks) for each in found])


def _answer(found: Any, classes: tuple[str, ...], with_masks: bool) -> ObjectsPrediction:
    width, height = found.size
    scores = found.scores.tolist()
    return ObjectsPrediction(
        score=max(scores, default=None),
        objects=[
            FoundObject(label=classes[label], score=score, box=tuple(box), mask=dict(runs) if with_masks else None)
            for box, label, score, runs in zip(
                found.boxes.tolist(), found.labels.tolist(), scores, found.runs, strict=True
            )
        ],
        image_size=ImageSize(width=width, height=height),
    )


def drawn_png(picture: Image.Image, found: Any, classes: tuple[str, ...]) -> bytes:
    """The image with every object's mask, box, class and score, as PNG of the image's size."""
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
