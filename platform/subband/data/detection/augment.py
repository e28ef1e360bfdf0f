"""Augmentation of images with objects: flips, random sizes and random crops, which keep image, boxes and masks together.

Source: the training pipeline of WSF-ViT's detectors (specification 11.2), which is that of DETR and Swin: every image is resized
to one of several sizes, half of them after a random crop of another size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from subband.errors import ParamsError

Policy = Literal["none", "flip", "flip-resize-crop"]


@dataclass(frozen=True, eq=False)
class Framed:
    """An image with its objects, all in the same pixels.

    Attributes:
        image: RGB, W x H.
        boxes: (M, 4) float32.
        labels: (M,) int64.
        masks: (M, H, W) bool.
    """

    image: Image.Image
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: NDArray[np.bool_]


@dataclass(frozen=True)
class Sizes:
    """What sizes a training image gets, in pixels.

    Attributes:
        short_sides: one of which is drawn.
        longest: that the longer side may have.
        before_crop: short sides before a crop, one of which is drawn.
        crop: smallest and largest side of a crop; height and width are drawn apart.
    """

    short_sides: tuple[int, ...]
    longest: int
    before_crop: tuple[int, ...] = ()
    crop: tuple[int, int] = (448, 600)

    def __post_init__(self) -> None:
        """Refuse sizes that contradict each other."""
        sides = (*self.short_sides, *self.before_crop, self.longest, *self.crop)
        if (
            not self.short_sides
            or min(sides) < 1
            or max(self.short_sides) > self.longest
            or self.crop[0] > self.crop[1]
        ):
            raise ParamsError(
                f"image sizes {self}: all are at least 1 pixel, the short sides at most the longest, the crop from small to large"
            )


def fitting_size(width: int, height: int, short: int, longest: int) -> tuple[int, int]:
    """Width and height of an image resized so that its shorter side is `short`, unless the longer one would exceed `longest`."""
    scale = min(short / min(width, height), longest / max(width, height))
    return max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))


def augment(framed: Framed, policy: Policy, sizes: Sizes, rng: np.random.Generator) -> Framed:
    """A training image as one epoch sees it.

    Args:
        framed: the image at its own size.
        policy: ``none`` resizes to the first of the sizes; ``flip`` mirrors half of the images before; ``flip-resize-crop`` draws
            one of the sizes, and for half of the images resizes to one of the sizes before a crop and crops first.
        sizes: in pixels.
        rng: the only source of randomness.

    Returns:
        The image; objects of which a crop leaves no pixel are gone.
    """
    if policy != "none" and rng.random() < 0.5:
        framed = flipped(framed)
    if policy != "flip-resize-crop":
        return resized(framed, *fitting_size(*framed.image.size, sizes.short_sides[0], sizes.longest))
    if sizes.before_crop and rng.random() < 0.5:
        short = int(rng.choice(sizes.before_crop))
        framed = resized(framed, *fitting_size(*framed.image.size, short, sizes.longest))
        framed = _cropped_at_random(framed, sizes.crop, rng)
    return resized(framed, *fitting_size(*framed.image.size, int(rng.choice(sizes.short_sides)), sizes.longest))


def flipped(framed: Framed) -> Framed:
    """Mirrored from left to right."""
    width = framed.image.width
    boxes = framed.boxes.copy()
    boxes[:, [0, 2]] = width - framed.boxes[:, [2, 0]]
    image = framed.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return replace(framed, image=image, boxes=boxes, masks=framed.masks[:, :, ::-1])


def resized(framed: Framed, width: int, height: int) -> Framed:
    """At another size: the image bilinear with antialiasing, masks by their nearest pixel."""
    old_width, old_height = framed.image.size
    if (width, height) == (old_width, old_height):
        return framed
    scale = np.array([width / old_width, height / old_height] * 2, np.float32)
    rows, columns = _nearest(height, old_height), _nearest(width, old_width)
    return replace(
        framed,
        image=framed.image.resize((width, height), Image.Resampling.BILINEAR),
        boxes=framed.boxes * scale,
        masks=framed.masks[:, rows][:, :, columns],
    )


def cropped(framed: Framed, left: int, top: int, width: int, height: int) -> Framed:
    """A part of the image; boxes are cut at its border, and objects of which no pixel is left are gone."""
    boxes = framed.boxes - np.array([left, top, left, top], np.float32)
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
    masks = framed.masks[:, top : top + height, left : left + width]
    seen = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]) & masks.any(axis=(1, 2))
    image = framed.image.crop((left, top, left + width, top + height))
    return Framed(image, boxes[seen], framed.labels[seen], masks[seen])


def _cropped_at_random(framed: Framed, sides: tuple[int, int], rng: np.random.Generator) -> Framed:
    width, height = framed.image.size
    lowest, highest = sides
    crop_height = int(rng.integers(min(height, lowest), min(height, highest) + 1))
    crop_width = int(rng.integers(min(width, lowest), min(width, highest) + 1))
    top, left = int(rng.integers(height - crop_height + 1)), int(rng.integers(width - crop_width + 1))
    return cropped(framed, left, top, crop_width, crop_height)


def _nearest(new: int, old: int) -> NDArray[np.intp]:
    """For each pixel of the new side, that of the old one in which its centre lies."""
    return ((np.arange(new) + 0.5) * old / new).astype(np.intp)
