"""The MLflow ``python_function`` flavour of a saved detector: plain files, opened by ``subband.load``, nothing pickled.

MLflow imports this module by name (the model's ``loader_module``) and calls :func:`_load_pyfunc` with the detector's
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
from subband.errors import DataError, ModelError

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


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> DetectorModel:
    """MLflow's entry point.

    Args:
        path: the detector's folder.
        model_config: ``{"loader": dotted path}``.
    """
    loader = import_dotted((model_config or {}).get("loader", DEFAULT_LOADER))
    return DetectorModel(loader(Path(path)))


class DetectorModel:
    """What ``mlflow.pyfunc.load_model`` gives.

    Args:
        detector: its ``predict(images)`` takes a list of H x W x 3 uint8 arrays or PIL images, and gives an object with
            ``scores`` (N), ``decisions`` (N, true for a defect) and ``maps`` (N x H x W).
    """

    def __init__(self, detector: Any) -> None:
        self.detector = detector

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Score images.

        Args:
            model_input: a uint8 array N x H x W x 3 (or one H x W x 3), a list of such images or PIL images, or a
                pandas DataFrame (or Series) whose one column holds paths of image files or their encoded bytes.
            params: ``{"maps": True}`` adds the column ``map`` with one float32 H x W anomaly map a row.

        Returns:
            One row an image: ``score`` (float, higher is worse) and ``defective`` (bool).

        Raises:
            ModelError: the input has another form, or an image cannot be read; the message names it.
        """
        images = as_images(model_input)
        result = self.detector.predict(images)
        columns: dict[str, Any] = {
            "score": np.asarray(result.scores, dtype=np.float64),
            "defective": np.asarray(result.decisions, dtype=bool),
        }
        if (params or {}).get("maps"):
            columns["map"] = [np.asarray(anomaly_map, dtype=np.float32) for anomaly_map in result.maps]
        return pd.DataFrame(columns)


def as_images(model_input: Any) -> list[Any]:
    """The images of any input that :meth:`DetectorModel.predict` takes, as arrays or PIL images."""
    if isinstance(model_input, pd.DataFrame):
        if model_input.shape[1] != 1:
            names = ", ".join(map(str, model_input.columns))
            raise ModelError(f"the table must have one column, of image paths or bytes; it has {names or 'none'}")
        return [_open(value) for value in model_input.iloc[:, 0]]
    if isinstance(model_input, pd.Series):
        return [_open(value) for value in model_input]
    if isinstance(model_input, np.ndarray):
        images = model_input[None] if model_input.ndim == 3 else model_input
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise ModelError(
                f"images are uint8, N x H x W x 3 (RGB); this array is {model_input.dtype}, {model_input.shape}"
            )
        return list(images)
    if isinstance(model_input, Sequence) and not isinstance(model_input, (str, bytes)):
        return [_open(value) for value in model_input]
    raise ModelError(
        f"cannot read images from a {type(model_input).__name__}; give an array, a list or a DataFrame column"
    )


def _open(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return as_images(value)[0]
    if isinstance(value, Image.Image):
        return value.convert("RGB")
    if not isinstance(value, (str, Path, bytes)):
        raise ModelError(f"cannot read an image from a {type(value).__name__}; give a path, encoded bytes or an array")
    try:
        # The dataset's own decoding, so that a file scores here as it scored in the sweep (16-bit, palette, alpha, ...).
        return (
            decode_image(value, f"{len(value)} bytes") if isinstance(value, bytes) else FileSource(Path(value)).open()
        )
    except DataError as error:
        raise ModelError(f"cannot read an image: {error}") from error
