"""Distortions of test images: Gaussian noise and colour jitter, as the published WEDGE-Net robustness scripts apply them.

Both act on images in [0, 1], after framing and before normalisation, and leave an image alone at level 0. The detector never
learns from distorted images.
"""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torchvision.transforms import functional as vision

from subband.errors import ParamsError

NoiseDraw = Literal["common", "reference"]

NOISE_LEVELS = (0.0, 10.0, 20.0, 30.0, 40.0)
COLOUR_LEVELS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
NOISE_TILE_LEVELS = (0.0, 10.0, 20.0, 30.0)
COLOUR_TILE_LEVELS = (0.5, 1.0, 2.0, 3.0)
MOST_NOISE, MOST_COLOUR = 255.0, 100.0


def add_noise(image: Tensor, sigma: float, noise: Tensor) -> Tensor:
    """An image with `sigma` times this noise, clamped to [0, 1]; untouched, and unclamped, at sigma 0.

    Args:
        image: (..., 3, H, W) in [0, 1].
        sigma: standard deviation on the 0..255 scale.
        noise: of the image's shape, standard normal.
    """
    return image if sigma == 0 else (image + noise * (sigma / 255.0)).clamp(0, 1)


def jitter_colour(images: Tensor, factor: float) -> Tensor:
    """Brighter, steeper, more saturated and turned in hue, in this order; untouched at factor 0.

    Brightness x (1 + 0.3 f), contrast and saturation x (1 + 0.5 f), hue turned by min(0.1 f, 0.5) of a circle, each by
    torchvision's tensor function, which clamps to [0, 1].

    Args:
        images: (..., 3, H, W) in [0, 1].
        factor: f, 0 or more.
    """
    if factor == 0:
        return images
    brighter = vision.adjust_brightness(images, 1 + 0.3 * factor)
    steeper = vision.adjust_contrast(brighter, 1 + 0.5 * factor)
    richer = vision.adjust_saturation(steeper, 1 + 0.5 * factor)
    turned: Tensor = vision.adjust_hue(richer, min(0.1 * factor, 0.5))
    return turned.clamp(0, 1)


class Distortion(abc.ABC):
    """What a robustness analysis varies.

    Attributes:
        name: for files and tables.
        unit: what a level means, for axes.
        about: how it was drawn, for the reader.
    """

    name: str
    unit: str
    about: str

    @abc.abstractmethod
    def batches(self, images: Tensor, names: Sequence[str], level: float, batch: int) -> Iterator[Tensor]:
        """The distorted images at one level, in order, `batch` at a time.

        Args:
            images: (N, 3, S, S) uint8, preprocessed.
            names: N sample names, unique.
            level: how strong.
            batch: images at a time.

        Yields:
            (n, 3, S, S) float32 in [0, 1].
        """


@dataclass
class Noise(Distortion):
    """Gaussian noise, independent in every pixel and channel.

    ``common``: one draw an image, from the seed and the image's name, scaled by sigma. The levels then differ in sigma
    alone, and the curve over them is smoother (common random numbers). ``reference``: fresh noise for every image and
    level from one CPU generator, level after level, as published; levels must be asked for once and in the order in which
    they are reported. Before clamping both have the same distribution at every level.

    Args:
        draw: which of the two.
        seed: of the noise; 42 as published.
    """

    draw: NoiseDraw = "common"
    seed: int = 42

    def __post_init__(self) -> None:
        self.name, self.unit = "noise", "noise, standard deviation on the 0..255 scale"
        self.about = {
            "common": f"one noise draw an image, scaled by the level (common random numbers, seed {self.seed})",
            "reference": f"fresh noise for every image and level from one stream, as published (seed {self.seed})",
        }[self.draw]
        self._stream = torch.Generator().manual_seed(self.seed)

    def batches(self, images: Tensor, names: Sequence[str], level: float, batch: int) -> Iterator[Tensor]:
        """See `Distortion.batches`."""
        for start in range(0, len(images), batch):
            clean = images[start : start + batch].float() / 255
            if level == 0:
                yield clean
                continue
            noise = torch.stack([self._draw(name, clean.shape[1:]) for name in names[start : start + batch]])
            yield add_noise(clean, level, noise)

    def _draw(self, name: str, shape: Sequence[int]) -> Tensor:
        if self.draw == "reference":
            return torch.randn(tuple(shape), generator=self._stream)
        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        return torch.randn(tuple(shape), generator=generator)


@dataclass
class Colour(Distortion):
    """Colour jitter, deterministic and upward only."""

    def __post_init__(self) -> None:
        self.name, self.unit = "colour", "colour jitter factor"
        self.about = "brightness, contrast, saturation and hue, deterministic"

    def batches(self, images: Tensor, names: Sequence[str], level: float, batch: int) -> Iterator[Tensor]:
        """See `Distortion.batches`."""
        for start in range(0, len(images), batch):
            yield jitter_colour(images[start : start + batch].float() / 255, level)


def check_levels(levels: Sequence[float], most: float) -> tuple[float, ...]:
    """The levels, ascending and each once.

    Raises:
        ParamsError: none, or one that is no number from 0 to `most`.
    """
    if not levels:
        raise ParamsError("give at least one level")
    for level in levels:
        if not 0 <= level <= most:
            raise ParamsError(f"level {level:g} is out of range; give numbers from 0 (unchanged) to {most:g}")
    return tuple(sorted(set(levels)))
