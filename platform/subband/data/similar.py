"""Images that belong together: of one group, equal, or nearly equal.

Two files are nearly equal if their fine structure is: each image is made grey, scaled to 64 x 64 and band-passed (the difference
of Gaussians of 0.7 and 1.5 pixels), so that neither brightness nor the outline that all images of a product share decides. They
belong together where the correlation of these is at least `CORRELATION` and what remains between them is at most `REMAINDER` grey
levels. On eight real products this joins an image with its copies in JPEG of quality 50 and of 80 % of the size, and with a second
photograph of a part that did not move, while the most alike of different parts reach a correlation of 0.994. It does not join
images that moved by more than half a pixel, nor images so flat that the noise of their coding is most of what they hold: for
these, say which belong together (`group=`).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from subband.data.digests import remembered_facts
from subband.data.fingerprint import digests
from subband.data.images import FileSource
from subband.data.sample import Sample

CORRELATION, REMAINDER = 0.995, 0.75
COMPARED_AT_MOST = 5000
"""Images of a category; of more, only groups and equal images are found, since every pair would have to be compared."""

_SIDE, _LOW, _HIGH = 64, 0.7, 1.5  # pixels
_KIND = "fine-structure-1"
_ROWS = 512  # compared with all others at a time


def group_by_content(samples: Sequence[Sample]) -> tuple[int, ...]:
    """A number for each sample, from 0 in the order of first occurrence; equal for those that belong together.

    The samples' order changes the numbers, never what belongs together.

    Args:
        samples: of one category.

    Raises:
        DataError: a file cannot be read.
    """
    content = digests([sample.image for sample in samples])
    parents = list(range(len(samples)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    def join(a: int, b: int) -> None:
        first, second = sorted((root(a), root(b)))
        parents[second] = first

    first_of: dict[str, int] = {}
    for place, (sample, digest) in enumerate(zip(samples, content, strict=True)):
        join(first_of.setdefault(f"content {digest}", place), place)
        if sample.group is not None:
            join(first_of.setdefault(f"group {sample.group}", place), place)
    files = [
        place
        for place, (sample, digest) in enumerate(zip(samples, content, strict=True))
        if isinstance(sample.image, FileSource) and first_of[f"content {digest}"] == place
    ]
    if 1 < len(files) <= COMPARED_AT_MOST:
        structures = fine_structures([samples[place] for place in files], [content[place] for place in files])
        for a, b in _alike(structures):
            join(files[a], files[b])
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(root(place), len(numbers)) for place in range(len(samples)))


def describe_groups(groups: Sequence[int]) -> str:
    """The groups of more than one image in words, for instance "12 of 40 images are copies of others or belong to their groups".

    Empty where there are none.
    """
    distinct = len(set(groups))
    if distinct == len(groups):
        return ""
    return (
        f"{len(groups) - distinct} of {len(groups)} good training images are copies or near copies of others, or of one group with "
        f"them; {distinct} are distinct"
    )


def fine_structures(samples: Sequence[Sample], content: Sequence[str]) -> NDArray[np.float32]:
    """Band-passed small images, remembered by content.

    Args:
        samples: N of them.
        content: their digests.

    Returns:
        (N, 4096) float32, grey levels around a mean of 0.
    """

    def compute(place: int) -> str:
        return base64.b64encode(_fine_structure(samples[place].image.open()).astype(np.float16).tobytes()).decode()

    texts = remembered_facts(_KIND, content, compute)
    return np.stack([np.frombuffer(base64.b64decode(text), np.float16) for text in texts]).astype(np.float32)


def _fine_structure(image: Image.Image) -> NDArray[np.float64]:
    small = np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS), np.float64)
    band = gaussian_filter(small, _LOW) - gaussian_filter(small, _HIGH)
    return np.asarray((band - band.mean()).ravel())


def _alike(structures_NK: NDArray[np.float32]) -> list[tuple[int, int]]:
    deviations_N = structures_NK.std(axis=1)
    lengths_N1 = np.linalg.norm(structures_NK, axis=1, keepdims=True)
    units_NK = structures_NK / np.where(lengths_N1 > 0, lengths_N1, 1)
    pairs = []
    for start in range(0, len(units_NK), _ROWS):
        correlation = np.clip(units_NK[start : start + _ROWS] @ units_NK.T, -1, 1)
        larger = np.maximum(deviations_N[start : start + _ROWS, None], deviations_N[None])
        remainder = np.sqrt(1 - correlation**2) * larger
        rows, columns = np.nonzero((correlation >= CORRELATION) & (remainder <= REMAINDER))
        pairs += [(int(a) + start, int(b)) for a, b in zip(rows, columns, strict=True) if a + start < b]
    return pairs
