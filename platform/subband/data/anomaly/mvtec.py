"""``mvtec:PATH``: folders in the layout of MVTec AD (Bergmann et al., CVPR 2019).

    root/<category>/train/good/*.png
    root/<category>/test/{good,<defect>}/*.png
    root/<category>/ground_truth/<defect>/<stem>_mask.png

Any suffix of `folders.IMAGE_SUFFIXES` is accepted in any case, and masks may also be named ``<stem>.png``. The root
may be a category itself, which is then named after its folder. A category without a ``ground_truth`` folder is
accepted: its defects have no known place, so its pixel metrics are undefined.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from subband.data.folders import (
    GOOD,
    FolderDataset,
    check_kind,
    chosen_categories,
    existing_folder,
    folder_samples,
    joined,
    picture_files,
    reading_options,
    visible_folders,
)
from subband.data.sample import Category, Sample
from subband.data.segmentation.masks import MaskRule
from subband.errors import DataError

OPTIONS = ("masks", "conflicts")


def open_mvtec(path: str, options: Mapping[str, str]) -> FolderDataset:
    """Open a folder of the MVTec AD layout.

    Args:
        path: the root; relative to the current folder, ``~`` is the home folder.
        options: ``categories``, names to keep, separated by commas; ``masks``, one of `DEFECT_RULES`;
            ``conflicts``: ``keep`` to accept an image under two labels.

    Raises:
        DataError: no such folder, no category in it, or an unknown option, rule or category.
    """
    uri = f"mvtec:{path}"
    root = existing_folder(path, uri)
    folders = category_folders(root)
    if not folders:
        raise DataError(
            f"{root} holds no category; expected {root / '<category>' / 'train' / 'good'} with images "
            "(or train/good in the folder itself)"
        )
    names, query = chosen_categories(options, list(folders), uri, OPTIONS)
    rule, keep, more = reading_options(options, uri)
    return FolderDataset(
        "mvtec", root, names, joined(query, more), lambda name: read_category(name, folders[name], rule), keep
    )


def category_folders(root: Path) -> dict[str, Path]:
    """Folders that hold ``train`` or ``test``, by category name; the root alone where it is itself a category."""
    if (root / "train").is_dir():
        return {root.name: root}
    return {
        folder.name: folder
        for folder in visible_folders(root)
        if (folder / "train").is_dir() or (folder / "test").is_dir()
    }


def read_category(name: str, folder: Path, rule: MaskRule | None = None) -> Category:
    """List the samples of one category; nothing is decoded.

    Args:
        name: what the category is called.
        folder: holds ``train``, and usually ``test`` and ``ground_truth``.
        rule: of the masks; by default every level above 0 is defective.

    Returns:
        Training samples by file name; test samples by defect kind, then file name. The test samples may be empty, or
        all good.

    Raises:
        DataError: no good training image, training images of another kind, images outside the folders of a kind,
            a missing or ambiguous mask, or two images of one name.
    """
    good = folder / "train" / GOOD
    train = folder_samples(good, "train", GOOD)
    if not train:
        problem = "holds no images" if good.is_dir() else "does not exist"
        raise DataError(f"category {name}: {good} {problem}; put the good images to learn from there")
    for other in visible_folders(folder / "train"):
        if other.name != GOOD and picture_files(other):
            raise DataError(
                f"category {name}: {other} holds images, but only good images are learnt from; "
                f"move them to {folder / 'test' / other.name}"
            )
    for split in ("train", "test"):
        if loose := picture_files(folder / split):
            raise DataError(
                f"category {name}: {loose[0]} lies outside the folders of a kind; "
                f"move such images to {folder / split / GOOD}" + (" or test/<defect>" if split == "test" else "")
            )
    return Category(name, tuple(train), tuple(_test_samples(folder, rule)))


def _test_samples(folder: Path, rule: MaskRule | None) -> list[Sample]:
    if not (folder / "test").is_dir():
        return []
    truth = folder / "ground_truth"
    samples = []
    for kind in visible_folders(folder / "test"):
        check_kind(kind)
        mask_folder = truth / kind.name if truth.is_dir() else None
        samples += folder_samples(kind, "test", kind.name, mask_folder, rule)
    return samples
