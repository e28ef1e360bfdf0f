"""``synthetic-coco:``: the embedded dataset for object detection, drawn when it is read, the same everywhere for the same seed.

    synthetic-coco:?seed=0&train=256&validation=32&test=64&size=128&classes=4&objects=4

Plain shapes in any colour, size and direction on uneven ground, with exact masks and boxes. A class is a shape and nothing else.
Shapes may cover a part of others and reach over the border; masks and boxes are of what is seen. Of any eight images in a row,
one has no object.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from subband.data.detection.instances import DetectionData, Instances, box_of_mask, encode_mask
from subband.data.embedded.drawing.canvas import Colours, Field, Generator, blend, grid, smooth_noise, step, white_noise
from subband.data.embedded.drawn import whole_numbers
from subband.errors import DataError

# Raise this whenever a drawing changes: digests are made of recipes.
SHAPES_VERSION = 1

_SMALLEST, _LARGEST = 0.09, 0.22  # radius, in sides of the image
_MOST_COVERED = 0.35  # share of the smaller of two shapes
_FEWEST_PIXELS = 12
_ATTEMPTS = 30


def _disc(u: Field, v: Field) -> Field:
    return np.asarray(np.hypot(u, v) - 0.9)


def _square(u: Field, v: Field) -> Field:
    return np.asarray(np.maximum(abs(u), abs(v)) - 0.75)


def _triangle(u: Field, v: Field) -> Field:
    return np.asarray(np.maximum(-v, abs(u) * np.sqrt(3) / 2 + v / 2) - 0.5)


def _ring(u: Field, v: Field) -> Field:
    return np.asarray(abs(np.hypot(u, v) - 0.7) - 0.25)


def _cross(u: Field, v: Field) -> Field:
    upright = np.maximum(abs(u) - 0.25, abs(v) - 0.9)
    return np.minimum(upright, np.maximum(abs(v) - 0.25, abs(u) - 0.9))


def _crescent(u: Field, v: Field) -> Field:
    return np.maximum(np.hypot(u, v) - 0.9, 0.7 - np.hypot(u - 0.45, v))


SHAPES: Mapping[str, Callable[[Field, Field], Field]] = {
    "disc": _disc,
    "square": _square,
    "triangle": _triangle,
    "ring": _ring,
    "cross": _cross,
    "crescent": _crescent,
}
"""Classes in their order: fields of a unit shape that are negative inside."""


@dataclass(frozen=True)
class ShapesRecipe:
    """All that decides one image; it is an `AnnotatedPicture`.

    Attributes:
        seed: of the dataset.
        split: train, validation or test.
        index: of the image in its split, from 0.
        side: in pixels.
        classes: number of classes.
        objects: highest number of objects.
    """

    seed: int
    split: str
    index: int
    side: int
    classes: int
    objects: int

    @property
    def name(self) -> str:
        """Split and index."""
        return f"{self.split}-{self.index:05d}"

    @property
    def image(self) -> ShapesImage:
        """The image."""
        return ShapesImage(self)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.side, self.side

    def instances(self) -> Instances:
        """Exact masks of what is seen of each shape, and the smallest boxes around them."""
        return _kept(self)[1]

    def picture(self) -> NDArray[np.uint8]:
        """(S, S, 3), read-only."""
        return _kept(self)[0]

    def drawn_anew(self) -> tuple[NDArray[np.uint8], Instances]:
        """As `picture` and `instances`, though they may be in memory."""
        place = zlib.crc32(f"{self.split}/shapes".encode())
        rng = np.random.Generator(np.random.PCG64([self.seed, place, self.index]))
        colours, ground = _ground(rng, self.side)
        count = 0 if self.index % 8 == 7 else int(rng.integers(1, self.objects + 1))
        masks: list[NDArray[np.bool_]] = []
        labels: list[int] = []
        for _ in range(count):
            label = int(rng.integers(self.classes))
            colour = _colour_unlike(rng, ground)
            if (field := self._placed(rng, label, masks)) is None:
                continue
            shading = 1 + 0.12 * smooth_noise(rng, self.side, 0.1)
            colours = blend(colours, colour.reshape(3, 1, 1) * shading, 1 - step(field, 0.5 / self.side))
            inside = field <= 0
            masks = [*(mask & ~inside for mask in masks), inside]
            labels.append(label)
        colours = colours + 0.02 * white_noise(rng, self.side)
        picture = np.ascontiguousarray(np.rint(np.clip(colours, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0))
        picture.flags.writeable = False
        return picture, Instances.of(
            [box_of_mask(mask) for mask in masks],
            labels,
            [encode_mask(mask) for mask in masks],
            [float(mask.sum()) for mask in masks],
            [False] * len(masks),
        )

    def _placed(self, rng: Generator, label: int, masks: list[NDArray[np.bool_]]) -> Field | None:
        """A field, negative inside, of a shape that leaves enough of every other one; None if no place was found."""
        x, y = grid(self.side)
        shape = list(SHAPES.values())[label]
        for _ in range(_ATTEMPTS):
            radius, angle = rng.uniform(_SMALLEST, _LARGEST), rng.uniform(0, 2 * np.pi)
            centre_x, centre_y = rng.uniform(0.05, 0.95, 2)
            across, down = (x - centre_x) / radius, (y - centre_y) / radius
            turned = np.cos(angle) * across + np.sin(angle) * down, np.cos(angle) * down - np.sin(angle) * across
            field = shape(*turned) * radius
            inside = field <= 0
            if inside.sum() < _FEWEST_PIXELS:
                continue
            if all((inside & mask).sum() <= _MOST_COVERED * min(inside.sum(), mask.sum()) for mask in masks) and all(
                (mask & ~inside).sum() >= _FEWEST_PIXELS for mask in masks
            ):
                return np.asarray(field)
        return None


@dataclass(frozen=True)
class ShapesImage:
    """The image of a recipe (`subband.data.ImageSource`)."""

    recipe: ShapesRecipe

    def open(self) -> Image.Image:
        """Draw it, mode RGB."""
        return Image.fromarray(self.recipe.picture())

    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.recipe.size

    def digest(self) -> str:
        """Hash of the recipe."""
        return _digest({"what": "image", **asdict(self.recipe)})


# A training reads every image in every epoch, and drawing takes 5 ms: 2048 of 128 pixels are 100 MB.
@lru_cache(maxsize=2048)
def _kept(recipe: ShapesRecipe) -> tuple[NDArray[np.uint8], Instances]:
    return recipe.drawn_anew()


def _ground(rng: Generator, side: int) -> tuple[Colours, NDArray[np.float64]]:
    """Uneven ground, and its mean colour (3,)."""
    colour = rng.uniform(0.15, 0.85, 3)
    uneven = 0.06 * smooth_noise(rng, side, rng.uniform(0.02, 0.2)) + 0.05 * smooth_noise(rng, side, 0.3)
    return np.asarray(colour.reshape(3, 1, 1) + uneven), colour


def _colour_unlike(rng: Generator, ground: NDArray[np.float64]) -> NDArray[np.float64]:
    """A colour (3,) that stands out from the ground."""
    while True:
        colour = rng.uniform(0.05, 0.95, 3)
        if np.abs(colour - ground).max() > 0.3:
            return np.asarray(colour)


def _digest(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps({"shapes": SHAPES_VERSION, **content}, sort_keys=True).encode()).hexdigest()


class SyntheticCoco(DetectionData):
    """The embedded dataset for object detection.

    Args:
        seed: another one draws other images.
        train: number of training images.
        validation: number of images that choose the checkpoint.
        test: number of images that are reported.
        size: side of the images in pixels.
        classes: number of classes, the first of `SHAPES`.
        objects: highest number of objects in an image.
    """

    def __init__(
        self,
        seed: int = 0,
        train: int = 256,
        validation: int = 32,
        test: int = 64,
        size: int = 128,
        classes: int = 4,
        objects: int = 4,
    ) -> None:
        counts = {"train": train, "validation": validation, "test": test}
        options = {"seed": seed, **counts, "size": size, "classes": classes, "objects": objects}
        super().__init__(
            "synthetic-coco:?" + "&".join(f"{name}={value}" for name, value in options.items()),
            "synthetic-coco",
            tuple(SHAPES)[:classes],
            {
                split: [ShapesRecipe(seed, split, index, size, classes, objects) for index in range(count)]
                for split, count in counts.items()
                if count
            },
        )
        self._options = options

    def digest(self) -> str:
        """Hash of the recipe and the version of the drawings; nothing is drawn."""
        return _digest(self._options)


def open_synthetic_coco(path: str, options: Mapping[str, str]) -> SyntheticCoco:
    """Open the embedded dataset for object detection.

    Args:
        path: must be empty; the URI has options only.
        options: seed, train, validation, test, size, classes, objects, as `SyntheticCoco` explains them.

    Raises:
        DataError: a path, an unknown option, or a value that is no number or out of range.
    """
    if path:
        raise DataError(
            f"synthetic-coco: takes options and no path; write synthetic-coco:?{path.lstrip('/')} or coco:{path}"
        )
    return SyntheticCoco(**whole_numbers("synthetic-coco", options, _RANGES))


_RANGES = {
    "seed": (0, 2**32 - 1),
    "train": (1, 100_000),
    "validation": (0, 100_000),
    "test": (0, 100_000),
    "size": (32, 2048),
    "classes": (1, len(SHAPES)),
    "objects": (1, 20),
}
