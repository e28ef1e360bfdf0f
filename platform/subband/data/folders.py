"""What the dataset families in folders share: listing pictures, finding masks, and the dataset object itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from subband.data.images import FileSource, MaskFileSource
from subband.data.sample import Category, Sample
from subband.errors import DataError, unknown_name

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

# No JPEG here: its compression leaves non-zero pixels all around a defect, and a mask is whatever is non-zero.
MASK_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff"})

GOOD = "good"


@dataclass(frozen=True)
class FolderDataset:
    """A dataset whose categories are read from folders, each when it is asked for.

    Attributes:
        scheme: ``mvtec``, ``visa``, ``pairs`` or ``images``.
        root: the absolute folder.
        categories: names of the categories, sorted.
        query: the options of the URI, as written back into it.
        read: reads one category by its name.
    """

    scheme: str
    root: Path
    categories: tuple[str, ...]
    query: str
    read: Callable[[str], Category]

    @property
    def uri(self) -> str:
        """The URI that opens this dataset again, with an absolute path."""
        return f"{self.scheme}:{self.root}" + (f"?{self.query}" if self.query else "")

    @property
    def name(self) -> str:
        """The scheme and the folder's name, in letters, digits, ``_`` and ``-``."""
        folder = re.sub(r"[^A-Za-z0-9_-]+", "-", self.root.name).strip("-")
        return self.scheme if folder.lower() in ("", self.scheme) else f"{self.scheme}-{folder}"

    def category(self, name: str) -> Category:
        """Read one category.

        Raises:
            DataError: no such category, or its folder is empty or inconsistent.
        """
        if name not in self.categories:
            raise DataError(f"{self.uri}: {unknown_name('category', name, self.categories)}")
        return self.read(name)


def existing_folder(path: str, uri: str) -> Path:
    """The absolute folder that a URI names.

    Raises:
        DataError: no path, no such path, or not a folder.
    """
    if not path:
        raise DataError(f"{uri!r} names no folder; write for instance {uri.split(':')[0]}:/data/products")
    root = Path(path).expanduser().absolute()
    if not root.exists():
        parent = next(folder for folder in root.parents if folder.exists())
        raise DataError(f"folder {root} does not exist (of its path, {parent} does); correct the path in {uri!r}")
    if not root.is_dir():
        raise DataError(f"{root} is a file; {uri!r} must name the folder of a dataset")
    # Links are kept, since a category may be named after its folder; only ".." must go from an absolute path.
    return root.resolve() if ".." in root.parts else root


def chosen_categories(
    options: Mapping[str, str], found: Sequence[str], where: str, others: Sequence[str] = ()
) -> tuple[tuple[str, ...], str]:
    """The categories that the option ``categories=a,b`` keeps of those found, and the query that asks for them again.

    Args:
        options: of the URI.
        found: names of the categories.
        where: the URI, for messages.
        others: further legal options, which are left to the caller.

    Raises:
        DataError: an unknown option or category, or none found.
    """
    for option in options:
        if option != "categories" and option not in others:
            raise DataError(f"{where}: {unknown_name('option', option, ['categories', *others])}")
    if not found:
        raise DataError(f"{where} holds no category")
    if "categories" not in options:
        return tuple(sorted(found)), ""
    asked = tuple(sorted({name.strip() for name in options["categories"].split(",") if name.strip()}))
    if not asked:
        raise DataError(f"{where}: the option categories is empty (legal: {', '.join(sorted(found))})")
    for name in asked:
        if name not in found:
            raise DataError(f"{where}: {unknown_name('category', name, sorted(found))}")
    return asked, "categories=" + ",".join(asked)


def visible_folders(folder: Path) -> list[Path]:
    """Sub-folders whose name does not start with a dot, sorted by name."""
    return [entry for entry in _visible_entries(folder) if entry.is_dir()]


def picture_files(folder: Path) -> list[Path]:
    """Picture files of a folder, sorted by name; other files and hidden ones are ignored.

    Raises:
        DataError: two pictures differ only in their suffix, so that neither their names nor their masks are unique.
    """
    if not folder.is_dir():
        return []
    files = [entry for entry in _visible_entries(folder) if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]
    seen: dict[str, Path] = {}
    for file in files:
        other = seen.setdefault(file.stem, file)
        if other is not file:
            raise DataError(
                f"{other} and {file.name} have the same name but for the suffix, "
                "so pictures and masks cannot be paired by name; rename or remove one"
            )
    return files


def folder_samples(
    folder: Path, split: Literal["train", "test"], defect: str, mask_folder: Path | None = None
) -> list[Sample]:
    """The samples of a folder that holds the pictures of one kind.

    Args:
        folder: holds the pictures; may be missing.
        split: which split they belong to.
        defect: ``good`` or the name of the defect kind.
        mask_folder: holds a mask for each picture, ``<stem>_mask.png`` or ``<stem>.png``; None where no masks exist.

    Raises:
        DataError: a mask is missing or there are two.
    """
    label = int(defect != GOOD)
    masks = _masks_by_stem(mask_folder) if label and mask_folder is not None else None
    samples = []
    for file in picture_files(folder):
        mask = None
        if masks is not None:
            assert mask_folder is not None
            mask = MaskFileSource(_mask_of(file, masks, mask_folder))
        samples.append(Sample(f"{split}/{defect}/{file.stem}", split, label, defect, FileSource(file), mask))
    return samples


def _visible_entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}); check its permissions") from error


def _masks_by_stem(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    if folder.is_dir():
        for entry in _visible_entries(folder):
            if entry.suffix.lower() in MASK_SUFFIXES:
                found.setdefault(entry.stem, []).append(entry)
    return found


def _mask_of(file: Path, masks: Mapping[str, Sequence[Path]], folder: Path) -> Path:
    candidates = [*masks.get(f"{file.stem}_mask", ()), *masks.get(file.stem, ())]
    if not candidates:
        raise DataError(
            f"{file} has no mask; expected {folder / f'{file.stem}_mask.png'} (or {file.stem}.png there). "
            "Non-zero pixels are defective; masks are PNG, BMP or TIFF, since JPEG blurs them"
        )
    if len(candidates) > 1:
        raise DataError(f"{file} has two masks, {candidates[0]} and {candidates[1].name}; remove one")
    return candidates[0]
