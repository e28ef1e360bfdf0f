"""ExampleKey and Examples: what a training asks of its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ExampleKey:
    """Asks for one example.

    Attributes:
        index: which example.
        epoch: in which epoch of a training, from 0; whatever is drawn at random for the example is a function of the training's
            seed, this epoch and the index, so that it is the same on any worker and after a restart.
    """

    index: int
    epoch: int = 0


class Examples(Protocol):
    """What is trained or evaluated on."""

    def __len__(self) -> int: ...

    def __getitem__(self, draw: ExampleKey) -> Mapping[str, Tensor]:
        """One example as tensors without the batch's dimension; called from several threads or processes at a time.

        Raises:
            DataError: it cannot be read; the message names the file.
        """
        ...
