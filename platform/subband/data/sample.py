"""Sample, Category and Dataset: what every dataset family gives and every method receives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image


FOREGROUND = "foreground"
"""Defect name of samples for segmentation: nothing is decoded to see whether a mask is empty."""


class ImageSource(Protocol):
    """Where one image comes from: a file, or a recipe that draws it."""

    def open(self) -> Image:
        """The decoded image at its own size: RGB for an image, 8-bit grey for a mask.

        Raises:
            DataError: the image is missing, truncated or too large; the message names it.
        """
        ...

    def digest(self) -> str:
        """Hexadecimal hash of the content: equal images give equal digests, wherever they lie."""
        ...


@dataclass(frozen=True)
class Sample:
    """One image of a category.

    Attributes:
        name: unique in its category and readable, for instance ``test/cut/003``.
        split: ``train`` (what is learnt from: good images, or for segmentation images with masks) or ``test``.
        label: 0 good, 1 defective (for segmentation: may hold foreground).
        defect: ``good`` or the name of the defect kind.
        image: the image.
        mask: where the defect is (non-zero pixels), or None for an unknown place or, usually, for a good image.
        group: name of the piece, day or series that the image belongs to, or None where it is unknown. Images of one group are
            alike, so a division keeps them on one side and leave-one-out leaves them out together.
    """

    name: str
    split: Literal["train", "test"]
    label: int
    defect: str
    image: ImageSource
    mask: ImageSource | None = None
    group: str | None = None


@dataclass(frozen=True)
class Category:
    """One inspected product with its training and test samples.

    Attributes:
        name: of the product.
        train: what is learnt from.
        test: what is scored.
        notes: what a reader of results must know, one sentence each, for instance that images are in both.
    """

    name: str
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    notes: tuple[str, ...] = ()


class Dataset(Protocol):
    """A set of categories that is opened by URI."""

    @property
    def uri(self) -> str:
        """The URI that opens this dataset again on any machine that has the files."""
        ...

    @property
    def name(self) -> str:
        """Short name for tables and model names, made of letters, digits, ``_`` and ``-``."""
        ...

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories, sorted."""
        ...

    def category(self, name: str) -> Category:
        """The samples of one category.

        Raises:
            DataError: no such category (near matches are named), or it is empty or inconsistent.
        """
        ...
