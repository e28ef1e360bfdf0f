"""Examples of segmentation: images with masks, augmented, resized, as tensors; and which of them choose."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from subband.data.examples import ExampleKey
from subband.data.sample import Dataset, Sample
from subband.data.segmentation.augment import AUGMENTATIONS, Augmentation, augment
from subband.data.segmentation.masks import MaskRule, check_mask_size, mask_rule, open_mask
from subband.errors import DataError, ParamsError, unknown_name


class SegmentationExamples:
    """Images with masks, each resized to one square (`subband.data.examples.Examples`).

    Args:
        samples: with masks, or good ones without.
        image_size: S, side of the square in pixels; the whole image is resized to it, as torchvision does it on Pillow images
            (bilinear, antialiased), so that the aspect ratio is not kept and masks become soft.
        augmentation: applied before the resize.
        seed: of whatever is drawn at random.
        masks: how mask files are read; by default as the dataset was opened.
        with_truth: also give the mask at its own size, to compare maps with.

    Raises:
        ParamsError: an unknown augmentation, a negative seed or no size.
        DataError: an unknown rule for masks.

    Example:
        >>> from subband.data import open_dataset
        >>> samples = open_dataset("synthetic-surface:?size=64&train=4").category("surface").train
        >>> example = SegmentationExamples(samples, 32, "flip-rotate")[ExampleKey(2, epoch=1)]
        >>> tuple(example["images"].shape), tuple(example["masks"].shape)
        ((3, 32, 32), (1, 32, 32))
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        image_size: int,
        augmentation: Augmentation = "none",
        seed: int = 0,
        masks: MaskRule | None = None,
        with_truth: bool = False,
    ) -> None:
        if augmentation not in AUGMENTATIONS:
            raise ParamsError(unknown_name("augmentation", augmentation, AUGMENTATIONS))
        if image_size < 1 or seed < 0:
            raise ParamsError(f"image_size {image_size} must be 1 or more, and seed {seed} 0 or more")
        self.samples = tuple(samples)
        self.image_size = image_size
        self.augmentation = augmentation
        self.seed = seed
        self.masks = None if masks is None else mask_rule(masks)
        self.with_truth = with_truth

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, draw: ExampleKey) -> dict[str, Tensor]:
        """One example; all that is random in it is a function of seed, epoch and index.

        Returns:
            ``images`` float32 (3, S, S) in [0, 1]; ``masks`` float32 (1, S, S) in [0, 1]; with the truth also ``truth`` uint8
            (H, W), the mask at the size of the (augmented) image, which differs from image to image.

        Raises:
            DataError: a file cannot be read, the mask breaks its rule, or the two differ in size; the message names the file.
        """
        sample = self.samples[draw.index]
        image, mask = sample.image.open(), open_mask(sample, self.masks)
        check_mask_size(sample, mask.size, image.size)
        rng = np.random.default_rng([zlib.crc32(b"augmentation"), self.seed, draw.epoch, draw.index])
        image, mask = augment(image, mask, self.augmentation, rng)
        example = {
            "images": _unit(self._resized(image)).permute(2, 0, 1).contiguous(),
            "masks": _unit(self._resized(mask)).unsqueeze(0),
        }
        if self.with_truth:
            example["truth"] = torch.from_numpy(np.array(mask))
        return example

    def _resized(self, picture: Image.Image) -> Image.Image:
        return picture.resize((self.image_size, self.image_size), Image.Resampling.BILINEAR)


def segmentation_split(
    dataset: Dataset, share: float, seed: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...], dict[str, tuple[Sample, ...]]]:
    """What is learnt from, what chooses the checkpoint, and what is reported.

    Args:
        dataset: whose training samples have masks; those that several categories share are taken once.
        share: of the training samples that is held out to choose by, in [0, 1); 0 holds none out. Above 0 it is at least one
            sample.
        seed: decides which.

    Returns:
        Training samples and validation samples, both in the order of the dataset and disjoint, and the test samples of each
        category that has any.

    Raises:
        ParamsError: `share` or `seed` is out of range.
        DataError: there are no training samples, too few to divide, or some without a mask.
    """
    if not 0 <= share < 1 or seed < 0:
        raise ParamsError(
            f"a validation share of {share} and seed {seed}: the share must be in [0, 1), the seed 0 or more"
        )
    categories = [dataset.category(name) for name in dataset.categories]
    samples = tuple(dict.fromkeys(sample for category in categories for sample in category.train))
    tests = {category.name: category.test for category in categories if category.test}
    _check_trainable(dataset, samples)
    held_out = max(1, round(share * len(samples))) if share else 0
    if held_out >= len(samples):
        raise DataError(
            f"{dataset.uri} has {len(samples)} training samples, of which {held_out} would be held out for validation; "
            "none would be left to learn from"
        )
    rng = np.random.default_rng([seed, zlib.crc32(b"segmentation")])
    chosen = set(rng.permutation(len(samples))[:held_out].tolist())
    train = tuple(sample for index, sample in enumerate(samples) if index not in chosen)
    return train, tuple(samples[index] for index in sorted(chosen)), tests


def _check_trainable(dataset: Dataset, samples: Sequence[Sample]) -> None:
    if not samples:
        raise DataError(
            f"{dataset.uri} has no training samples: a training needs images with masks, for pairs:PATH in PATH/train/images "
            "and PATH/train/gt"
        )
    without = [sample.name for sample in samples if sample.mask is None]
    if without:
        raise DataError(
            f"{len(without)} of {len(samples)} training samples of {dataset.uri} have no mask ({without[0]}), but a segmenter "
            "learns from masks; use pairs:PATH (images beside masks) or synthetic-surface:"
        )


def _unit(picture: Image.Image) -> Tensor:
    """8-bit levels as float32 in [0, 1]."""
    return torch.from_numpy(np.array(picture)).float().div_(255)
