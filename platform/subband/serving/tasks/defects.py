"""Answers of detectors and segmenters: scores, decisions, and maps of where the defect is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast
from urllib.parse import quote

import numpy as np
from fastapi import Response
from PIL.Image import Image
from pydantic import BaseModel

from subband.data import Preprocess
from subband.errors import ParamsError
from subband.methods import Calibration, Detector
from subband.methods.detector import NO_PIXEL_THRESHOLD
from subband.serving.heatmap import colour_scale, inspected_box, mask_png, overlay_png
from subband.serving.models import Loaded
from subband.serving.request import PredictRequest, gathered
from subband.serving.schemas import DefectPrediction, Frame, ImageSize, MapValues, PredictOptions


@dataclass(frozen=True)
class _Prepared:
    """A decoded image; its pixels are kept only where the answer shows them."""

    image_3SS: np.ndarray
    width: int
    height: int
    picture: Image | None


async def defects(request: PredictRequest) -> Response | BaseModel:
    """Scores and decisions of every image, or one image's map as PNG."""
    request.check_options({"threshold", "fpr", "pixel_threshold", "map"})
    options, detector = request.options, cast("Detector", request.loaded.model)
    as_png = request.as_png or options.map == "mask"
    if as_png:
        request.check_one_picture()
    calibration = _calibration(detector.calibration, options)
    segments = detector.task == "segmentation"
    pixels = calibration.threshold if segments else calibration.pixel_threshold
    if options.pixel_threshold is not None:
        pixels = options.pixel_threshold
    if options.map == "mask" and pixels is None:
        raise ParamsError(
            f"{request.loaded.entry.name}: {NO_PIXEL_THRESHOLD}, give pixel_threshold=VALUE, or ask for map=png or map=values"
        )

    def prepare(picture: Image) -> _Prepared:
        image_3SS = detector.preprocess.image(picture).transpose(2, 0, 1)
        return _Prepared(image_3SS, picture.width, picture.height, picture if as_png else None)

    prepared = await request.decoded(prepare)
    results = await gathered(*(request.batcher.score(detector, each.image_3SS) for each in prepared))
    answers = [
        _prediction(each, detector.preprocess, calibration, score, map_SS if options.map == "values" else None)
        for each, (map_SS, score) in zip(prepared, results, strict=True)
    ]
    if pixels is not None:
        areas = [float((map_SS > pixels).mean()) for map_SS, _ in results]
        answers = [each.model_copy(update={"defective_area": area}) for each, area in zip(answers, areas, strict=True)]
    if as_png and (picture := prepared[0].picture) is not None:
        map_SS, box = results[0][0], answers[0].frame.box
        if options.map == "mask" and pixels is not None:
            png = await request.elsewhere(mask_png, picture.size, map_SS, box, pixels)
        else:
            scale = colour_scale(detector.calibration, calibration.threshold, map_SS)
            png = await request.elsewhere(overlay_png, picture, map_SS, box, scale)
        return Response(png, media_type="image/png", headers=_headers(request.loaded, answers[0]))
    return request.answer(answers)


def _calibration(calibration: Calibration, options: PredictOptions) -> Calibration:
    if options.threshold is not None and options.fpr is not None:
        raise ParamsError("give threshold or fpr, not both: each of them decides alone")
    if options.threshold is not None:
        return calibration.with_threshold(options.threshold, "given in the request")
    if options.fpr is not None:
        return calibration.with_fpr(options.fpr)
    return calibration


def _prediction(
    prepared: _Prepared, preprocess: Preprocess, calibration: Calibration, score: float, map_SS: np.ndarray | None
) -> DefectPrediction:
    return DefectPrediction(
        score=score,
        threshold=calibration.threshold,
        defective=score > calibration.threshold,
        rule=calibration.rule,
        image_size=ImageSize(width=prepared.width, height=prepared.height),
        frame=Frame(size=preprocess.image_size, box=inspected_box(preprocess, prepared.width, prepared.height)),
        defective_area=None,
        map=None if map_SS is None else MapValues.of(map_SS),
    )


def _headers(loaded: Loaded, answer: DefectPrediction) -> dict[str, str]:
    """The decision beside a PNG; names and rules are percent-encoded where they are not ASCII."""
    return {
        "Subband-Name": quote(loaded.entry.name, safe=" "),
        "Subband-Version": quote(loaded.entry.version),
        "Subband-Method": loaded.model.method,
        "Subband-Score": repr(answer.score),
        "Subband-Threshold": repr(answer.threshold),
        "Subband-Defective": "true" if answer.defective else "false",
        "Subband-Rule": quote(answer.rule, safe=" ,;:()=%"),
    }
