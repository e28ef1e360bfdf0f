"""Examples of classification: labelled images through timm's transforms, and which of them choose."""

from __future__ import annotations

import contextlib
import random
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL.Image import Image
from timm.data import create_transform
from torch import Tensor
from torchvision.transforms import Compose

from subband.data.classification.labelled import Chosen, ClassData, LabelledPictures
from subband.data.examples import ExampleKey
from subband.data.images import picture_size
from subband.data.threads import for_each
from subband.errors import DataError, ParamsError

Three = tuple[float, float, float]
CropMode = Literal["center", "squash", "border"]
Interpolation = Literal["bilinear", "bicubic"]
Transform = Callable[[Image], Tensor]

_LOCK = threading.RLock()
_LONGEST = 8  # shorter sides


@contextlib.contextmanager
def seeded(*entropy: int) -> Iterator[None]:
    """Let the global generators of `random`, numpy and torch's CPU draw from a seed; afterwards they go on where they were.

    timm's transforms and its Mixup draw from these three. Threads of one process take turns; other code of the process must not
    draw meanwhile, which holds for the training loop: its examples are prepared in its own thread or in processes of their own.

    Args:
        entropy: whole numbers from 0 on; the same ones give the same draws.
    """
    words = [int(word) for word in np.random.SeedSequence(entropy).generate_state(3)]
    with _LOCK:
        before = random.getstate(), np.random.get_state(), torch.get_rng_state()
        random.seed(words[0])
        np.random.seed(words[1])
        torch.default_generator.manual_seed(words[2])  # torch.manual_seed would seed the generators of GPUs too
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
            torch.set_rng_state(before[2])


def _middle(picture: Image) -> Image:
    """The middle of a very long image: of the rest a centre crop sees nothing, but resized whole it would fill the memory."""
    sides = []
    for side in picture.size:
        kept = _LONGEST * min(picture.size)
        kept += (side - kept) % 2  # so that the middle stays where it is
        sides.append(((side - kept) // 2, (side + kept) // 2) if side > kept else (0, side))
    (left, right), (top, bottom) = sides
    whole = (right - left, bottom - top) == picture.size
    return picture if whole else picture.crop((left, top, right, bottom))


@dataclass(frozen=True)
class Framing:
    """How an image to be judged becomes a square, as timm's validation does it.

    Attributes:
        size: S, side in pixels.
        crop_pct: share of the resized image's side that the centre crop keeps.
        crop_mode: ``center`` resizes the shorter side to S / crop_pct; ``squash`` both sides, whatever the aspect ratio; ``border``
            the longer, and fills up.
        interpolation: of the resize.
        mean: of the normalisation, for levels in [0, 1].
        std: likewise.
    """

    size: int
    crop_pct: float = 0.875
    crop_mode: CropMode = "center"
    interpolation: Interpolation = "bicubic"
    mean: Three = (0.485, 0.456, 0.406)
    std: Three = (0.229, 0.224, 0.225)

    def transform(self) -> Transform:
        """From an image to a normalised float32 tensor (3, S, S); nothing is random."""
        made: Any = create_transform(
            self.size,
            crop_pct=self.crop_pct,
            crop_mode=self.crop_mode,
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
        )
        return Compose([_middle, made]) if self.crop_mode == "center" else made  # type: ignore[no-any-return]

    def shown(self, normalised: Tensor) -> np.ndarray:
        """What a normalised tensor (3, S, S) looks like: uint8 (3, S, S)."""
        levels = normalised * torch.tensor(self.std)[:, None, None] + torch.tensor(self.mean)[:, None, None]
        return (255 * levels.clamp(0, 1)).round().to(torch.uint8).numpy()


@dataclass(frozen=True)
class Augmenting:
    """How a training image is changed, as timm's training does it.

    Attributes:
        scale: least share of the image's area that a crop keeps; 1 takes the whole image, of which the aspect ratio varies.
        randaugment: magnitude of RandAugment (increasing, standard deviation 0.5), 0 to 10; 0 leaves it out.
        colour_jitter: of brightness, contrast and saturation; only without RandAugment.
        flip: probability of a horizontal flip.
        erasing: probability that a rectangle is filled with noise.
    """

    scale: float = 0.08
    randaugment: float = 9.0
    colour_jitter: float = 0.4
    flip: float = 0.5
    erasing: float = 0.25

    def transform(self, framing: Framing) -> Transform:
        """From an image to a normalised float32 tensor (3, S, S), by draws from the global generators (see `seeded`)."""
        made: Any = create_transform(
            framing.size,
            is_training=True,
            scale=(self.scale, 1.0),
            hflip=self.flip,
            color_jitter=self.colour_jitter or None,
            auto_augment=f"rand-m{self.randaugment:g}-mstd0.5-inc1" if self.randaugment else None,
            interpolation="random",
            re_prob=self.erasing,
            re_mode="pixel",
            mean=framing.mean,
            std=framing.std,
        )
        return made  # type: ignore[no-any-return]


class ClassExamples:
    """Images with labels as tensors (`subband.data.examples.Examples`).

    Args:
        pictures: with labels.
        framing: size and normalisation, and how an image that is judged is cropped.
        augmenting: of training images; None for those that are judged.
        seed: of whatever is drawn at random.

    Attributes:
        pictures: as given.
        framing: as given.
    """

    def __init__(
        self, pictures: LabelledPictures, framing: Framing, augmenting: Augmenting | None = None, seed: int = 0
    ) -> None:
        self.pictures, self.framing, self.seed = pictures, framing, seed
        self._drawn = augmenting is not None
        self._transform = framing.transform() if augmenting is None else augmenting.transform(framing)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, draw: ExampleKey) -> dict[str, Tensor]:
        """One example; all that is random in it is a function of seed, epoch and index.

        Returns:
            ``images`` float32 (3, S, S), normalised; ``labels`` int64 ().

        Raises:
            DataError: the image cannot be read; the message names it.
        """
        picture = self.pictures.image(draw.index).open()
        with (
            seeded(zlib.crc32(b"augmentation"), self.seed, draw.epoch, draw.index)
            if self._drawn
            else contextlib.nullcontext()
        ):
            image = self._transform(picture)
        return {"images": image, "labels": torch.tensor(int(self.pictures.labels[draw.index]))}


@dataclass(frozen=True)
class ClassSplit:
    """What is learnt from, what chooses, what is reported, and the words for it."""

    train: LabelledPictures
    validation: LabelledPictures
    tests: dict[str, LabelledPictures]
    note: str


def class_split(data: ClassData, validation: Literal["holdout", "test"], share: float, seed: int) -> ClassSplit:
    """Divide the data by what chooses the checkpoint.

    A validation split chooses only where a test split is left to report. Data with one of the two, as ImageNet, report on it; then
    a share of the training images chooses, the same of every class, or with ``test`` that split itself, as published.

    Args:
        data: with a training split.
        validation: ``holdout`` never lets reported images choose; ``test`` does.
        share: of each class's training images that is held out where no validation split is to spare, in (0, 1); at least one
            image of each class with several.
        seed: decides which.

    Raises:
        ParamsError: `share` is out of range.
        DataError: no training split, none to choose by, or too few images to hold any out.
    """
    if "train" not in data.splits:
        raise DataError(f"{data.uri} has no training images; for imagefolder:PATH they lie in PATH/train/<class>")
    train = data.split("train")
    others: dict[str, LabelledPictures] = {name: pictures for name, pictures in data.splits.items() if name != "train"}
    if validation == "test":
        if not others:
            raise DataError(
                f"{data.uri} has only training images, none to choose the checkpoint by; use validation=holdout"
            )
        name = "test" if "test" in others else "validation"
        note = f"the {name} split chose the checkpoint, as published: its figures are optimistic"
        return ClassSplit(train, others[name], {name: others[name]}, note)
    if len(others) == 2:
        return ClassSplit(
            train, others["validation"], {"test": others["test"]}, "the data's validation split chose the checkpoint"
        )
    kept, held_out = _held_out(train.labels, share, seed, data.uri)
    note = f"{len(held_out)} training images, held out by seed {seed}, chose the checkpoint"
    return ClassSplit(Chosen(train, kept), Chosen(train, held_out), others, note)


def _held_out(labels: np.ndarray, share: float, seed: int, uri: str) -> tuple[np.ndarray, np.ndarray]:
    """Indices that are kept and held out, both sorted."""
    if not 0 < share < 1:
        raise ParamsError(f"a validation share of {share}: it must lie between 0 and 1")
    rng = np.random.default_rng([seed, zlib.crc32(b"classes")])
    chosen: list[np.ndarray] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        chosen.append(members[: min(max(1, round(share * len(members))), len(members) - 1)])
    held_out = np.sort(np.concatenate(chosen))
    if not len(held_out):
        raise DataError(f"{uri} has one training image a class: none can be held out; give it a validation split")
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def check_pictures(parts: Sequence[LabelledPictures], progress: Callable[[int, int], None] | None = None) -> None:
    """Look at the header of every image.

    Raises:
        DataError: one is no image; the message names the first.
    """
    sources = list(dict.fromkeys(source for part in parts for source in part.images()))
    for_each(picture_size, sources, progress=progress)
