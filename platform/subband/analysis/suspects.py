"""Good images that look least like the others: defects among them are the commonest reason for a poor detector."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from subband.analysis.detectors import category_runner
from subband.data import Category
from subband.data.checks import file_of
from subband.methods import make_params, staged_method
from subband.report.contact_sheet import Tile, contact_sheet

SETTLED = {"backbone": "efficientnet_lite0", "weights": "packaged"}
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class Suspect:
    """One good image and how unlike the others it is.

    Attributes:
        name: of the sample.
        where: its file, or its name if it is in none.
        score: by a fit to all other good images.
        deviations: how many standard deviations the logarithm of the score lies above the median of all, both estimated robustly.
        image: (H, W, 3) uint8, as the method sees it.
        place: (row, column) in it where it is least like the others.
    """

    name: str
    where: str
    score: float
    deviations: float
    image: np.ndarray
    place: tuple[int, int]


def find_suspects(category: Category, count: int, method_name: str) -> list[Suspect]:
    """The good images, for training and for tests, that a model of the others finds most unusual; the most unusual first.

    A fit that has not seen it scores each image, by a method's default params with packaged weights.

    Args:
        category: its samples.
        count: how many at most.
        method_name: of a method that is fitted stage by stage.

    Raises:
        DataError: there are fewer than two good images.
        ModelError: the packaged weights are missing.
    """
    good = [sample for sample in (*category.train, *category.test) if not sample.label]
    method = staged_method(method_name)
    params = make_params(method, SETTLED)
    fitted = method.fit(params, category_runner(replace(category, train=tuple(good), test=()), None))
    scores = np.asarray(fitted.good_scores, dtype=np.float64)
    logarithms = np.log(np.maximum(scores, np.finfo(np.float64).tiny))
    middle = np.median(logarithms)
    spread = _MAD_TO_SIGMA * np.median(np.abs(logarithms - middle))
    deviations = (logarithms - middle) / spread if spread else np.zeros_like(logarithms)
    chosen = np.argsort(-scores, kind="stable")[:count]
    images = [good[index].image.open() for index in chosen]
    maps = fitted.detector.predict(images).maps
    found = []
    for index, image, map_SS in zip(chosen, images, maps, strict=True):
        where = str(file_of(good[index].image) or good[index].name)
        row, column = (int(place) for place in np.unravel_index(np.argmax(map_SS), map_SS.shape))
        seen = method.preprocess(params).image(image)
        found.append(
            Suspect(good[index].name, where, float(scores[index]), float(deviations[index]), seen, (row, column))
        )
    return found


def contact_sheets(found: Mapping[str, Sequence[Suspect]], folder: Path, method_name: str) -> list[Path]:
    """Draw the suspects of each category, one file a category.

    Args:
        found: suspects by category.
        folder: where the files go; made if it is missing.
        method_name: what scored them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, (name, suspects) in enumerate(found.items(), start=1):
        tiles = [
            Tile(s.image, f"{s.deviations:.1f}  {s.name.removeprefix('train/').removeprefix('test/')}", s.place)
            for s in suspects
        ]
        title = f"{name}: good images that look least like the others"
        note = (
            "Numbers: standard deviations above the median score (robust, of the logarithm; each image scored by "
            f"{method_name} fitted to the others). Circles: where an image is least like the others."
        )
        # Numbered, because a table's category may hold characters that no file name has.
        legal = re.sub(r"[^\w-]+", "_", name)
        files.append(folder / f"{number:02d}-{legal}.png")
        contact_sheet(tiles, title, note).savefig(files[-1])
    return files
