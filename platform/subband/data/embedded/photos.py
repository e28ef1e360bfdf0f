"""``photos:``: the embedded real photographs: crops of brick, grass and gravel with made-up defects.

    photos:?categories=brick,grass&seed=0&difficulty=0.2

scikit-image ships one photograph of each, 512 x 512 pixels, grey, in the public domain. A photograph is cut into 64 crops of 64 x
64 pixels that share no pixel: 48 for training, and 16 for tests that lie scattered among them, since light and texture change over
a photograph. Each test crop occurs as it is and with a defect that is drawn on it, whose mask is exact.
"""

from __future__ import annotations

import functools
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from subband.data.embedded.drawing.canvas import Generator
from subband.data.embedded.drawing.defects import DEFECTS, damage
from subband.data.embedded.drawing.scene import Scene
from subband.data.embedded.drawn import DrawnImage, DrawnMask, drawing_options, in_8_bit, supersampling
from subband.data.folders import GOOD
from subband.data.sample import Category, Sample
from subband.errors import DataError, unknown_name

# Raise this whenever crops or defects change: digests are made of recipes.
CROP_VERSION = 2

PHOTOGRAPHS = ("brick", "grass", "gravel")
SIDE, SIZE = 512, 64  # of a photograph, of a crop; pixels
COLUMNS = SIDE // SIZE
# One crop in each half of every row, every second row shifted: neighbours of a test crop are for training.
TEST_CROPS = tuple(index for index in range(COLUMNS**2) if (2 * (index // COLUMNS) + index % COLUMNS) % 4 == 0)
TRAIN_CROPS = tuple(index for index in range(COLUMNS**2) if index not in TEST_CROPS)
SOURCE = "scikit-image's photographs of brick, grass and gravel, in the public domain"

_SCRATCH, _STAIN = (0.92, 0.92, 0.90), (0.55, 0.42, 0.25)


@dataclass(frozen=True)
class CropRecipe:
    """All that decides one crop.

    Attributes:
        category: one of `PHOTOGRAPHS`.
        index: of the crop in the photograph, row by row from the top left.
        defect: ``good`` or one of `DEFECTS`.
        seed: of the defect; 0 for a good crop.
        difficulty: of the defect, 0 easy to 1 hard; 0 for a good crop.
    """

    category: str
    index: int
    defect: str
    seed: int
    difficulty: float

    @property
    def size(self) -> int:
        """Side in pixels."""
        return SIZE

    @property
    def corner(self) -> tuple[int, int]:
        """Row and column of the photograph at which the crop begins."""
        row, column = divmod(self.index, COLUMNS)
        return row * SIZE, column * SIZE

    def draw(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The image (S, S, 3) and the mask of its defect (S, S), all False for a good crop."""
        top, left = self.corner
        crop = photograph(self.category)[top : top + SIZE, left : left + SIZE]
        image = np.repeat(crop[..., None], 3, axis=2)
        if self.defect == GOOD:
            return image, np.zeros((SIZE, SIZE), np.bool_)
        fine = supersampling(SIZE)
        larger = Image.fromarray(crop).resize((SIZE * fine, SIZE * fine), Image.Resampling.BICUBIC)
        colours = np.repeat(np.asarray(larger, np.float64)[None] / 255, 3, axis=0)
        scene = Scene(colours, np.full_like(colours, 0.12), scratch=_SCRATCH, stain=_STAIN)
        damaged, mask = in_8_bit(*damage(scene, self.defect, self._random(), self.difficulty, larger=_LARGER), fine)
        return np.where(mask[..., None], damaged, image), mask

    def digest(self, what: str) -> str:
        """Hash of the recipe and of the photograph."""
        content = hashlib.sha256(photograph(self.category).tobytes()).hexdigest()
        recipe = json.dumps({"crop": CROP_VERSION, "what": what, "photograph": content, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(recipe.encode()).hexdigest()

    def _random(self) -> Generator:
        place = zlib.crc32(f"photos/{self.category}/{self.defect}".encode())
        return np.random.Generator(np.random.PCG64([self.seed, place, self.index]))


# A crop shows a smaller part of its surface than a drawn product does, so the same defect is larger in it.
_LARGER = 2.5


@functools.cache
def photograph(name: str) -> NDArray[np.uint8]:
    """A photograph, uint8 (512, 512), read-only.

    Raises:
        DataError: this scikit-image does not bring it.
    """
    from skimage import data

    try:
        pixels = np.ascontiguousarray(getattr(data, name)())
    except Exception as error:  # it would be downloaded, which may fail in many ways
        raise DataError(
            f"scikit-image's photograph {name!r} cannot be read ({error}); reinstall scikit-image>=0.25"
        ) from error
    if pixels.shape != (SIDE, SIDE) or pixels.dtype != np.uint8:
        raise DataError(f"scikit-image's photograph {name!r} has shape {pixels.shape}; install scikit-image>=0.25")
    pixels.setflags(write=False)
    return pixels


@dataclass(frozen=True)
class PhotosDataset:
    """The embedded photographs.

    Attributes:
        categories: some of `PHOTOGRAPHS`, sorted.
        seed: of the defects; 0 or more.
        difficulty: 0 (large defects of full contrast) to 1 (small and faint).
    """

    categories: tuple[str, ...] = PHOTOGRAPHS
    seed: int = 0
    difficulty: float = 0.2

    @property
    def uri(self) -> str:
        """The URI that opens this dataset again, with every option written out."""
        return f"photos:?seed={self.seed}&difficulty={self.difficulty:g}&categories={','.join(self.categories)}"

    @property
    def name(self) -> str:
        """``photos``."""
        return "photos"

    def category(self, name: str) -> Category:
        """The samples of one category; nothing is cut or drawn yet.

        Raises:
            DataError: no such category.
        """
        if name not in self.categories:
            raise DataError(f"{self.uri}: {unknown_name('category', name, self.categories)}")
        return Category(
            name,
            tuple(self._sample(name, "train", index, GOOD) for index in TRAIN_CROPS),
            (
                *(self._sample(name, "test", index, GOOD) for index in TEST_CROPS),
                *(
                    self._sample(name, "test", index, DEFECTS[place % len(DEFECTS)])
                    for place, index in enumerate(TEST_CROPS)
                ),
            ),
            (
                f"all crops of {name} come from one photograph and its defects are drawn: a demonstration, not a benchmark",
            ),
        )

    def _sample(self, category: str, split: Literal["train", "test"], index: int, defect: str) -> Sample:
        label = int(defect != GOOD)
        recipe = CropRecipe(category, index, defect, self.seed if label else 0, self.difficulty if label else 0.0)
        mask = DrawnMask(recipe) if label else None
        return Sample(f"{split}/{defect}/{index:03d}", split, label, defect, DrawnImage(recipe), mask)


def open_photos(path: str, options: Mapping[str, str]) -> PhotosDataset:
    """Open the embedded photographs.

    Args:
        path: must be empty; the URI has options only.
        options: seed, difficulty, categories, as `PhotosDataset` explains them.

    Raises:
        DataError: a path, an unknown option or category, or a value that is no number or out of range.
    """
    if path:
        raise DataError(f"photos: takes options and no path; write photos: or folder:{path}")
    numbers, difficulty = drawing_options(
        "photos", options, {"seed": (0, 2**32 - 1)}, PhotosDataset.difficulty, ["categories"]
    )
    names = tuple(sorted({name.strip() for name in options.get("categories", "").split(",") if name.strip()}))
    if "categories" in options and not names:
        raise DataError(f"photos: the option categories is empty (legal: {', '.join(PHOTOGRAPHS)})")
    for name in names:
        if name not in PHOTOGRAPHS:
            raise DataError(f"photos: {unknown_name('category', name, PHOTOGRAPHS)}")
    return PhotosDataset(names or PHOTOGRAPHS, difficulty=difficulty, **numbers)
