"""``synthetic-shapes:``: the embedded dataset for classification, drawn when it is read, the same everywhere for the same seed.

    synthetic-shapes:?seed=0&classes=10&train=3000&validation=300&test=500&size=64&difficulty=0.4

One flat shape of any colour, place, size and angle on a cloudy background with noise, specks and lines; its form is the class, and
nothing else tells it. Every class is as frequent as any other. Every image comes from its own random streams, as those of
`subband.data.embedded.synthetic`.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from subband.data.classification.labelled import SPLITS, ClassData, LabelledPictures, SplitName
from subband.data.embedded.drawing.canvas import Colours, Field, Generator, blend, grid, smooth_noise, step, white_noise
from subband.data.embedded.drawing.shapes import SHAPES
from subband.data.embedded.drawn import DrawnImage, drawing_options, in_8_bit, supersampling
from subband.errors import DataError

# Raise this whenever a drawing changes: digests are made of recipes.
SHAPES_VERSION = 1

DIFFICULTY = 0.4
_DEFAULTS = {"seed": 0, "classes": 10, "train": 3000, "validation": 300, "test": 500, "size": 64}
_RANGES = {
    "seed": (0, 2**32 - 1),
    "classes": (2, len(SHAPES)),
    "train": (1, 1_000_000),
    "validation": (0, 100_000),
    "test": (0, 100_000),
    "size": (32, 1024),
}


@dataclass(frozen=True)
class ShapeRecipe:
    """All that decides one image.

    Attributes:
        seed: of the dataset.
        split: ``train``, ``validation`` or ``test``.
        index: of the image in its split, from 0.
        size: side in pixels.
        shape: one of `subband.data.embedded.drawing.shapes.SHAPES`.
        difficulty: 0 (large, of full contrast, on a quiet ground) to 1 (small, faint, among specks and lines).
    """

    seed: int
    split: SplitName
    index: int
    size: int
    shape: str
    difficulty: float

    def draw(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The image (S, S, 3) and where its shape is (S, S), both read-only."""
        return _kept(self) if self.size <= _KEPT_UP_TO else self.drawn_anew()

    def drawn_anew(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """As `draw`, though the image may be in memory."""
        fine = supersampling(self.size)
        rng, side = self._random(), self.size * fine
        ground = _ground(rng, side, self.difficulty)
        coverage = _coverage(rng, side, self.shape, self.difficulty)
        colours = blend(ground, _filling(rng, side, ground, coverage, self.difficulty), coverage)
        colours = colours + (0.01 + 0.05 * self.difficulty) * white_noise(rng, side)
        picture, mask = in_8_bit(colours, coverage > 0.5, fine)
        picture.flags.writeable = mask.flags.writeable = False
        return picture, mask

    def digest(self, what: str) -> str:
        """Hash of the recipe and the version of the drawings; nothing is drawn."""
        recipe = json.dumps({"shapes": SHAPES_VERSION, "what": what, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(recipe.encode()).hexdigest()

    def _random(self) -> Generator:
        place = zlib.crc32(f"shapes/{self.split}".encode())
        return np.random.Generator(np.random.PCG64([self.seed, place, self.index]))


# A training reads every image in every epoch, and drawing takes milliseconds: small ones are kept, 270 MB at most.
_KEPT_UP_TO = 128


@lru_cache(maxsize=4096)
def _kept(recipe: ShapeRecipe) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    return recipe.drawn_anew()


def _ground(rng: Generator, side: int, difficulty: float) -> Colours:
    """Two colours that run into each other in clouds, and thin lines and specks over them."""
    x, y = grid(side)
    one, other = rng.uniform(0.1, 0.9, (2, 3, 1, 1))
    other = one + (0.15 + 0.35 * difficulty) * (other - one)
    clouds = step(smooth_noise(rng, side, float(rng.uniform(0.06, 0.25))), 2.0)
    ground = blend(one * np.ones((3, side, side)), other, clouds)
    for _ in range(rng.poisson(5 * difficulty)):
        angle, shift, width = rng.uniform(0, np.pi), rng.uniform(-0.5, 0.5), rng.uniform(0.004, 0.012)
        line = np.abs(np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5) - shift)
        ground = blend(ground, rng.uniform(0, 1, (3, 1, 1)), 0.7 * step(width - line, 1 / side))
    for _ in range(rng.poisson(8 * difficulty)):
        left, top, radius = *rng.uniform(0, 1, 2), rng.uniform(0.008, 0.03)
        speck = step(radius - np.hypot(x - left, y - top), 1 / side)
        ground = blend(ground, rng.uniform(0, 1, (3, 1, 1)), 0.8 * speck)
    return ground


def _coverage(rng: Generator, side: int, shape: str, difficulty: float) -> Field:
    """Opacity (S, S) of the shape, turned, shifted and slightly stretched."""
    reach = rng.uniform(0.34 - 0.16 * difficulty, 0.42 - 0.06 * difficulty)
    left, top = rng.uniform(reach, 1 - reach, 2)
    angle, stretch = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(-0.12, 0.12))
    x, y = grid(side)
    x, y = (x - left) / reach, (y - top) / reach
    u, v = np.cos(angle) * x + np.sin(angle) * y, -np.sin(angle) * x + np.cos(angle) * y
    return step(SHAPES[shape](u * stretch, v / stretch), 1 / (side * reach))


def _filling(rng: Generator, side: int, ground: Colours, coverage: Field, difficulty: float) -> Colours:
    """A colour that differs from the ground under the shape, a little cloudy."""
    weight = coverage / max(float(coverage.sum()), 1e-9)
    beneath = (ground * weight).sum(axis=(1, 2)).reshape(3, 1, 1)
    apart = 0.55 - 0.30 * difficulty
    # Away from the ground's colour in a direction drawn by lot, turned inwards where it would leave the range of colours.
    direction = rng.normal(size=(3, 1, 1))
    direction *= np.where(
        (beneath + apart * np.sign(direction) > 1) | (beneath + apart * np.sign(direction) < 0), -1, 1
    )
    colour = beneath + apart * direction / np.abs(direction).max()
    return np.asarray(colour + 0.05 * smooth_noise(rng, side, float(rng.uniform(0.02, 0.1))))


class DrawnShapes(LabelledPictures):
    """One split; image i is of class i modulo the number of classes."""

    def __init__(self, split: SplitName, count: int, classes: int, size: int, seed: int, difficulty: float) -> None:
        self._split, self._size, self._seed, self._difficulty = split, size, seed, difficulty
        self._names = tuple(SHAPES)[:classes]
        self.labels = np.arange(count, dtype=np.int64) % classes

    def name(self, index: int) -> str:
        """For instance ``test/star/003``."""
        return f"{self._split}/{self._shape(index)}/{index:03d}"

    def image(self, index: int) -> DrawnImage:
        """The image, not yet drawn."""
        return DrawnImage(ShapeRecipe(self._seed, self._split, index, self._size, self._shape(index), self._difficulty))

    def _shape(self, index: int) -> str:
        return self._names[index % len(self._names)]


def open_synthetic_shapes(path: str, options: Mapping[str, str]) -> ClassData:
    """Open the embedded dataset for classification.

    Args:
        path: must be empty; the URI has options only.
        options: ``seed``; ``classes``, 2 to 10; images of the splits ``train``, ``validation`` and ``test``; ``size``, side in
            pixels; ``difficulty``, 0 (easy) to 1 (hard).

    Raises:
        DataError: a path, an unknown option, or a value that is no number or out of range.
    """
    if path:
        raise DataError(
            f"synthetic-shapes: takes options and no path; write synthetic-shapes:?{path.lstrip('/')} or imagefolder:{path}"
        )
    given, difficulty = drawing_options("synthetic-shapes", options, _RANGES, DIFFICULTY)
    numbers = _DEFAULTS | given
    uri = "synthetic-shapes:?" + "&".join(f"{name}={value}" for name, value in numbers.items())
    splits = {
        split: DrawnShapes(split, numbers[split], numbers["classes"], numbers["size"], numbers["seed"], difficulty)
        for split in SPLITS
    }
    names = tuple(SHAPES)[: numbers["classes"]]
    return ClassData(f"{uri}&difficulty={difficulty:g}", "synthetic-shapes", names, splits)
