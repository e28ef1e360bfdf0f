"""Images in which objects are marked by class, box and mask: what every dataset of object detection gives.

Boxes are (x0, y0, x1, y1) in pixels of their image, whose left upper corner is (0, 0): a mask that covers columns 3 to 5 has
x0 = 3 and x1 = 6. Masks are kept in COCO's run-length form, which is a hundredth of their pixels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from subband.data.sample import ImageSource
from subband.data.task_data import TaskData
from subband.errors import DataError, unknown_name
from subband.extras import Extra

runs = Extra("pycocotools.mask", "detect")

Runs = Mapping[str, Any]
"""A mask as pycocotools compresses it: ``size`` (height, width) and ``counts``."""


def encode_mask(mask_HW: NDArray[np.bool_]) -> Runs:
    """The run-length form of one mask."""
    encoded = runs.encode(np.asfortranarray(mask_HW, np.uint8))
    return {"size": tuple(encoded["size"]), "counts": encoded["counts"].decode("ascii")}


def decode_masks(masks: Sequence[Runs], height: int, width: int) -> NDArray[np.bool_]:
    """Masks (M, H, W) of their run-length forms."""
    if not masks:
        return np.zeros((0, height, width), np.bool_)
    return np.ascontiguousarray(runs.decode([dict(mask) for mask in masks]).transpose(2, 0, 1)).astype(np.bool_)


def box_of_mask(mask_HW: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """The smallest box around a mask that is not empty."""
    columns, rows = np.flatnonzero(mask_HW.any(axis=0)), np.flatnonzero(mask_HW.any(axis=1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


@dataclass(frozen=True, eq=False)
class Instances:
    """The M marked objects of one image, at its own size.

    Attributes:
        boxes: (M, 4) float32.
        labels: (M,) int64, places among the classes, from 0.
        masks: M.
        areas: (M,) float64, pixels, by which objects count as small, medium or large.
        crowd: (M,) bool; True where one mark stands for many objects: it is not learnt from, and what is found there is neither
            right nor wrong.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: tuple[Runs, ...]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        boxes: Sequence[Sequence[float]],
        labels: Sequence[int],
        masks: Sequence[Runs],
        areas: Sequence[float],
        crowd: Sequence[bool],
    ) -> Instances:
        """From plain sequences of equal length, which may be empty."""
        return cls(
            np.asarray(boxes, np.float32).reshape(-1, 4),
            np.asarray(labels, np.int64),
            tuple(masks),
            np.asarray(areas, np.float64),
            np.asarray(crowd, np.bool_),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def packed(self) -> bytes:
        """As bytes, to travel as a tensor beside the image."""
        return json.dumps(
            [
                self.boxes.tolist(),
                self.labels.tolist(),
                [dict(mask) for mask in self.masks],
                self.areas.tolist(),
                self.crowd.tolist(),
            ]
        ).encode()

    @classmethod
    def unpacked(cls, content: bytes) -> Instances:
        """Of what `packed` gave."""
        return cls.of(*json.loads(content))


@dataclass(frozen=True, eq=False)
class Detections:
    """The N objects that a model found in one image, at the image's own size, best first.

    Attributes:
        boxes: (N, 4) float32.
        labels: (N,) int64, places among the model's classes, from 0.
        scores: (N,) float32 in [0, 1].
        runs: N masks in run-length form.
        size: (width, height) of the image in pixels.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    runs: tuple[Runs, ...]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def masks(self) -> NDArray[np.bool_]:
        """(N, H, W), made anew at every call."""
        return decode_masks(self.runs, self.size[1], self.size[0])

    def above(self, score: float) -> Detections:
        """Those whose score is at least as high."""
        kept = np.flatnonzero(self.scores >= score)
        masks = tuple(self.runs[index] for index in kept)
        return Detections(self.boxes[kept], self.labels[kept], self.scores[kept], masks, self.size)


class AnnotatedPicture(Protocol):
    """An image and its marked objects."""

    @property
    def name(self) -> str:
        """Unique in its split and readable."""
        ...

    @property
    def image(self) -> ImageSource:
        """The image."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as the annotations say."""
        ...

    def instances(self) -> Instances:
        """Its marked objects; there may be none."""
        ...


SPLITS = ("train", "validation", "test")


class DetectionData(TaskData):
    """Base of the datasets for object detection.

    Attributes:
        classes: names of the classes; labels are places among them.
        splits: images by split, one of `SPLITS`; those that the data lack are not there.
    """

    holds: ClassVar[str] = "images with boxes and masks of objects"

    def __init__(
        self, uri: str, name: str, classes: Sequence[str], splits: Mapping[str, Sequence[AnnotatedPicture]]
    ) -> None:
        super().__init__(uri, name)
        self.classes = tuple(classes)
        self.splits = {split: tuple(pictures) for split, pictures in splits.items()}

    def split(self, name: str) -> tuple[AnnotatedPicture, ...]:
        """Images of a split.

        Raises:
            DataError: there is none of that name.
        """
        if name not in self.splits:
            raise DataError(f"{self.uri}: {unknown_name('split of these data', name, self.splits)}")
        return self.splits[name]


def content_lines(classes: Iterable[str], splits: Mapping[str, Sequence[AnnotatedPicture]]) -> Iterable[bytes]:
    """What a digest of a detection dataset is made of beside its images: classes, and the objects of every image in order."""
    yield json.dumps(list(classes)).encode()
    for split, pictures in splits.items():
        yield f"{split} {len(pictures)}".encode()
        for picture in pictures:
            yield picture.name.encode() + picture.instances().packed()
