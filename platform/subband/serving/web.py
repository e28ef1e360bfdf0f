"""The HTTP interface. It knows neither Ray nor MLflow: `make_api` gives a plain FastAPI application."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from subband import __version__
from subband.data.threads import thread_count
from subband.errors import DataError, ParamsError, SubbandError, TrackingError
from subband.methods import Calibration, Detector
from subband.serving.batching import Batcher
from subband.serving.models import Models, UnknownModelError
from subband.serving.request import PredictRequest
from subband.serving.schemas import (
    ClassPrediction,
    DefectPrediction,
    ErrorAnswer,
    ErrorBody,
    FramesPrediction,
    HealthAnswer,
    ModelAnswer,
    ModelsAnswer,
    ObjectsPrediction,
    PredictAnswer,
    PredictOptions,
)
from subband.serving.settings import ServeSettings
from subband.serving.tasks import respond
from subband.serving.uploads import BodyTooLargeError, read_uploads
from subband.validating import validated

log = logging.getLogger(__name__)

HEALTH_SECONDS = 10.0
RETRY_SECONDS = 5

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (UnknownModelError, 404),
    (BodyTooLargeError, 413),
    (ParamsError, 400),
    (DataError, 422),
    (TrackingError, 503),
    (SubbandError, 500),
)
_MULTIPART = {
    "type": "object",
    "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
}
_PREDICTED: Any = (
    PredictAnswer[DefectPrediction]
    | PredictAnswer[ClassPrediction]
    | PredictAnswer[ObjectsPrediction]
    | PredictAnswer[FramesPrediction]
)
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The bytes of a PNG, JPEG, BMP, TIFF, WebP, GIF or PPM file, or a form of such files.",
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {"schema": _MULTIPART},
        },
    }
}


@dataclass(frozen=True)
class Service:
    """What the routes work with.

    Attributes:
        models: which models there are.
        batcher: the inference thread.
        settings: limits.
    """

    models: Models
    batcher: Batcher
    settings: ServeSettings


def make_api(service: Service) -> FastAPI:
    """The application that answers for these models."""
    api = FastAPI(title="subband", version=__version__, description="Vision models over HTTP.")
    models, batcher, settings = service.models, service.batcher, service.settings
    decoders = ThreadPoolExecutor(thread_count(), "decode")
    errors: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorAnswer} for status in (400, 404, 413, 422, 500, 503)
    }

    @api.post(
        "/v1/models/{name}/predict",
        response_model=_PREDICTED,
        responses={**errors, 200: {"content": {"image/png": {}}}},
        openapi_extra=_BODY,
        summary="Ask a model about one image, or several files of a form",
    )
    async def predict(name: str, request: Request, options: Annotated[PredictOptions, Query()]) -> Response:
        started = time.perf_counter()
        models.entry(name)  # before the body is read
        as_png = _wants_png(options, request)
        uploads = await read_uploads(request, int(settings.max_body_mb * 1e6), settings.max_images)
        loaded = models.peek(name)
        if loaded is None:
            loaded = await asyncio.to_thread(models.get, name)
        answer = await respond(
            PredictRequest(loaded, uploads, options, as_png, started, batcher, decoders, settings.max_pixels)
        )
        return answer if isinstance(answer, Response) else _json(answer)

    @api.get("/v1/models", response_model=ModelsAnswer, summary="What is served")
    async def list_models() -> Response:
        described = await asyncio.to_thread(lambda: [_model_answer(models, name) for name in models.names()])
        found = [answer for answer in described if answer is not None]
        return _json(ModelsAnswer(models=found, troubles=models.troubles()))

    @api.get("/v1/models/{name}", response_model=ModelAnswer, responses=errors, summary="One model")
    async def one_model(name: str) -> Response:
        models.entry(name)
        answer = await asyncio.to_thread(_model_answer, models, name)
        if answer is None:
            raise UnknownModelError(f"{name!r} is not served any more")
        return _json(answer)

    @api.get(
        "/healthz", response_model=HealthAnswer, responses={503: {"model": HealthAnswer}}, summary="Can it answer?"
    )
    async def health() -> Response:
        try:
            await asyncio.wait_for(batcher.ping(), HEALTH_SECONDS)
            reason = await asyncio.to_thread(_why_unable, models)
        except asyncio.TimeoutError:
            reason = f"the inference thread has not answered for {HEALTH_SECONDS:g} s"
        return _json(
            HealthAnswer(
                healthy=reason is None,
                reason=reason or "predictions are answered",
                models=len(models.names()),
                loaded=models.loaded(),
                troubles=models.troubles(),
            ),
            status=200 if reason is None else 503,
        )

    _handle_errors(api)
    return api


def _wants_png(options: PredictOptions, request: Request) -> bool:
    if options.map is not None:
        return options.map == "png"
    accepted = {part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")}
    return "image/png" in accepted and "application/json" not in accepted


def _model_answer(models: Models, name: str) -> ModelAnswer | None:
    """One model with its description; None when it has vanished meanwhile."""
    try:
        entry = models.entry(name)
    except SubbandError:
        return None
    fixed: dict[str, Any] = {
        "name": name,
        "source": entry.source.kind,
        "loaded": name in models.loaded(),
        "predict": f"/v1/models/{quote(name, safe='')}/predict",
    }
    try:
        entry, description = models.describe(name)
        kept = description.get("calibration")
        calibration = None if kept is None else Calibration.model_validate(kept)
        about = description["about"]
        return ModelAnswer(
            **fixed,
            version=entry.version,
            method=description["method"],
            task=description.get("task", Detector.task),
            category=about.get("category"),
            dataset=about.get("dataset"),
            selection=about.get("selection"),
            threshold=None if calibration is None else calibration.threshold,
            rule=None if calibration is None else calibration.rule,
            f1_threshold=None if calibration is None else calibration.f1_threshold,
            good_scores=None if calibration is None else len(calibration.good_scores),
            classes=description.get("classes") or description["params"].get("classes"),
            params=description["params"],
            about=about,
        )
    except (SubbandError, KeyError, ValidationError) as error:
        problem = str(error) if isinstance(error, SubbandError) else f"its description is damaged: {error!r}"
        return ModelAnswer(**fixed, version=entry.version, problem=problem)


def _why_unable(models: Models) -> str | None:
    """Why no prediction could be answered; None where one can. At least one model is loaded to know it."""
    if models.loaded():
        return None
    reason = "; ".join(models.troubles().values()) or "there is no model yet; a sweep registers its champions"
    for name in models.names():
        try:
            models.get(name)
        except SubbandError as error:
            reason = f"{name}: {error}"
        else:
            return None
    return reason


def _json(answer: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(answer.model_dump_json(), status, dict(headers or {}), "application/json")


def _error(status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return _json(ErrorAnswer(error=ErrorBody(type=kind, message=message)), status, headers)


def _handle_errors(api: FastAPI) -> None:
    """Every error, whoever raised it, has the same form."""

    @api.exception_handler(SubbandError)
    async def known(request: Request, error: SubbandError) -> Response:
        status = next(status for kind, status in _STATUS if isinstance(error, kind))
        if status >= 500:
            log.warning("%s: %s", request.url.path, error)
        headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else None
        return _error(status, type(error).__name__, str(error), headers)

    @api.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        try:  # the platform's own words, with near matches
            validated(PredictOptions, dict(request.query_params), "query")
        except ParamsError as said:
            return _error(400, "ParamsError", str(said))
        return _error(400, "ParamsError", str(error))

    @api.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        kind = {404: "NotFoundError", 405: "MethodNotAllowedError"}.get(error.status_code, "HTTPError")
        paths = "POST /v1/models/NAME/predict, GET /v1/models, GET /v1/models/NAME, GET /healthz, GET /docs"
        said = f"{request.method} {request.url.path}: {error.detail}; there are {paths}"
        return _error(error.status_code, kind, said, error.headers)

    @api.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("%s failed", request.url.path, exc_info=error)
        return _error(500, "InternalError", f"{type(error).__name__}; the server's log has the details")
