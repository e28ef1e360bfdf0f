"""What the server is asked and what it answers, as models: validation and the page ``/docs`` come from them."""

from __future__ import annotations

import base64
import io
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, Field


class PredictOptions(BaseModel):
    """Query of a prediction."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float | None = Field(
        None, allow_inf_nan=False, description="Decide with this threshold instead of the calibrated one."
    )
    fpr: float | None = Field(
        None, gt=0, lt=1, description="Decide with the threshold for this share of false alarms among good images."
    )
    pixel_threshold: float | None = Field(
        None,
        allow_inf_nan=False,
        description="Draw masks and measure areas with this threshold for the map's pixels instead of the calibrated one.",
    )
    map: Literal["none", "values", "png", "mask"] | None = Field(
        None,
        description="none: no map (the default). values: the map's numbers in the JSON. png: instead of JSON, the image with its "
        "map (or the objects that were found, or the predicted frames) drawn, also chosen by `Accept: image/png`. mask: instead of "
        "JSON, an 8-bit PNG of the image's size, 255 where the map is above the pixel threshold (of a segmenter: the probability "
        "above the threshold), or an object is.",
    )
    top: int = Field(5, ge=1, le=1000, description="How many classes a classifier answers with.")
    score: float = Field(
        0.5, ge=0, le=1, description="Lowest score of the objects that an object detector answers with."
    )


class ImageSize(BaseModel):
    """Size of the posted image in pixels."""

    width: int
    height: int


class Frame(BaseModel):
    """Where the anomaly map lies on the image."""

    size: int = Field(description="Side of the map, S.")
    box: tuple[float, float, float, float] = Field(
        description="Left, top, right, bottom of the part of the image that the map covers, in pixels of the image."
    )


class MapValues(BaseModel):
    """An anomaly map: ``numpy.frombuffer(base64.b64decode(data), dtype).reshape(shape)``; row by row."""

    dtype: Literal["<f4"] = "<f4"
    shape: tuple[int, ...]
    encoding: Literal["base64"] = "base64"
    data: str

    @classmethod
    def of(cls, values: np.ndarray) -> MapValues:
        """The values of a map (S, S), or of several."""
        data = base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode("ascii")
        return cls(shape=values.shape, data=data)


class Prediction(BaseModel):
    """What every prediction has, whatever the task; null where the task has no such thing."""

    file: str | None = Field(default=None, description="Name of the form's file; null for an image sent as the body.")
    score: float | None = Field(
        default=None, description="Higher is worse for defects; a probability or confidence otherwise."
    )
    threshold: float | None = Field(default=None, description="What the score was compared with.")
    defective: bool | None = Field(default=None, description="Whether the score is above the threshold.")


class DefectPrediction(Prediction):
    """A detector's or segmenter's answer for one image."""

    rule: str = Field(description="How the threshold was chosen.")
    image_size: ImageSize
    frame: Frame
    defective_area: float | None = Field(
        None,
        description="Share of the map that is above the pixel threshold (of a segmenter: above the threshold); missing for "
        "detectors saved without one.",
    )
    map: MapValues | None = Field(default=None, description="With ?map=values.")


class ClassScore(BaseModel):
    """One class that an image may belong to."""

    label: str
    probability: float


class ClassPrediction(Prediction):
    """A classifier's answer for one image; its score is the probability of the label."""

    label: str = Field(description="The most probable class.")
    probability: float
    top: list[ClassScore] = Field(description="The most probable classes, as many as ?top= asks for.")


class FoundObject(BaseModel):
    """One object that was found."""

    label: str
    score: float = Field(description="From 0 to 1.")
    box: tuple[float, float, float, float] = Field(description="Left, top, right, bottom in pixels of the image.")
    mask: dict[str, Any] | None = Field(
        None, description="With ?map=values: its pixels, as COCO's run lengths: size [height, width] and counts."
    )


class ObjectsPrediction(Prediction):
    """An object detector's answer for one image; its score is that of the best object."""

    objects: list[FoundObject] = Field(description="Best first.")
    image_size: ImageSize


class FramesPrediction(Prediction):
    """A video predictor's answer for one sequence."""

    frames: list[str] = Field(description="The frames that follow, oldest first, each a PNG file in base64.")
    values: MapValues | None = Field(
        default=None, description="With ?map=values: the frames' numbers, T x S x S, instead."
    )


AnyPrediction = TypeVar("AnyPrediction", bound=Prediction)


class PredictAnswer(BaseModel, Generic[AnyPrediction]):
    """Answer to every predict request: one prediction an image, in the order of the form; of a video predictor one a sequence."""

    name: str
    version: str = Field(description="Version of the model that answered.")
    method: str
    task: str
    seconds: float = Field(description="From the arrival of the request to the answer.")
    predictions: list[AnyPrediction]


def png_text(picture: Image) -> str:
    """An image as a PNG file in base64."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


class ModelAnswer(BaseModel):
    """One model that is served."""

    name: str
    version: str = Field(description="Registered version, or the hash of a saved folder.")
    source: Literal["registry", "folder"]
    loaded: bool = Field(description="Whether it is in memory; otherwise the first request loads it.")
    predict: str = Field(description="Path to post images to.")
    method: str | None = None
    task: str | None = Field(
        None,
        description="anomaly detection; segmentation, whose maps are probabilities of a defect; classification; object detection; "
        "or video prediction.",
    )
    category: str | None = None
    dataset: str | None = None
    selection: str | None = Field(None, description="Which labels chose its params.")
    threshold: float | None = None
    rule: str | None = Field(None, description="How the threshold was chosen.")
    f1_threshold: float | None = Field(None, description="Threshold of the highest F1 on labelled images.")
    good_scores: int | None = Field(None, description="Scores of good images that ?fpr= chooses from.")
    classes: list[str] | None = Field(None, description="What it tells apart.")
    params: dict[str, Any] | None = None
    about: dict[str, Any] | None = Field(None, description="What was saved with it: data, fingerprint, versions.")
    problem: str | None = Field(None, description="Why its description cannot be read.")


class ModelsAnswer(BaseModel):
    """Every model that is served."""

    models: list[ModelAnswer]
    troubles: dict[str, str] = Field(description="Sources that do not answer at the moment, and why.")


class HealthAnswer(BaseModel):
    """Whether predictions can be answered now."""

    healthy: bool
    reason: str
    models: int
    loaded: list[str]
    troubles: dict[str, str]


class ErrorBody(BaseModel):
    """What was wrong."""

    type: str
    message: str


class ErrorAnswer(BaseModel):
    """Every answer with a status of 400 or more."""

    error: ErrorBody
