"""``images:PATH``: a folder of images about which nothing is known, for predictions.

Sub-folders are read too. Every image is a test sample without a mask, labelled good because nothing else is said of it; there is
nothing to learn from and nothing to measure with.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from subband.data.folders import FolderDataset, chosen_categories, existing_folder, picture_files, visible_folders
from subband.data.images import FileSource
from subband.data.sample import Category, Sample
from subband.errors import DataError

UNKNOWN = "unknown"


def open_plain(path: str, options: Mapping[str, str]) -> FolderDataset:
    """Open a folder of images.

    Args:
        path: the folder; relative to the current folder, ``~`` is the home folder.
        options: none are known but ``categories``, whose one value is the folder's name.

    Raises:
        DataError: no such folder, no image in it, or an unknown option.
    """
    uri = f"images:{path}"
    root = existing_folder(path, uri)
    samples = tuple(_samples(root, "test"))
    if not samples:
        raise DataError(f"{root} holds no image, nor do its sub-folders; give the folder of the images to predict")
    names, query = chosen_categories(options, [root.name], uri)
    return FolderDataset("images", root, names, query, lambda name: Category(name, (), samples))


def _samples(folder: Path, name: str, above: tuple[Path, ...] = ()) -> list[Sample]:
    if folder.resolve() in above:  # a link to a folder above itself has no end
        return []
    above = (*above, folder.resolve())
    here = [Sample(f"{name}/{file.stem}", "test", 0, UNKNOWN, FileSource(file)) for file in picture_files(folder)]
    return here + [
        sample for inner in visible_folders(folder) for sample in _samples(inner, f"{name}/{inner.name}", above)
    ]
