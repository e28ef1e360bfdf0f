"""``timm:NAME?root=PATH``: datasets that timm opens, from files on this machine or from their own caches.

``timm:torch/cifar10?root=/data``, ``timm:hfds/user/name``, ``timm:tar?root=/data/pictures.tar`` and so on, as
`timm.data.create_dataset` names them. The names of the splits can be given: ``?train=train&validation=val``; an empty one leaves it
out. Datasets that are only read from start to end (tfds, wds, hfids) cannot be shuffled by seed and are refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from subband.data.classification.labelled import SPLITS, ClassData, LabelledPictures, SplitName
from subband.data.images import decode_rgb, to_rgb
from subband.errors import DataError, unknown_name

OPTIONS = ("root", "download", *SPLITS)
USUAL_SPLITS: Mapping[SplitName, str] = {"train": "train", "validation": "validation", "test": ""}
"""What timm calls the splits; where two names lead to the same images the later is refused."""


class TimmPictures(LabelledPictures):
    """One split of a dataset of timm's.

    Args:
        dataset: map-style: torchvision's, or timm's `ImageDataset`.
        split: what messages call it.

    Raises:
        DataError: an image has no label.
    """

    def __init__(self, dataset: Any, split: str) -> None:
        self.dataset, self.split = dataset, split
        self.labels = _labels(dataset)
        if len(self.labels) and int(self.labels.min()) < 0:
            raise DataError(
                f"the split {split!r} has images without a label (number {self.labels.min()}), as hubs hide those of tests; "
                "leave the split out"
            )

    def name(self, index: int) -> str:
        """The split and the file's or the image's number."""
        reader = getattr(self.dataset, "reader", None)
        return f"{self.split}/{reader.filename(index) if reader is not None else index}"

    def image(self, index: int) -> TimmImage:
        """An image."""
        return TimmImage(self, index)


@dataclass(frozen=True)
class TimmImage:
    """One image of a split."""

    pictures: TimmPictures
    index: int

    def open(self) -> Image.Image:
        """The decoded image, mode RGB.

        Raises:
            DataError: it cannot be read.
        """
        name = self.pictures.name(self.index)
        reader = getattr(self.pictures.dataset, "reader", None)
        try:
            if reader is None:
                return to_rgb(self.pictures.dataset[self.index][0])
            with reader[self.index][0] as stream:  # not ImageDataset itself, which skips what it cannot read
                return decode_rgb(stream, name)
        except OSError as error:
            raise DataError(f"{name} cannot be read ({error})") from error

    def digest(self) -> str:
        """SHA-256 of the file's bytes, or of the pixels where there is no file.

        Raises:
            DataError: it cannot be read.
        """
        reader = getattr(self.pictures.dataset, "reader", None)
        try:
            if reader is None:
                picture = self.pictures.dataset[self.index][0]
                return hashlib.sha256(f"{picture.mode} {picture.size}".encode() + picture.tobytes()).hexdigest()
            with reader[self.index][0] as stream:
                return hashlib.sha256(stream.read()).hexdigest()
        except OSError as error:
            raise DataError(f"{self.pictures.name(self.index)} cannot be read ({error})") from error


def open_timm(path: str, options: Mapping[str, str]) -> ClassData:
    """Open a dataset through timm.

    Args:
        path: its name for `timm.data.create_dataset`.
        options: ``root``; ``train``, ``validation``, ``test``: the splits as timm calls them, empty to leave one out;
            ``download=1`` lets torchvision's fetch their files.

    Raises:
        DataError: timm cannot open it (its hub cannot be reached, files are missing), it can only be read in order, its splits are
            the same images or have other classes, or it has fewer than two classes.
    """
    uri = f"timm:{path}"
    for option in options:
        if option not in OPTIONS:
            raise DataError(f"{uri}: {unknown_name('option', option, OPTIONS)}")
    if not path:
        raise DataError("timm: names no dataset; write for instance timm:torch/cifar10?root=/data")
    root = Path(options["root"]).expanduser().absolute() if options.get("root") else None
    named = {name: options.get(name, USUAL_SPLITS[name]) for name in SPLITS}
    opened = {
        name: _opened(path, root, split, options.get("download") == "1", uri) for name, split in named.items() if split
    }
    _check_distinct(opened, uri)
    classes = _common_classes(opened, uri)
    splits = {name: TimmPictures(dataset, named[name]) for name, dataset in opened.items()}
    count = max((int(each.labels.max()) + 1 for each in splits.values() if len(each)), default=0)
    if classes and count > len(classes):
        raise DataError(f"{uri} has {len(classes)} names of classes, but labels up to {count - 1}")
    query = "&".join(f"{name}={root if name == 'root' else options[name]}" for name in OPTIONS if name in options)
    return ClassData(
        uri + (f"?{query}" if query else ""),
        "timm-" + re.sub(r"[^A-Za-z0-9_-]+", "-", path).strip("-"),
        classes or [str(index) for index in range(count)],
        splits,
    )


def _opened(name: str, root: Path | None, split: str, download: bool, uri: str) -> Any:
    from timm.data import create_dataset  # torchvision takes seconds to import; most data do not need it
    from torch.utils.data import IterableDataset

    try:
        # timm asserts on what it does not know, and each hub has its own errors.
        dataset = create_dataset(name, root=None if root is None else str(root), split=split, download=download)
    except Exception as error:
        first = next(iter(str(error).splitlines()), "") or type(error).__name__
        where = "a root=PATH that holds its files" if root is None else f"the files in {root}"
        raise DataError(
            f"{uri}: timm cannot open its split {split!r} ({first}); check the name and {where}; hubs that cannot be reached need "
            "a filled cache, torchvision's sets download=1"
        ) from error
    if isinstance(dataset, IterableDataset):
        raise DataError(
            f"{uri} can only be read from start to end, but a training reads in an order drawn by seed; use imagefolder:PATH, "
            "timm:torch/... or timm:hfds/..."
        )
    return dataset


def _check_distinct(opened: Mapping[SplitName, Any], uri: str) -> None:
    """Where timm finds no folder of the split's name it opens the whole root instead, for every split."""
    found: list[tuple[SplitName, Any]] = []
    for name, dataset in opened.items():
        samples = getattr(getattr(dataset, "reader", dataset), "samples", None)
        for other, others in found:
            if samples is not None and list(samples) == list(others):
                raise DataError(
                    f"{uri}: {other} and {name} are the same {len(samples)} images; name the splits with "
                    f"?train=NAME&validation=NAME, or leave one out with {name}="
                )
        if samples is not None:
            found.append((name, samples))


def _common_classes(opened: Mapping[SplitName, Any], uri: str) -> list[str]:
    """Names of the classes, empty where no split tells them.

    Each split counts its labels by its own folders: of other folders they would mean other classes.
    """
    told = {name: found for name, dataset in opened.items() if (found := _classes(dataset))}
    first = next(iter(told), None)
    for name, classes in told.items():
        if first is not None and classes != told[first]:
            odd = ", ".join(sorted(set(classes) ^ set(told[first]))[:5]) or "in another order"
            raise DataError(f"{uri}: the splits {first} and {name} have other classes ({odd}); give both the same")
    return told[first] if first is not None else []


def _classes(dataset: Any) -> list[str]:
    reader = getattr(dataset, "reader", None)
    by_name = getattr(reader, "class_to_idx", None) or getattr(reader, "class_name_to_idx", None) or {}
    found: Any = getattr(dataset, "classes", None) or sorted(by_name, key=lambda name: by_name[name])
    # torchvision's ImageNet has a tuple of synonyms for each class.
    return [", ".join(each) if isinstance(each, tuple) else str(each) for each in found]


def _labels(dataset: Any) -> np.ndarray:
    reader = getattr(dataset, "reader", None)
    source = dataset if reader is None else reader
    known: Any = getattr(source, "targets", None)
    if known is None and hasattr(source, "samples"):
        known = [sample[1] for sample in source.samples]
    if known is None and hasattr(reader, "label_key"):
        known = reader.dataset[reader.label_key]  # type: ignore[union-attr]
    if known is None:
        known = [source[index][1] for index in range(len(source))]
    return np.asarray([int(each) for each in known], np.int64)
