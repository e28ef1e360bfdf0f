"""The MLflow ``python_function`` flavour of a saved model: plain files, opened by ``subband.load``, nothing pickled.

MLflow imports this module by name (the model's ``loader_module``) and calls :func:`_load_pyfunc` with the model's
folder.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from PIL import Image

from subband.data import FileSource, decode_image
from subband.data.images import to_picture
from subband.data.reading import PLAIN, ReadingRule
from subband.errors import DataError, ModelError, ParamsError
from subband.methods.deployable import Task

DEFAULT_LOADER = "subband.load"


def import_dotted(path: str) -> Callable[..., Any]:
    """The function that a dotted path names.

    Raises:
        ModelError: there is no such module or function.
    """
    module_name, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelError(f"the loader {path!r} cannot be imported: {error}") from error
    if not callable(found):
        raise ModelError(f"the loader {path!r} is not a function")
    return found  # type: ignore[no-any-return]


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> PlatformModel:
    """MLflow's entry point.

    Args:
        path: the model's folder.
        model_config: ``{"loader": dotted path}``.
    """
    loader = import_dotted((model_config or {}).get("loader", DEFAULT_LOADER))
    return PlatformModel(loader(Path(path)))


class PlatformModel:
    """What ``mlflow.pyfunc.load_model`` gives.

    Args:
        model: its ``predict(images)`` takes a list of PIL images. What it gives depends on the model's
            ``task``; without one it is a detector, which gives an object with ``scores`` (N), ``decisions`` (N, true for a defect)
            and ``maps`` (N x H x W).
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Answer for images.

        Args:
            model_input: an array N x H x W x C (or one H x W x C or H x W) of uint8, uint16, bool, or float in 0..1, with C of 1
                (grey), 3 (RGB) or 4 (RGB and alpha); a list of such images, PIL images of any mode, paths of image files or their
                encoded bytes; or a pandas DataFrame (or Series) with one column of such. To a video predictor these are the frames
                of one sequence.
            params: ``{"maps": True}`` adds a detector's column ``map`` with one float32 H x W anomaly map a row, and an object
                detector's column ``masks``.

        Returns:
            One row an image. Of a detector or segmenter: ``score`` (float, higher is worse) and ``defective`` (bool). Of a
            classifier: ``label`` and ``probability``. Of an object detector: lists ``labels``, ``scores`` and ``boxes``. Of a video
            predictor one row a predicted frame: ``frame``, float32 H x W in [0, 1].

        Raises:
            ModelError: the input has another form, or an image cannot be read; the message names it.
        """
        images = as_images(model_input, getattr(self.model, "reading", PLAIN))
        columns = _COLUMNS.get(getattr(self.model, "task", "anomaly detection"), _of_detector)
        return pd.DataFrame(columns(self.model, images, bool((params or {}).get("maps"))))


def _of_detector(model: Any, images: list[Any], maps: bool) -> dict[str, Any]:
    result = model.predict(images)
    columns: dict[str, Any] = {
        "score": np.asarray(result.scores, dtype=np.float64),
        "defective": np.asarray(result.decisions, dtype=bool),
    }
    if maps:
        columns["map"] = [np.asarray(anomaly_map, dtype=np.float32) for anomaly_map in result.maps]
    return columns


def _of_classifier(model: Any, images: list[Any], maps: bool) -> dict[str, Any]:
    guesses = [top[0] for top in model.predict(images, top=1)]
    return {"label": [guess.label for guess in guesses], "probability": [guess.probability for guess in guesses]}


def _of_object_detector(model: Any, images: list[Any], maps: bool) -> dict[str, Any]:
    found = model.predict(images)
    columns: dict[str, Any] = {
        "labels": [[model.classes[label] for label in each.labels] for each in found],
        "scores": [each.scores.tolist() for each in found],
        "boxes": [each.boxes.tolist() for each in found],
    }
    if maps:
        columns["masks"] = [each.masks for each in found]
    return columns


def _of_video_predictor(model: Any, images: list[Any], maps: bool) -> dict[str, Any]:
    return {"frame": list(model.predict([Image.fromarray(np.asarray(image)) for image in images]))}


_COLUMNS: Mapping[Task, Callable[[Any, list[Any], bool], dict[str, Any]]] = {
    "anomaly detection": _of_detector,
    "segmentation": _of_detector,
    "classification": _of_classifier,
    "object detection": _of_object_detector,
    "video prediction": _of_video_predictor,
}


def as_images(model_input: Any, rule: ReadingRule = PLAIN) -> list[Any]:
    """The images of any input that :meth:`PlatformModel.predict` takes, as PIL images in RGB."""
    if isinstance(model_input, pd.DataFrame):
        if model_input.shape[1] != 1:
            names = ", ".join(map(str, model_input.columns))
            raise ModelError(f"the table must have one column, of image paths or bytes; it has {names or 'none'}")
        return [_open(value, rule) for value in model_input.iloc[:, 0]]
    if isinstance(model_input, pd.Series):
        return [_open(value, rule) for value in model_input]
    if isinstance(model_input, np.ndarray):
        single = model_input.ndim == 2 or (model_input.ndim == 3 and model_input.shape[2] <= 4)
        if not single and model_input.ndim != 4:
            raise ModelError(
                f"images are N x H x W x C, C of 1 (grey), 3 (RGB) or 4; this array is {model_input.dtype}, {model_input.shape}"
            )
        return [_open(image, rule) for image in (model_input[None] if single else model_input)]
    if isinstance(model_input, Sequence) and not isinstance(model_input, (str, bytes)):
        return [_open(value, rule) for value in model_input]
    raise ModelError(
        f"cannot read images from a {type(model_input).__name__}; give an array, a list or a DataFrame column"
    )


def _open(value: Any, rule: ReadingRule) -> Image.Image:
    """The dataset's own decoding, so that an image scores here as its file scored in the sweep."""
    if not isinstance(value, (str, Path, bytes, np.ndarray, Image.Image)):
        raise ModelError(
            f"cannot read an image from a {type(value).__name__}; give a path, encoded bytes, an array or a PIL image"
        )
    try:
        if isinstance(value, (str, Path)):
            return FileSource(Path(value), rule).open()
        return (
            decode_image(value, f"{len(value)} bytes", rule=rule)
            if isinstance(value, bytes)
            else to_picture(value, rule)
        )
    except (DataError, ParamsError) as error:
        raise ModelError(f"cannot read an image: {error}") from error
