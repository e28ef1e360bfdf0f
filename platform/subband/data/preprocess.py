"""From images of any size to one array: framing, resizing, and threaded loading.

Shapes: N images, H = W = ``image_size`` in pixels. Images stay uint8 here; scaling to [0, 1] and normalisation
    belong to the
backbones. ``crop`` is the preprocessing of WE-PaDiM and of most published figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from subband.data.images import picture_size
from subband.data.sample import ImageSource, Sample
from subband.data.segmentation.masks import check_mask_size
from subband.data.threads import for_each

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Preprocess(BaseModel):
    """How an image becomes a square array.

    Attributes:
        framing: ``crop`` resizes the shorter side to ``resize`` and keeps the central square (6 % of every side of a
            square image is lost at the default sizes, a fifth at the left and right of a 3:2 image); ``stretch``
            resizes the whole image to the square, so that nothing is cut off.
        resize: shorter side in pixels before the crop; ``stretch`` does not read it.
        image_size: side of the result in pixels.
        resampling: filter that resizes images, antialiased by Pillow. Masks are always resized to the nearest pixel.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    framing: Literal["crop", "stretch"] = "crop"
    resize: int = Field(default=256, ge=8, le=4096)
    image_size: int = Field(default=224, ge=8, le=4096)
    resampling: Literal["lanczos", "bilinear"] = "lanczos"

    @model_validator(mode="after")
    def _crop_fits(self) -> Preprocess:
        if self.framing == "crop" and self.resize < self.image_size:
            raise ValueError(
                f"resize is {self.resize}, smaller than image_size {self.image_size}: a crop needs resize >= image_size"
            )
        return self

    def image(self, picture: Image.Image) -> NDArray[np.uint8]:
        """Frame an RGB image; uint8 (H, W, 3)."""
        return np.asarray(self._frame(picture, Image.Resampling[self.resampling.upper()]))

    def mask(self, picture: Image.Image) -> NDArray[np.bool_]:
        """Frame a grey mask with nearest resampling; bool (H, W), True where the mask is non-zero."""
        return np.asarray(self._frame(picture, Image.Resampling.NEAREST)) > 0

    def _frame(self, picture: Image.Image, resampling: Image.Resampling) -> Image.Image:
        if self.framing == "stretch":
            return picture.resize((self.image_size, self.image_size), resampling)
        width, height = picture.size
        shorter = min(width, height)
        # Truncated, not rounded, and the offset rounded half to even: the arithmetic of the reference's torchvision
        # calls.
        size = self.resize * width // shorter, self.resize * height // shorter
        left, top = (round((side - self.image_size) / 2) for side in size)
        right, bottom = left + self.image_size, top + self.image_size
        if size[0] * size[1] <= _RESIZED_WHOLE:
            return picture.resize(size, resampling).crop((left, top, right, bottom))
        # A few hundred bytes may hold an image of 1 x 1,000,000 pixels, of which all but the middle would be made and thrown away.
        across, down = width / size[0], height / size[1]
        box = (left * across, top * down, right * across, bottom * down)
        return picture.resize((self.image_size, self.image_size), resampling, box=box)


_RESIZED_WHOLE = 100_000_000
"""Pixels that an image may have after it is resized and before it is cropped, as published. Of longer ones the part that stays is
resized alone; the rounding between Pillow's two passes then falls elsewhere."""


@dataclass(frozen=True)
class Masks:
    """The masks of N samples, after preprocessing.

    Attributes:
        values: bool (N, H, W), True where defective; all False for a good sample and where the place is unknown.
        known: bool (N,), False for a defective sample that has no mask: pixel metrics are undefined with it.
        vanished: names of the defective samples whose mask is empty after preprocessing, because the defect lies
            outside the crop or is smaller than a pixel. They stay defective for image metrics.
    """

    values: NDArray[np.bool_]
    known: NDArray[np.bool_]
    vanished: tuple[str, ...]


def load_images(
    sources: Sequence[ImageSource], preprocess: Preprocess, threads: int | None = None
) -> NDArray[np.uint8]:
    """Decode and frame images.

    Args:
        sources: N images.
        preprocess: how each becomes a square array.
        threads: images decoded at a time; by default one a processor, at most 8. The result does not depend on it.

    Returns:
        uint8 (N, 3, H, W), in the order of the sources.

    Raises:
        DataError: an image cannot be decoded; the message names it.
    """
    images_N3HW = np.empty((len(sources), 3, preprocess.image_size, preprocess.image_size), np.uint8)

    def load(index: int) -> None:
        images_N3HW[index] = preprocess.image(sources[index].open()).transpose(2, 0, 1)

    for_each(load, range(len(sources)), threads)
    return images_N3HW


def load_masks(samples: Sequence[Sample], preprocess: Preprocess, threads: int | None = None) -> Masks:
    """Decode and frame the masks of samples.

    Args:
        samples: N samples, good ones and defective ones.
        preprocess: the one that framed the images.
        threads: masks decoded at a time; by default one a processor, at most 8. The result does not depend on it.

    Returns:
        The masks, which of them are known, and which vanished.

    Raises:
        DataError: a mask cannot be decoded, or is of another size than its image; the message names both.
    """
    masks_NHW = np.zeros((len(samples), preprocess.image_size, preprocess.image_size), np.bool_)
    known_N = np.array([sample.label == 0 or sample.mask is not None for sample in samples], np.bool_)

    def load(index: int) -> None:
        sample = samples[index]
        if sample.label == 0 or sample.mask is None:
            return
        mask = sample.mask.open()
        check_mask_size(sample, mask.size, picture_size(sample.image))
        masks_NHW[index] = preprocess.mask(mask)

    for_each(load, range(len(samples)), threads)
    vanished = tuple(
        sample.name
        for sample, known, mask in zip(samples, known_N, masks_NHW, strict=True)
        if sample.label != 0 and known and not mask.any()
    )
    return Masks(masks_NHW, known_N, vanished)
