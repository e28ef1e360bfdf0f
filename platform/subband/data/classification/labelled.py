"""Images with class labels: what every family of classification data gives, and what a classifier learns from."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from subband.data.fingerprint import digests
from subband.data.sample import ImageSource
from subband.data.task_data import TaskData
from subband.errors import DataError, unknown_name

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


class LabelledPictures(abc.ABC):
    """The images of one split, in an order that stays.

    An image is made when it is asked for: there may be a million.

    Attributes:
        labels: (N,) index of each image's class.
    """

    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @abc.abstractmethod
    def name(self, index: int) -> str:
        """What messages and tables call an image, for instance its file below the root."""

    @abc.abstractmethod
    def image(self, index: int) -> ImageSource:
        """An image."""

    def images(self) -> Sequence[ImageSource]:
        """All images."""
        return [self.image(index) for index in range(len(self))]


class Chosen(LabelledPictures):
    """Some images of a split.

    Args:
        pictures: of the split.
        indices: of those that are kept.
        labels: of these; by default as they are.
    """

    def __init__(
        self, pictures: LabelledPictures, indices: NDArray[np.int64], labels: NDArray[np.int64] | None = None
    ) -> None:
        self.pictures, self.indices = pictures, indices
        self.labels = pictures.labels[indices] if labels is None else labels

    def name(self, index: int) -> str:
        """As the split says."""
        return self.pictures.name(int(self.indices[index]))

    def image(self, index: int) -> ImageSource:
        """As the split has it."""
        return self.pictures.image(int(self.indices[index]))


class ClassData(TaskData):
    """A dataset for classification.

    Args:
        uri: opens it again.
        name: short.
        classes: names of the classes; labels are indices into them.
        splits: by name; those that the data lack are left out.

    Raises:
        DataError: fewer than two classes, or no image at all.
    """

    holds = "images with class labels"

    def __init__(
        self, uri: str, name: str, classes: Sequence[str], splits: Mapping[SplitName, LabelledPictures]
    ) -> None:
        super().__init__(uri, name)
        self.read_notes: Callable[[], tuple[str, ...]] = tuple
        self.classes = tuple(classes)
        self.splits = {split: splits[split] for split in SPLITS if split in splits and len(splits[split])}
        if len(self.classes) < 2:
            found = f"the class {self.classes[0]!r} alone" if self.classes else "no class"
            raise DataError(f"{uri} has {found}; a classifier tells at least two apart")
        if not self.splits:
            raise DataError(f"{uri} has no images")

    @property
    def notes(self) -> tuple[str, ...]:
        """As the reader of the files gives them."""
        return self.read_notes()

    def split(self, name: str) -> LabelledPictures:
        """The images of one split.

        Raises:
            DataError: the data have no such split; those that they have are named.
        """
        if name not in self.splits:
            raise DataError(f"{self.uri}: {unknown_name('split of this data', name, self.splits)}")
        return self.splits[name]  # type: ignore[index]

    def digest(self) -> str:
        """Hash of classes, images and labels in their order."""
        running = hashlib.sha256("\n".join(("subband classes", *self.classes)).encode())
        for name, pictures in self.splits.items():
            running.update(f"\n{name} {len(pictures)}".encode())
            for digest, label in zip(digests(pictures.images()), pictures.labels, strict=True):
                running.update(f"\n{digest} {label}".encode())
        return running.hexdigest()


def class_data(dataset: object) -> ClassData:
    """The dataset itself, if it is one for classification.

    Raises:
        DataError: it is not.
    """
    if not isinstance(dataset, ClassData):
        what = getattr(dataset, "holds", "samples of inspected products or surfaces")
        raise DataError(
            f"{getattr(dataset, 'uri', dataset)} holds {what}, not images with class labels; give imagefolder:PATH, timm:NAME or "
            "synthetic-shapes: here"
        )
    return dataset
