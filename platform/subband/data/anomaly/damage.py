"""Damaged copies of good images, to choose parameters by when there are no labelled defects.

Two kinds, drawn by lot: a cut-and-paste patch or scar in the manner of CutPaste (Li et al., CVPR 2021), and a blob of
a foreign texture blended in, in the manner of DRAEM (Zavrtanik et al., ICCV 2021). The mask is exactly the damaged
region.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from subband.data.embedded.drawing.canvas import Colours, Generator, smooth_noise
from subband.data.embedded.drawing.textures import leather, tile, weave, wood
from subband.data.sample import ImageSource

# Raise this whenever the damage changes: it is part of the digest.
DAMAGE_VERSION = 1

_FOREIGN = (leather, tile, weave, wood)
_FOREIGN_SIZE = 128


@dataclass(frozen=True)
class Damaged:
    """An image, or the mask, of a damaged copy.

    Attributes:
        source: the good image.
        seed: decides kind, place and shape of the damage, together with the size of the image.
        as_mask: whether this source gives the mask (mode L, 255 where damaged) or the image (mode RGB).
    """

    source: ImageSource
    seed: int
    as_mask: bool = False

    def open(self) -> Image.Image:
        """Decode the good image and damage it.

        Raises:
            DataError: the good image cannot be decoded.
        """
        image, mask = damage_picture(np.asarray(self.source.open().convert("RGB")), self.seed)
        return Image.fromarray(mask.astype(np.uint8) * np.uint8(255)) if self.as_mask else Image.fromarray(image)

    def digest(self) -> str:
        """Hash of the good image's digest and the seed."""
        return self.digest_given(self.source.digest())

    def digest_given(self, source_digest: str) -> str:
        """The digest, where that of the good image is known already."""
        recipe = f"damaged {DAMAGE_VERSION} {self.seed} {'mask' if self.as_mask else 'image'} {source_digest}"
        return hashlib.sha256(recipe.encode()).hexdigest()


def damage_picture(image: NDArray[np.uint8], seed: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Damage a good image.

    Args:
        image: uint8 (H, W, 3).
        seed: decides kind, place and shape.

    Returns:
        The damaged image, and the mask (H, W) of the damaged region, which is never empty; outside it the image
        is unchanged.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    damaged, mask = _pasted(image, rng) if rng.random() < 0.5 else _blob(image, rng)
    return np.where(mask[..., None], damaged, image), mask


def _pasted(image: NDArray[np.uint8], rng: Generator) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A rotated rectangle or narrow scar of the image itself, with another brightness and colour, elsewhere on it."""
    height, width = image.shape[:2]
    side = min(height, width)
    long, short = rng.uniform(0.12, 0.30), rng.uniform(0.015, 0.035)
    if rng.random() < 0.5:
        long, short = rng.uniform(0.07, 0.18, 2)
    half_long, half_short = max(long * side / 2, 1.0), max(short * side / 2, 1.0)
    angle = rng.uniform(0, np.pi)
    to_x, to_y, from_x, from_y = rng.uniform(0.2, 0.8, 4)

    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    x, y = x - np.floor(to_x * width), y - np.floor(to_y * height)
    along, across = np.cos(angle) * x + np.sin(angle) * y, -np.sin(angle) * x + np.cos(angle) * y
    mask = (np.abs(along) <= half_long) & (np.abs(across) <= half_short)

    columns = np.clip(np.floor(from_x * width + across), 0, width - 1).astype(np.int64)
    rows = np.clip(np.floor(from_y * height + along), 0, height - 1).astype(np.int64)
    gain = rng.uniform(1.25, 1.6) ** rng.choice((-1, 1)) * rng.uniform(0.92, 1.08, 3)
    patch = image[rows, columns].astype(np.float64)
    bright = np.where(patch[mask].mean() * gain.mean() > 235, 0.7, gain)  # a white product would stay white
    return _in_8_bit(patch * bright), mask


def _blob(image: NDArray[np.uint8], rng: Generator) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A blob bounded by smooth noise, filled with a drawn texture of another tint."""
    height, width = image.shape[:2]
    field = _resized(smooth_noise(rng, _FOREIGN_SIZE, rng.uniform(0.02, 0.05)), width, height)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    centre_x, centre_y = rng.uniform(0.25, 0.75, 2)
    radius = rng.uniform(0.06, 0.14) * min(height, width)
    distance = np.hypot(x - np.floor(centre_x * width), y - np.floor(centre_y * height)) / max(radius, 1.0)
    mask = distance + 0.30 * field < 1
    mask[int(centre_y * height), int(centre_x * width)] = True

    draw = _FOREIGN[int(rng.integers(len(_FOREIGN)))]
    foreign = _foreign_colours(draw(rng, _FOREIGN_SIZE).colours, width, height) * rng.uniform(0.6, 1.2, 3)
    opacity = rng.uniform(0.45, 0.9)
    return _in_8_bit(image * (1 - opacity) + foreign * (255 * opacity)), mask


def _resized(field: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    return np.asarray(
        Image.fromarray(field.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR), np.float64
    )


def _foreign_colours(colours: Colours, width: int, height: int) -> NDArray[np.float64]:
    return np.stack([_resized(channel, width, height) for channel in colours], axis=2)


def _in_8_bit(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(np.clip(values, 0, 255)), np.uint8)
