"""``synthetic:``: the embedded dataset, drawn when it is read, the same everywhere for the same seed.

    synthetic:?seed=0&train=32&test=24&size=256&difficulty=0.5&categories=weave,leather

Every image comes from its own random stream, seeded by (seed, category, split, index), so that neither the order of
drawing, the number of threads nor the number of samples changes it.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from subband.data.embedded.drawing.canvas import Generator
from subband.data.embedded.drawing.defects import DEFECTS, damage
from subband.data.embedded.drawing.objects import capsule, nut
from subband.data.embedded.drawing.scene import Scene
from subband.data.embedded.drawing.textures import leather, tile, weave, wood
from subband.data.embedded.drawn import DrawnImage, DrawnMask, drawing_options, in_8_bit, supersampling
from subband.data.folders import GOOD
from subband.data.sample import Category, Sample
from subband.errors import DataError, unknown_name

# Raise this whenever a drawing changes: digests are made of recipes, so stored results would otherwise belong to
# other images.
DRAWING_VERSION = 1

PRODUCTS: dict[str, Callable[[Generator, int], Scene]] = {
    "capsule": capsule,
    "leather": leather,
    "nut": nut,
    "tile": tile,
    "weave": weave,
    "wood": wood,
}


@dataclass(frozen=True)
class Recipe:
    """All that decides one drawing.

    Attributes:
        seed: of the dataset.
        category: one of `PRODUCTS`.
        split: ``train`` or ``test``.
        index: of the sample in its split, from 0.
        size: side in pixels.
        defect: ``good`` or one of `DEFECTS`.
        difficulty: of the defect, 0 easy to 1 hard; 0 for a good sample, which it does not change.
    """

    seed: int
    category: str
    split: Literal["train", "test"]
    index: int
    size: int
    defect: str
    difficulty: float

    def draw(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The image (S, S, 3) and the mask of its defect (S, S), all False for a good sample."""
        fine = supersampling(self.size)
        scene = PRODUCTS[self.category](self._random("piece"), self.size * fine)
        colours = scene.colours
        mask: NDArray[np.bool_] = np.zeros((self.size * fine, self.size * fine), np.bool_)
        if self.defect != GOOD:
            colours, mask = damage(scene, self.defect, self._random("defect"), self.difficulty)
        return in_8_bit(colours, mask, fine)

    def digest(self, what: str) -> str:
        """Hash of the recipe and the version of the drawings; nothing is drawn."""
        recipe = json.dumps({"version": DRAWING_VERSION, "what": what, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(recipe.encode()).hexdigest()

    def _random(self, purpose: str) -> Generator:
        place = zlib.crc32(f"{self.category}/{self.split}/{purpose}".encode())
        return np.random.Generator(np.random.PCG64([self.seed, place, self.index]))


@dataclass(frozen=True)
class SyntheticDataset:
    """The embedded dataset.

    Attributes:
        categories: some of `PRODUCTS`, sorted.
        seed: 0 or more; another seed draws other pieces of the same products.
        train: good training images a category.
        test: test images a category; the first half is good (the larger half of an odd number), the others are
            defective, with the kinds of `DEFECTS` in turn.
        size: side of the images in pixels.
        difficulty: 0 (large defects of full contrast) to 1 (small and faint).
    """

    categories: tuple[str, ...] = tuple(sorted(PRODUCTS))
    seed: int = 0
    train: int = 32
    test: int = 24
    size: int = 256
    difficulty: float = 0.5

    @property
    def uri(self) -> str:
        """The URI that opens this dataset again, with every option written out."""
        return (
            f"synthetic:?seed={self.seed}&train={self.train}&test={self.test}&size={self.size}"
            f"&difficulty={self.difficulty:g}&categories={','.join(self.categories)}"
        )

    @property
    def name(self) -> str:
        """``synthetic``."""
        return "synthetic"

    def category(self, name: str) -> Category:
        """The samples of one category; nothing is drawn yet.

        Raises:
            DataError: no such category.
        """
        if name not in self.categories:
            raise DataError(f"{self.uri}: {unknown_name('category', name, self.categories)}")
        good = self.test - self.test // 2
        kinds = [GOOD] * good + [DEFECTS[number % len(DEFECTS)] for number in range(self.test // 2)]
        return Category(
            name,
            tuple(self._sample(name, "train", index, GOOD) for index in range(self.train)),
            tuple(self._sample(name, "test", index, kind) for index, kind in enumerate(kinds)),
        )

    def _sample(self, category: str, split: Literal["train", "test"], index: int, defect: str) -> Sample:
        label = int(defect != GOOD)
        recipe = Recipe(self.seed, category, split, index, self.size, defect, self.difficulty if label else 0.0)
        mask = DrawnMask(recipe) if label else None
        return Sample(f"{split}/{defect}/{index:03d}", split, label, defect, DrawnImage(recipe), mask)


def open_synthetic(path: str, options: Mapping[str, str]) -> SyntheticDataset:
    """Open the embedded dataset.

    Args:
        path: must be empty; the URI has options only.
        options: seed, train, test, size, difficulty, categories, as `SyntheticDataset` explains them.

    Raises:
        DataError: a path, an unknown option or category, or a value that is no number or out of range.
    """
    if path:
        raise DataError(f"synthetic: takes options and no path; write synthetic:?{path.lstrip('/')} or mvtec:{path}")
    numbers, difficulty = drawing_options("synthetic", options, _RANGES, SyntheticDataset.difficulty, ["categories"])
    categories = _categories(options["categories"]) if "categories" in options else SyntheticDataset.categories
    return SyntheticDataset(categories, difficulty=difficulty, **numbers)


_RANGES = {"seed": (0, 2**32 - 1), "train": (1, 100_000), "test": (0, 100_000), "size": (32, 2048)}


def _categories(text: str) -> tuple[str, ...]:
    names = sorted({name.strip() for name in text.split(",") if name.strip()})
    if not names:
        raise DataError(f"synthetic: the option categories is empty (legal: {', '.join(PRODUCTS)})")
    for name in names:
        if name not in PRODUCTS:
            raise DataError(f"synthetic: {unknown_name('category', name, PRODUCTS)}")
    return tuple(names)
