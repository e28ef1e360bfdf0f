"""TaskData: data of a task that is not the inspection of products, opened by URI like every dataset."""

from __future__ import annotations

import abc
from typing import ClassVar

from subband.data.sample import Category
from subband.errors import DataError


class TaskData(abc.ABC):
    """Base of the datasets whose examples are not images of products with defects: class labels, boxes, sequences.

    It satisfies `subband.data.Dataset`, so that every job can open it; a job that needs categories of products is told what it
    holds instead.

    Attributes:
        holds: what its examples are, in words that complete "URI holds ...".
        uri: opens this data again on any machine that has the files.
        name: short, for tables and model names, made of letters, digits, ``_`` and ``-``.
    """

    holds: ClassVar[str]

    def __init__(self, uri: str, name: str) -> None:
        self.uri = uri
        self.name = name

    @property
    def categories(self) -> tuple[str, ...]:
        """One, named ``all``."""
        return ("all",)

    def category(self, name: str) -> Category:
        """There are no samples of products.

        Raises:
            DataError: always; it says what the data hold.
        """
        raise DataError(
            f"{self.uri} holds {self.holds}, not samples of inspected products; give mvtec:PATH, visa:PATH or synthetic: here"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of results must know, one sentence each.

        Raises:
            DataError: the data are inconsistent in a way that only their files show.
        """
        return ()

    @abc.abstractmethod
    def digest(self) -> str:
        """Hexadecimal hash of the content: examples, labels and their order, wherever they lie.

        Raises:
            DataError: a file cannot be read.
        """
