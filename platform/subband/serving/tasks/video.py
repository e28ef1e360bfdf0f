"""Answers of video predictors: the frames that follow those that were posted."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from fastapi import Response
from PIL import Image
from pydantic import BaseModel

from subband.data import decode_frames
from subband.errors import ParamsError, SubbandError
from subband.serving.request import PredictRequest
from subband.serving.schemas import FramesPrediction, MapValues, png_text


async def video(request: PredictRequest) -> Response | BaseModel:
    """The predicted frames as PNG files in JSON, as numbers, or side by side in one PNG.

    The frames that were seen come as the files of a form, oldest first, or as one image of many frames (GIF, TIFF, WebP, APNG).
    """
    request.check_options({"map"})
    if request.options.map == "mask":
        raise ParamsError(
            f"{request.loaded.entry.name} predicts frames, which have no mask; ask for map=png or map=values"
        )
    model: Any = request.loaded.model
    frames = await request.decoded_by(
        lambda upload: decode_frames(upload.data, upload.what, request.max_pixels, model.reading)
    )
    seen = [frame for part in frames for frame in part]

    def predict(sequences: list[list[Image.Image]]) -> list[Any]:
        answers: list[Any] = []
        for sequence in sequences:
            try:
                answers.append(model.predict(sequence))
            except SubbandError as error:  # of this sequence alone
                answers.append(error)
        return answers

    (predicted_TSS,) = await request.answers(model, predict, [seen])
    pixels = np.rint(255 * predicted_TSS).astype(np.uint8)
    if request.as_png:
        strip = io.BytesIO()
        Image.fromarray(np.concatenate(pixels, axis=1)).save(strip, "PNG")
        return Response(strip.getvalue(), media_type="image/png")
    prediction = FramesPrediction(
        frames=[] if request.options.map == "values" else [png_text(Image.fromarray(frame)) for frame in pixels],
        values=MapValues.of(predicted_TSS) if request.options.map == "values" else None,
    )
    return request.answer([prediction])
