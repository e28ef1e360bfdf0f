"""``synthetic-surface:``: the embedded dataset for segmentation, drawn when it is read, the same everywhere for the same seed.

    synthetic-surface:?seed=0&train=96&test=32&size=256&difficulty=0.4&clean=1

Surfaces of concrete, steel, leather and terrazzo with cracks, scratches and stains, and an exact mask of every training and test
image. Of any eight images in a row, five have one defect, two have two or three, and one has none (with ``clean=0``, all of any
seven have one); the surface is drawn by lot.
Every image comes from its own random streams, as those of `subband.data.embedded.synthetic`.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from subband.data.embedded.drawing.canvas import Generator
from subband.data.embedded.drawing.defects import damage
from subband.data.embedded.drawing.scene import Scene
from subband.data.embedded.drawing.surfaces import concrete, steel
from subband.data.embedded.drawing.textures import leather, tile
from subband.data.embedded.drawn import DrawnImage, DrawnMask, drawing_options, in_8_bit, supersampling
from subband.data.folders import GOOD
from subband.data.sample import Category, Sample
from subband.errors import DataError, unknown_name

# Raise this whenever a drawing changes: digests are made of recipes.
SURFACE_VERSION = 1

CATEGORY = "surface"
SURFACES: tuple[Callable[[Generator, int], Scene], ...] = (concrete, steel, leather, tile)

# A surface is seen from nearer than a product: its defects reach across the image.
_LARGER = 1.6

# Defects of an image, by its index modulo 8; `damage` draws them in this order, a later one over an earlier.
_KINDS = (
    ("crack",),
    ("scratch",),
    ("stain",),
    ("stain", "crack"),
    ("crack",),
    (),
    ("scratch",),
    ("stain", "scratch", "crack"),
)


@dataclass(frozen=True)
class SurfaceRecipe:
    """All that decides one image.

    Attributes:
        seed: of the dataset.
        split: ``train`` or ``test``.
        index: of the sample in its split, from 0.
        size: side in pixels.
        kinds: of its defects, each one of `subband.data.embedded.drawing.defects.SURFACE_DEFECTS`.
        difficulty: of the defects, 0 easy to 1 hard.
    """

    seed: int
    split: Literal["train", "test"]
    index: int
    size: int
    kinds: tuple[str, ...]
    difficulty: float

    def draw(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The image (S, S, 3) and the mask of its defects (S, S), both read-only."""
        return _kept(self) if self.size <= _KEPT_UP_TO else self.drawn_anew()

    def drawn_anew(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """As `draw`, though the image may be in memory."""
        fine = supersampling(self.size)
        piece = self._random("piece")
        scene = SURFACES[int(piece.integers(len(SURFACES)))](piece, self.size * fine)
        mask: NDArray[np.bool_] = np.zeros((self.size * fine, self.size * fine), np.bool_)
        for number, kind in enumerate(self.kinds):
            colours, covered = damage(scene, kind, self._random(f"defect {number}"), self.difficulty, _LARGER)
            scene, mask = replace(scene, colours=colours), mask | covered
        picture, mask = in_8_bit(scene.colours, mask, fine)
        picture.flags.writeable = mask.flags.writeable = False
        return picture, mask

    def digest(self, what: str) -> str:
        """Hash of the recipe and the version of the drawings; nothing is drawn."""
        recipe = json.dumps({"surface": SURFACE_VERSION, "what": what, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(recipe.encode()).hexdigest()

    def _random(self, purpose: str) -> Generator:
        place = zlib.crc32(f"{CATEGORY}/{self.split}/{purpose}".encode())
        return np.random.Generator(np.random.PCG64([self.seed, place, self.index]))


# A training reads every image and its mask in every epoch, and drawing takes 10 to 20 ms: small ones are kept, 130 MB at most.
_KEPT_UP_TO = 256


@lru_cache(maxsize=512)
def _kept(recipe: SurfaceRecipe) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    return recipe.drawn_anew()


@dataclass(frozen=True)
class SurfaceDataset:
    """The embedded dataset for segmentation; it has one category.

    Attributes:
        seed: 0 or more; another seed draws other surfaces.
        train: training images.
        test: test images.
        size: side of the images in pixels.
        difficulty: 0 (large defects of full contrast) to 1 (small and faint).
        clean: 1 if one image in eight has no defect, 0 if all have one: the published weighted F of an empty mask is 0 whatever
            is predicted, so that a mean over such images ends at 0.875.
    """

    seed: int = 0
    train: int = 96
    test: int = 32
    size: int = 256
    difficulty: float = 0.4
    clean: int = 1

    @property
    def uri(self) -> str:
        """The URI that opens this dataset again, with every option written out."""
        return (
            f"synthetic-surface:?seed={self.seed}&train={self.train}&test={self.test}&size={self.size}"
            f"&difficulty={self.difficulty:g}&clean={self.clean}"
        )

    @property
    def name(self) -> str:
        """``synthetic-surface``."""
        return "synthetic-surface"

    @property
    def categories(self) -> tuple[str, ...]:
        """``surface`` alone."""
        return (CATEGORY,)

    def category(self, name: str) -> Category:
        """Its samples; nothing is drawn yet. Good ones have a mask too, an empty one.

        Raises:
            DataError: no such category.
        """
        if name != CATEGORY:
            raise DataError(f"{self.uri}: {unknown_name('category', name, self.categories)}")
        return Category(
            name,
            tuple(self._sample("train", index) for index in range(self.train)),
            tuple(self._sample("test", index) for index in range(self.test)),
        )

    def _sample(self, split: Literal["train", "test"], index: int) -> Sample:
        legal = _KINDS if self.clean else tuple(kinds for kinds in _KINDS if kinds)
        kinds = legal[index % len(legal)]
        recipe = SurfaceRecipe(self.seed, split, index, self.size, kinds, self.difficulty)
        defect = "+".join(kinds) or GOOD
        return Sample(
            f"{split}/{defect}/{index:03d}", split, int(bool(kinds)), defect, DrawnImage(recipe), DrawnMask(recipe)
        )


def open_synthetic_surface(path: str, options: Mapping[str, str]) -> SurfaceDataset:
    """Open the embedded dataset for segmentation.

    Args:
        path: must be empty; the URI has options only.
        options: seed, train, test, size, difficulty, clean, as `SurfaceDataset` explains them.

    Raises:
        DataError: a path, an unknown option, or a value that is no number or out of range.
    """
    if path:
        raise DataError(
            f"synthetic-surface: takes options and no path; write synthetic-surface:?{path.lstrip('/')} or pairs:{path}"
        )
    numbers, difficulty = drawing_options("synthetic-surface", options, _RANGES, SurfaceDataset.difficulty)
    return SurfaceDataset(difficulty=difficulty, **numbers)


_RANGES = {"seed": (0, 2**32 - 1), "train": (1, 100_000), "test": (0, 100_000), "size": (32, 2048), "clean": (0, 1)}
