"""Augmentations of images with masks, as the trainings of WPFormer (Yan et al., CVPR 2025) draw them.

==================  ==============================================================================================  ==========
name                in this order, each drawn anew for every image                                                published for
==================  ==============================================================================================  ==========
none                nothing                                                                                         ZJU-Leaper
flip-rotate-turn    mirrored, p 0.5; rotated by up to 15 degrees, p 0.5; turned by 0 to 3 quarters, p 0.5           ESDIs-SOD
crop                mirrored, p 0.5; rotated by -15 to 14 whole degrees, p 0.2; cropped by 1 to 30 pixels a side    CrackSeg9k
flip-rotate         as flip-rotate-turn without the turn                                                            SOD
crop-jitter         as crop, then brightness, contrast, colour and sharpness of the image                         COD
==================  ==============================================================================================  ==========

The rotation of the flips reflects the image at its border and takes masks from the nearest pixel; that of the crops fills
with black and is bicubic for both, which leaves masks soft.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageEnhance

from subband.errors import ParamsError, unknown_name

Augmentation = Literal["none", "flip-rotate-turn", "crop", "flip-rotate", "crop-jitter"]
AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)

_Pair = tuple[Image.Image, Image.Image]

_DEGREES = 15.0
_CROPPED = 30
_TURNS = (None, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
# Factors on a grid of a tenth, lowest and highest included; 10 leaves the image as it is.
_JITTER = (
    (ImageEnhance.Brightness, 5, 15),
    (ImageEnhance.Contrast, 5, 15),
    (ImageEnhance.Color, 0, 20),
    (ImageEnhance.Sharpness, 0, 30),
)


def augment(image: Image.Image, mask: Image.Image, name: Augmentation, rng: np.random.Generator) -> _Pair:
    """Change an image and its mask at random, together.

    What is drawn, in this order: the mirroring (one uniform number); the rotation (one uniform number, and its angle only
    where it is rotated); the turn (one uniform number, and its quarters only where it is turned), or the width and the height
    of the crop; the four factors of the jitter. The result is a function of the pair and of the generator's state.

    Args:
        image: mode RGB.
        mask: mode L, of the same size.
        name: one of `AUGMENTATIONS`.
        rng: the only source of chance.

    Returns:
        The changed pair, of equal sizes: those of the input, swapped by an odd turn, or less by a crop. A crop takes at most half
        of a side, so that an image of 1 pixel stays one.

    Raises:
        ParamsError: an unknown name.

    Example:
        >>> pair = Image.new("RGB", (64, 48)), Image.new("L", (64, 48))
        >>> augment(*pair, "flip-rotate", np.random.default_rng([0, 3, 17]))[1].size
        (64, 48)
    """
    if name not in _RECIPES:
        raise ParamsError(unknown_name("augmentation", name, AUGMENTATIONS))
    pair = image, mask
    for change in _RECIPES[name]:
        pair = change(*pair, rng)
    return pair


def _mirrored(image: Image.Image, mask: Image.Image, rng: np.random.Generator) -> _Pair:
    if rng.random() >= 0.5:
        return image, mask
    flip = Image.Transpose.FLIP_LEFT_RIGHT
    return image.transpose(flip), mask.transpose(flip)


def _rotated_reflecting(image: Image.Image, mask: Image.Image, rng: np.random.Generator) -> _Pair:
    if rng.random() >= 0.5:
        return image, mask
    angle = rng.uniform(-_DEGREES, _DEGREES)
    return (
        _reflecting_rotation(image, angle, Image.Resampling.BILINEAR),
        _reflecting_rotation(mask, angle, Image.Resampling.NEAREST),
    )


def _reflecting_rotation(picture: Image.Image, angle: float, resampling: Image.Resampling) -> Image.Image:
    """Rotated about its centre on the same canvas; beyond the border lies the reflection, without the border pixel itself."""
    width, height = picture.size
    sine, cosine = abs(math.sin(math.radians(angle))), abs(math.cos(math.radians(angle)))
    # How far the corners of the rotated canvas reach out of the image, and one pixel for the interpolation.
    beyond_x = math.ceil(max(0.0, (width * (cosine - 1) + height * sine) / 2)) + 1
    beyond_y = math.ceil(max(0.0, (height * (cosine - 1) + width * sine) / 2)) + 1
    pixels = np.asarray(picture)
    borders = [(beyond_y, beyond_y), (beyond_x, beyond_x), (0, 0)][: pixels.ndim]
    wide = Image.fromarray(np.pad(pixels, borders, mode="reflect"))
    return wide.rotate(angle, resampling).crop((beyond_x, beyond_y, beyond_x + width, beyond_y + height))


def _turned(image: Image.Image, mask: Image.Image, rng: np.random.Generator) -> _Pair:
    if rng.random() >= 0.5:
        return image, mask
    turn = _TURNS[int(rng.integers(4))]
    return (image, mask) if turn is None else (image.transpose(turn), mask.transpose(turn))


def _rotated_on_black(image: Image.Image, mask: Image.Image, rng: np.random.Generator) -> _Pair:
    if rng.random() >= 0.2:
        return image, mask
    angle = int(rng.integers(-15, 15))
    return image.rotate(angle, Image.Resampling.BICUBIC), mask.rotate(angle, Image.Resampling.BICUBIC)


def _cropped(image: Image.Image, mask: Image.Image, rng: np.random.Generator) -> _Pair:
    width, height = (side - _lost(side, rng) for side in image.size)
    # Centred; of an odd remainder the extra pixel goes at the right or the bottom.
    left, top = (image.width - width) >> 1, (image.height - height) >> 1
    box = left, top, left + width, top + height
    return image.crop(box), mask.crop(box)


def _lost(side: int, rng: np.random.Generator) -> int:
    most = min(_CROPPED, side // 2)
    return int(rng.integers(1, most + 1)) if most else 0


def _jittered(image: Image.Image, mask: Image.Image, rng: np.random.Generator) -> _Pair:
    for enhancer, low, high in _JITTER:
        image = enhancer(image).enhance(int(rng.integers(low, high + 1)) / 10)
    return image, mask


_Change = Callable[[Image.Image, Image.Image, np.random.Generator], _Pair]
_RECIPES: dict[str, tuple[_Change, ...]] = {
    "none": (),
    "flip-rotate-turn": (_mirrored, _rotated_reflecting, _turned),
    "crop": (_mirrored, _rotated_on_black, _cropped),
    "flip-rotate": (_mirrored, _rotated_reflecting),
    "crop-jitter": (_mirrored, _rotated_on_black, _cropped, _jittered),
}
