"""Examples of object detection: images with boxes and masks, augmented, resized, as tensors; and which of them choose."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL.Image import Image, Resampling
from torch import Tensor

from subband.data.detection.augment import Framed, Policy, Sizes, augment, fitting_size
from subband.data.detection.instances import AnnotatedPicture, DetectionData, decode_masks
from subband.data.examples import ExampleKey
from subband.data.images import FileSource, file_size, picture_size
from subband.data.sample import Dataset
from subband.data.threads import thread_count
from subband.errors import DataError


class DetectionTraining:
    """Images to learn from (`subband.data.Examples`).

    Args:
        pictures: with their objects; there may be none in some.
        policy: of the augmentation.
        sizes: that images get.
        seed: of whatever is drawn at random.
    """

    def __init__(self, pictures: Sequence[AnnotatedPicture], policy: Policy, sizes: Sizes, seed: int) -> None:
        self.pictures = tuple(pictures)
        self.policy, self.sizes, self.seed = policy, sizes, seed

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, draw: ExampleKey) -> dict[str, Tensor]:
        """One example; all that is random in it is a function of seed, epoch and index.

        Returns:
            ``images`` uint8 (3, H, W); ``boxes`` float32 (M, 4); ``labels`` int64 (M,), from 0; ``masks`` bool (M, H, W). Crowds
            are left out. All sizes differ from image to image.

        Raises:
            DataError: the image cannot be read, or has another size than its annotations say.
        """
        picture = self.pictures[draw.index]
        image, objects = _opened(picture), picture.instances()
        kept = np.flatnonzero(~objects.crowd)
        masks = decode_masks([objects.masks[index] for index in kept], image.height, image.width)
        rng = np.random.default_rng([zlib.crc32(b"augmentation"), self.seed, draw.epoch, draw.index])
        framed = augment(Framed(image, objects.boxes[kept], objects.labels[kept], masks), self.policy, self.sizes, rng)
        return {
            "images": image_tensor(framed.image),
            "boxes": torch.from_numpy(framed.boxes),
            "labels": torch.from_numpy(framed.labels),
            "masks": torch.from_numpy(np.ascontiguousarray(framed.masks)),
        }


class DetectionEvaluation:
    """Images to evaluate on (`subband.data.Examples`): one size, nothing drawn at random.

    Args:
        pictures: with their objects.
        short: shorter side, in pixels, that images get.
        longest: that the longer side may have.
    """

    def __init__(self, pictures: Sequence[AnnotatedPicture], short: int, longest: int) -> None:
        self.pictures = tuple(pictures)
        self.short, self.longest = short, longest

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, draw: ExampleKey) -> dict[str, Tensor]:
        """One example.

        Returns:
            ``images`` uint8 (3, H, W); ``size`` int64 (2,), the image's own width and height; ``truth`` uint8 (L,), its objects
            at that size as `Instances.packed` writes them.

        Raises:
            DataError: the image cannot be read, or has another size than its annotations say.
        """
        picture = self.pictures[draw.index]
        image = _opened(picture)
        small = resized_for_test(image, self.short, self.longest)
        truth = np.frombuffer(picture.instances().packed(), np.uint8)
        return {
            "images": image_tensor(small),
            "size": torch.tensor(image.size),
            "truth": torch.from_numpy(truth.copy()),
        }


def resized_for_test(image: Image, short: int, longest: int) -> Image:
    """An image at the size at which it is evaluated and answered about."""
    return image.resize(fitting_size(*image.size, short, longest), Resampling.BILINEAR)


def image_tensor(image: Image) -> Tensor:
    """uint8 (3, H, W) of an RGB image."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def detection_data(dataset: Dataset) -> DetectionData:
    """The dataset itself, if it is for object detection.

    Raises:
        DataError: it is not; the message names schemes that are.
    """
    if not isinstance(dataset, DetectionData):
        raise DataError(f"{dataset.uri} holds no boxes and masks of objects; give coco:PATH or synthetic-coco:")
    return dataset


def detection_split(
    data: DetectionData, share: float, seed: int
) -> tuple[tuple[AnnotatedPicture, ...], tuple[AnnotatedPicture, ...], tuple[AnnotatedPicture, ...], bool]:
    """What is learnt from, what chooses the checkpoint, and what is reported.

    Args:
        data: that are divided.
        share: of the training images that is held out to choose by where the data have no validation split; at least one image.
            0 holds none out.
        seed: decides which.

    Returns:
        Images to train on, to choose by, and to report; and whether those to choose by were held out of the training split.

    Raises:
        DataError: no training images, or too few to divide.
    """
    pictures = data.split("train")
    validation, test = (data.splits.get(name, ()) for name in ("validation", "test"))
    if validation or not share:
        return pictures, validation, test, False
    held_out = max(1, round(share * len(pictures)))
    if held_out >= len(pictures):
        raise DataError(
            f"{data.uri} has {len(pictures)} training images, of which {held_out} would be held out for validation; none "
            "would be left to learn from"
        )
    rng = np.random.default_rng([seed, zlib.crc32(b"detection")])
    chosen = set(rng.permutation(len(pictures))[:held_out].tolist())
    train = tuple(picture for index, picture in enumerate(pictures) if index not in chosen)
    return train, tuple(pictures[index] for index in sorted(chosen)), test, True


def check_pictures(pictures: Sequence[AnnotatedPicture], progress: Callable[[int, int], None]) -> None:
    """Compare the size of every image with its annotations, by the headers of the files.

    Args:
        pictures: to look at.
        progress: called with the number of images looked at, and of all.

    Raises:
        DataError: an image is missing or has another size; the message names it.
    """
    with ThreadPoolExecutor(thread_count(None)) as pool:
        sizes = pool.map(lambda picture: picture_size(picture.image), pictures)
        for number, (picture, size) in enumerate(zip(pictures, sizes, strict=True), 1):
            _check_size(picture, size)
            progress(number, len(pictures))


def _opened(picture: AnnotatedPicture) -> Image:
    image = picture.image.open()
    _check_size(picture, image.size)
    return image


def _check_size(picture: AnnotatedPicture, size: tuple[int, int]) -> None:
    if size != picture.size:
        raise DataError(
            f"{picture.name} has {size[0]} x {size[1]} pixels, but its annotations are of {picture.size[0]} x {picture.size[1]}; "
            "correct the annotations" + _orientation_hint(picture)
        )


def _orientation_hint(picture: AnnotatedPicture) -> str:
    source = picture.image
    if not isinstance(source, FileSource):
        return ""
    orientation = source.rule.orientation
    if file_size(source.path, "ignore" if orientation == "apply" else "apply") != picture.size:
        return ""
    if orientation == "apply":
        return ", or add ?orientation=ignore to the URI: they fit the image as stored, which its orientation tag turns"
    return ", or remove orientation=ignore from the URI: they fit the image turned by its orientation tag"
