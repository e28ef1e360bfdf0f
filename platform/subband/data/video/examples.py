"""Examples of video prediction: the first frames of a sequence, and those that follow, as tensors."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from subband.data.examples import ExampleKey
from subband.errors import DataError


class Sequences(Protocol):
    """Where sequences come from: drawn, or read from a file."""

    @property
    def length(self) -> int:
        """T, frames of a sequence."""
        ...

    def __len__(self) -> int: ...

    def frames(self, index: int, epoch: int = 0) -> npt.NDArray[np.uint8]:
        """One sequence (T, S, S)."""
        ...


class SequenceExamples:
    """Sequences, each cut into what is seen and what is to be predicted (`subband.data.examples.Examples`).

    Args:
        sequences: of grey frames.
        seen: frames that are given.
        predicted: frames that follow; what a sequence has beyond is left out.

    Raises:
        DataError: the sequences are too short.

    Example:
        >>> from subband.data import open_dataset
        >>> examples = SequenceExamples(open_dataset("moving-digits:?train=4").training(seed=0), 10, 10)
        >>> example = examples[ExampleKey(2, epoch=1)]
        >>> tuple(example["frames"].shape), tuple(example["following"].shape)
        ((10, 1, 64, 64), (10, 1, 64, 64))
    """

    def __init__(self, sequences: Sequences, seen: int, predicted: int) -> None:
        if sequences.length < seen + predicted:
            raise DataError(
                f"sequences of {sequences.length} frames are too short for {seen} seen and {predicted} predicted ones; "
                f"open the data with length={seen + predicted} or more"
            )
        self.sequences = sequences
        self.seen, self.predicted = seen, predicted

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, draw: ExampleKey) -> dict[str, Tensor]:
        """One example.

        Returns:
            ``frames`` float32 (seen, 1, S, S) and ``following`` float32 (predicted, 1, S, S), both in [0, 1].
        """
        frames = self.sequences.frames(draw.index, draw.epoch)[: self.seen + self.predicted]
        unit = torch.from_numpy(frames).unsqueeze(1).float().div_(255)
        return {"frames": unit[: self.seen], "following": unit[self.seen :]}
