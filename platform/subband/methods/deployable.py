"""Deployable: what fitting or training gives. A torch module that answers about images, and can be saved, loaded and served."""

from __future__ import annotations

import abc
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from PIL.Image import Image
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from subband.data.images import to_picture
from subband.data.reading import PLAIN, ReadingRule
from subband.errors import ModelError, ParamsError
from subband.files import whole_folder, write_atomically

Task = Literal["anomaly detection", "segmentation", "classification", "object detection", "video prediction"]
"""What a model answers; it chooses the form of answers over HTTP, of figures and of MLflow's columns."""

FORMAT = 1
TENSORS, DESCRIPTION = "model.safetensors", "model.json"


class Deployable(nn.Module, abc.ABC):
    """Base of every model that can be saved and served, whatever its task.

    Life cycle: a method makes one; `save` writes it; `subband.load` gives it back on any machine with torch, without a network or
    a cluster. Its state dict holds all it needs, backbones included.

    Args:
        method: name in the registry.
        params: the method's params.
        about: what a reader must know (dataset and its fingerprint, versions); plain JSON values.

    Attributes:
        task: what it answers, which chooses the form of answers over HTTP and of figures.
        reading: how the images that it was taught were read, and those that it judges are.
        frozen: names of the submodules that fitting leaves as they were; they do not count as what it stored.
    """

    task: ClassVar[Task]
    frozen: ClassVar[tuple[str, ...]] = ()

    def __init__(self, method: str, params: BaseModel, about: Mapping[str, Any]) -> None:
        super().__init__()
        self.method = method
        self.params = params
        self.about = dict(about)
        self.reading = PLAIN

    @abc.abstractmethod
    def replay(self, examples: Sequence[Mapping[str, Tensor]]) -> np.ndarray:
        """What it answers for examples of its method, as one row of numbers.

        A model is kept only if it gives the same row after it was saved and loaded afresh.
        """

    @abc.abstractmethod
    def timing_probe(self) -> Callable[[], object]:
        """A call that answers for one input of noise, from host memory to host memory, so that it can be timed.

        Noise: no method may be quicker on an input in which nothing varies.
        """

    def kept(self) -> dict[str, Any]:
        """What the description keeps beside the params: plain JSON values by name, given back to the method's `restore`."""
        return {}

    def fitted_bytes(self) -> int:
        """Size of what fitting stored: the saved tensors outside the frozen submodules."""
        outside = (tensor for name, tensor in self.state_dict().items() if name.partition(".")[0] not in self.frozen)
        return sum(tensor.nbytes for tensor in outside)

    def save(self, folder: Path | str) -> Path:
        """Write ``model.safetensors`` and ``model.json`` into a new folder, whole or not at all.

        Raises:
            ModelError: the folder exists already, or cannot be written.
        """
        folder = Path(folder)
        if folder.exists():
            raise ModelError(f"{folder} exists already; save a model into a new folder")
        tensors = {name: tensor.contiguous().cpu() for name, tensor in self.state_dict().items()}
        try:
            with whole_folder(folder) as partial:
                save_file(tensors, partial / TENSORS)
                write_description(partial, _describe(self))
        except (OSError, SafetensorError) as error:
            raise ModelError(f"the model could not be saved to {folder}: {error}") from error
        return folder


def as_pictures(pictures: Sequence[Image | np.ndarray], rule: ReadingRule = PLAIN) -> list[Image]:
    """PIL images in RGB; see `subband.data.images.to_picture`.

    Raises:
        ParamsError: one image instead of several, or as `to_picture`.
        DataError: as `to_picture`.
    """
    if isinstance(pictures, Image) or (isinstance(pictures, np.ndarray) and pictures.ndim != 4):
        raise ParamsError("several images are expected: give a single one in a list, [image]")
    return [to_picture(picture, rule) for picture in pictures]


def read_description(folder: Path) -> dict[str, Any]:
    """The JSON part of a saved model.

    Raises:
        ModelError: no model there, or one of a newer format.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ModelError(
            f"{folder} holds no saved model ({DESCRIPTION} is missing); give a folder written by a sweep or by save()"
        )
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        found = description["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    if found != FORMAT:
        raise ModelError(f"{path} has format {found}; this version of subband reads format {FORMAT}")
    missing = [name for name in ("method", "params", "about") if name not in description]
    if missing:
        raise ModelError(f"{path} is damaged: it lacks {', '.join(missing)}")
    return description  # type: ignore[no-any-return]


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of a saved model.

    Raises:
        ModelError: the file is missing or damaged.
    """
    try:
        return dict(load_file(folder / TENSORS))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{folder / TENSORS} cannot be read: {error}") from error


def write_description(folder: Path, description: Mapping[str, Any]) -> None:
    """Replace the JSON part of a saved model, whole or not at all."""
    write_atomically(folder / DESCRIPTION, json.dumps(description, indent=1).encode())


def _describe(model: Deployable) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "method": model.method,
        "task": model.task,
        "params": model.params.model_dump(mode="json"),
        **model.kept(),
        "reading": model.reading.as_json(),
        "about": model.about,
    }
