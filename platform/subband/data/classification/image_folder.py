"""``imagefolder:PATH``: images in a folder for each class, laid out as ImageNet is.

    root/train/<class>/**         root/{val,valid,validation,dev}/<class>/**         root/test/<class>/**

Folders may have other names: ``imagefolder:PATH?train=train_small&validation=held_out&test=val`` (below the root). Any split but
one may be missing; the classes are those of the first that is there. Sub-folders of a class count as the class. An image that is
there under two classes is refused unless the URI has ``conflicts=keep``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from subband.data.anomaly.shared_images import equal_files
from subband.data.classification.labelled import SPLITS, ClassData, LabelledPictures, SplitName
from subband.data.folders import IMAGE_SUFFIXES, existing_folder, keeps_conflicts, visible_folders
from subband.data.images import FileSource
from subband.data.reading import ReadingRule
from subband.errors import DataError, unknown_name

USUAL_NAMES: Mapping[SplitName, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Names of the splits' folders, in any case."""


class FolderPictures(LabelledPictures):
    """Image files below a folder.

    Args:
        folder: of the split.
        files: of each class, below the folder.
    """

    def __init__(self, folder: Path, files: list[list[str]]) -> None:
        self.folder = folder
        self.files = [file for each in files for file in each]
        self.rule: Callable[[], ReadingRule] = ReadingRule  # the plain one
        self.labels = np.repeat(np.arange(len(files), dtype=np.int64), [len(each) for each in files])

    def name(self, index: int) -> str:
        """The file with its split, for instance ``val/nut/003.png``."""
        return f"{self.folder.name}/{self.files[index]}"

    def image(self, index: int) -> FileSource:
        """The file."""
        return FileSource(self.folder / self.files[index], self.rule())


def open_image_folder(path: str, options: Mapping[str, str]) -> ClassData:
    """Open a folder in the layout of ImageNet.

    Args:
        path: the root; relative to the current folder, ``~`` is the home folder.
        options: ``train``, ``validation``, ``test``: names of the folders of the splits; ``conflicts``: ``keep`` to accept an image
            under two classes.

    Raises:
        DataError: no such folder or split, an unknown option, a class without images, a class in a later split that the first
            lacks, or fewer than two classes.
    """
    uri = f"imagefolder:{path}"
    root = existing_folder(path, uri)
    for option in options:
        if option not in (*SPLITS, "conflicts"):
            raise DataError(f"{uri}: {unknown_name('option', option, [*SPLITS, 'conflicts'])}")
    folders = {name: folder for name in SPLITS if (folder := _split_folder(root, name, options, uri))}
    if not folders:
        hint = "" if not visible_folders(root) else f" (found: {', '.join(f.name for f in visible_folders(root)[:5])})"
        raise DataError(
            f"{root} has no split; expected {root / 'train' / '<class>'} and {root / 'val' / '<class>'} with images{hint}; other "
            "names are given as options, for instance ?train=NAME&validation=NAME"
        )
    first = next(iter(folders))
    classes = [folder.name for folder in visible_folders(folders[first])]
    splits = {name: _pictures(folder, classes, folders[first]) for name, folder in folders.items()}
    shared = SharedImages(root, classes, splits, keeps_conflicts(options, uri))
    query = "&".join(f"{name}={options[name]}" for name in (*SPLITS, "conflicts") if name in options)
    short = re.sub(r"[^A-Za-z0-9_-]+", "-", root.name).strip("-")
    name = "imagefolder" if short.lower() in ("", "imagefolder") else f"imagefolder-{short}"
    data = ClassData(f"imagefolder:{root}" + (f"?{query}" if query else ""), name, classes, splits)
    data.read_notes = shared
    return data


@dataclass(frozen=True)
class SharedImages:
    """Notes about images that are there more than once, made when they are asked for.

    Attributes:
        root: of the data set.
        classes: their names.
        splits: images by split.
        keep: whether an image may be there under two classes.
    """

    root: Path
    classes: Sequence[str]
    splits: Mapping[SplitName, FolderPictures]
    keep: bool

    def __call__(self) -> tuple[str, ...]:
        """The notes.

        Raises:
            DataError: an image is there under two classes.
        """
        entries = [
            (split, part.name(index), self.classes[part.labels[index]], part.folder / part.files[index])
            for split, part in self.splits.items()
            for index in range(len(part))
        ]
        groups = [[entries[place] for place in places] for places in equal_files(entry[3] for entry in entries)]
        notes = []
        if conflicts := [group for group in groups if len({entry[2] for entry in group}) > 1]:
            names = " and ".join(
                next(e[1] for e in conflicts[0] if e[2] == c) for c in sorted({e[2] for e in conflicts[0]})[:2]
            )
            what = f"{len(conflicts)} images are there under two classes (the first: {names})"
            if not self.keep:
                raise DataError(f"{self.root}: {what}; remove the wrong ones, or add conflicts=keep to the URI")
            notes.append(f"{what}, kept by conflicts=keep")
        if between := [group for group in groups if len({entry[0] for entry in group}) > 1]:
            splits = " and ".join(sorted({entry[0] for entry in between[0]}))
            notes.append(
                f"{len(between)} images are in several splits (the first: {between[0][0][1]}, in {splits}), so that results look "
                "better than they are"
            )
        return tuple(notes)


def _split_folder(root: Path, name: SplitName, options: Mapping[str, str], uri: str) -> Path | None:
    if name in options:
        folder = root / options[name]
        if not options[name] or not folder.is_dir():
            raise DataError(f"{uri}: {name} is {options[name]!r}, but {folder} is no folder")
        return folder
    found = [folder for folder in visible_folders(root) if folder.name.lower() in USUAL_NAMES[name]]
    if len(found) > 1:
        raise DataError(f"{root} has both {found[0].name} and {found[1].name}; say which with ?{name}=NAME")
    return found[0] if found else None


def _pictures(folder: Path, classes: list[str], first: Path) -> FolderPictures:
    own = [each.name for each in visible_folders(folder)]
    if strange := [name for name in own if name not in classes]:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise DataError(f"{folder}: {unknown_name(f'class of {first}', strange[0], classes[:20])}{more}")
    files = [_files(folder, name) if name in own else [] for name in classes]
    for name, found in zip(classes, files, strict=True):
        if name in own and not found:
            raise DataError(
                f"class folder {folder / name} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); fill or remove it"
            )
    return FolderPictures(folder, files)


def _files(folder: Path, name: str) -> list[str]:
    """Image files of a class, sorted, as paths below the split's folder; `pathlib` would be too slow for a million.

    A folder that links lead to again, for instance from below itself, is read once.
    """
    found, seen = [], set()
    for place, inner, files in os.walk(folder / name, followlinks=True):
        status = os.stat(place)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in seen:
            inner.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        inner[:] = [each for each in inner if not each.startswith(".")]
        below = os.path.relpath(place, folder)
        found += [
            f"{below}/{file}"
            for file in files
            if not file.startswith(".") and os.path.splitext(file)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122
        ]
    return sorted(found)
