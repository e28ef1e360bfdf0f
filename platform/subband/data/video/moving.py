"""Sequences of moving digits, drawn by the rule of Moving MNIST (Srivastava et al., ICML 2015; specification 12.3).

Two digits move on a black square in straight lines, each at a constant speed of a tenth of its free range a frame, and bounce off
the borders; where they overlap, the brighter one is seen.

Shapes: T frames, S pixels a side.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from subband.data.video.digits import SIDE, Digits

# Raise this whenever a drawing changes: digests are made of recipes.
MOVING_VERSION = 1

STEP = 0.1  # of the free range, a frame

Floats = npt.NDArray[np.float64]
Frames = npt.NDArray[np.uint8]
"""(T, S, S) uint8."""


def bounce(start: npt.ArrayLike, velocity: npt.ArrayLike, length: int) -> Floats:
    """Positions of a point that moves in the unit square and is reflected at its borders.

    A step that would leave the square ends on the border, and that component of the velocity changes its sign. The first position
    is the one after the first step, as in the published sequences.

    Args:
        start: (2,) in [0, 1].
        velocity: (2,) a step.
        length: T, positions.

    Returns:
        (T, 2) in [0, 1].
    """
    position, speed = np.array(start, np.float64), np.array(velocity, np.float64)
    positions = np.empty((length, 2))
    for moment in range(length):
        position += speed
        outside = (position <= 0) | (position >= 1)
        position = np.clip(position, 0, 1)
        speed[outside] *= -1
        positions[moment] = position
    return positions


def draw_frames(digits: Digits, rng: np.random.Generator, count: int, length: int, size: int) -> Frames:
    """One sequence.

    Args:
        digits: (N, 28, 28), of which are drawn with replacement.
        rng: decides which digits, and where each starts (uniform) and heads (uniform).
        count: digits that move.
        length: T, frames.
        size: S, pixels, more than 28.
    """
    frames: Frames = np.zeros((length, size, size), np.uint8)
    for _ in range(count):
        digit = digits[rng.integers(len(digits))]
        start = rng.random(2)
        heading = 2 * np.pi * rng.random()
        path = bounce(start, STEP * np.array([np.sin(heading), np.cos(heading)]), length)
        for frame, (top, left) in zip(frames, ((size - SIDE) * path).astype(int), strict=True):
            place = frame[top : top + SIDE, left : left + SIDE]
            np.maximum(place, digit, out=place)
    return frames


@dataclass(frozen=True, eq=False)
class DrawnSequences:
    """Sequences that are drawn when they are asked for, each from a random stream of its own.

    Attributes:
        digits: that move in them.
        count: of sequences.
        stream: part of the dataset; parts never share a random stream.
        seed: of the streams.
        moving: digits in a sequence.
        length: T, frames of a sequence.
        size: S, side of a frame in pixels.
        renewed: whether every epoch has sequences of its own.
    """

    digits: Digits
    count: int
    stream: str
    seed: int
    moving: int
    length: int
    size: int
    renewed: bool = False

    def __len__(self) -> int:
        return self.count

    def frames(self, index: int, epoch: int = 0) -> Frames:
        """The sequence (T, S, S), a function of seed, index and, if sequences are renewed, of the epoch.

        Raises:
            IndexError: there is no such sequence.
        """
        if not 0 <= index < self.count:
            raise IndexError(f"sequence {index} of {self.count}")
        place = [zlib.crc32(b"moving digits"), zlib.crc32(self.stream.encode()), self.seed]
        rng = np.random.default_rng([*place, epoch if self.renewed else 0, index])
        return draw_frames(self.digits, rng, self.moving, self.length, self.size)


@dataclass(frozen=True, eq=False)
class StoredSequences:
    """Sequences of the published test file.

    Attributes:
        array: (20, N, 64, 64) uint8, maybe mapped from the disk.
        count: of sequences, the first ones of the array.
        length: T, frames of a sequence, the first ones.
    """

    array: npt.NDArray[np.uint8]
    count: int
    length: int

    def __len__(self) -> int:
        return self.count

    def frames(self, index: int, epoch: int = 0) -> Frames:
        """The sequence (T, 64, 64), the same in every epoch.

        Raises:
            IndexError: there is no such sequence.
        """
        if not 0 <= index < self.count:
            raise IndexError(f"sequence {index} of {self.count}")
        return np.array(self.array[: self.length, index])
