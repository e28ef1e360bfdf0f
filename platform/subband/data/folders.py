"""What the dataset families in folders share: listing images, finding masks, and the dataset object itself."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from subband.data.anomaly.shared_images import shared_image_notes
from subband.data.images import FileSource
from subband.data.sample import Category, Sample
from subband.data.segmentation.masks import DEFECT_RULES, MaskRule, mask_rule, mask_source
from subband.errors import DataError, unknown_name

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

# No JPEG here: its compression leaves non-zero pixels all around a defect, and a mask is whatever is non-zero.
MASK_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff"})

GOOD = "good"
GOOD_NAMES = frozenset(
    [
        "good",
        "goods",
        "ok",
        "okay",
        "io",
        "normal",
        "normals",
        "pass",
        "passed",
        "defect_free",
        "defect-free",
        "no_defect",
    ]
)
MASK_ENDS = ("_mask", "-mask", ".mask", "_gt", "_label", "_seg")


@dataclass(frozen=True)
class FolderDataset:
    """A dataset whose categories are read from folders, each when it is asked for.

    Attributes:
        scheme: ``mvtec``, ``visa``, ``pairs`` or ``images``.
        root: the absolute folder.
        categories: names of the categories, sorted.
        query: the options of the URI, as written back into it.
        read: reads one category by its name.
        keep_conflicts: whether an image may be there under two labels.
    """

    scheme: str
    root: Path
    categories: tuple[str, ...]
    query: str
    read: Callable[[str], Category]
    keep_conflicts: bool = False

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
            DataError: no such category, or its folder is empty or inconsistent, or an image is there under two labels.
        """
        if name not in self.categories:
            raise DataError(f"{self.uri}: {unknown_name('category', name, self.categories)}")
        category = self.read(name)
        return replace(category, notes=(*category.notes, *shared_image_notes(category, self.keep_conflicts)))


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


def existing_file(path: str, uri: str) -> Path:
    """The absolute path of the file that a URI names.

    Raises:
        DataError: no path, no such file, or a folder.
    """
    if not path:
        raise DataError(f"{uri!r} names no file; write for instance {uri.split(':')[0]}:/data/parts.csv")
    file = Path(path).expanduser().absolute()
    if not file.is_file():
        problem = "is a folder" if file.is_dir() else "does not exist"
        raise DataError(f"{file} {problem}; {uri!r} must name a file")
    return file.resolve() if ".." in file.parts else file


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


def reading_options(options: Mapping[str, str], uri: str, masks: str = "masks") -> tuple[MaskRule | None, bool, str]:
    """The options that every reader of images with defects has.

    Args:
        options: of the URI.
        uri: for messages.
        masks: name of the option for the rule of masks.

    Returns:
        The rule of masks, or None where there is none; whether an image may be there under two labels; and the query that asks for
        both again.

    Raises:
        DataError: an illegal value.
    """
    rule = mask_rule(options[masks], DEFECT_RULES) if masks in options else None
    given = [f"{name}={options[name]}" for name in (masks, "conflicts") if name in options]
    return rule, keeps_conflicts(options, uri), "&".join(given)


def keeps_conflicts(options: Mapping[str, str], uri: str) -> bool:
    """Whether the URI says ``conflicts=keep``.

    Raises:
        DataError: it says something else.
    """
    conflicts = options.get("conflicts", "refuse")
    if conflicts not in ("refuse", "keep"):
        raise DataError(f"{uri}: {unknown_name('value of conflicts', conflicts, ['refuse', 'keep'])}")
    return conflicts == "keep"


def joined(*queries: str) -> str:
    """Parts of a URI's query as one."""
    return "&".join(filter(None, queries))


def visible_folders(folder: Path) -> list[Path]:
    """Sub-folders whose name does not start with a dot, sorted by name."""
    return [entry for entry in _visible_entries(folder) if entry.is_dir()]


def picture_files(folder: Path) -> list[Path]:
    """Image files of a folder, sorted by name; other files and hidden ones are ignored.

    Raises:
        DataError: two images differ only in their suffix, so that neither their names nor their masks are unique, or a link
            leads nowhere.
    """
    if not folder.is_dir():
        return []
    named = [entry for entry in _visible_entries(folder) if entry.suffix.lower() in IMAGE_SUFFIXES]
    if broken := [entry for entry in named if entry.is_symlink() and not entry.exists()]:
        raise DataError(
            f"{broken[0]} is a link to {broken[0].readlink()}, which does not exist ({len(broken)} such links in {folder}); "
            "restore the files or remove the links"
        )
    files = [entry for entry in named if entry.is_file()]
    seen: dict[str, Path] = {}
    for file in files:
        other = seen.setdefault(file.stem, file)
        if other is not file:
            raise DataError(
                f"{other} and {file.name} have the same name but for the suffix, "
                "so images and masks cannot be paired by name; rename or remove one"
            )
    return files


def folder_samples(
    folder: Path,
    split: Literal["train", "test"],
    defect: str,
    mask_folder: Path | None = None,
    rule: MaskRule | None = None,
) -> list[Sample]:
    """The samples of a folder that holds the images of one kind.

    Args:
        folder: holds the images; may be missing.
        split: which split they belong to.
        defect: ``good`` or the name of the defect kind.
        mask_folder: holds a mask for each image, ``<stem>_mask.png`` or ``<stem>.png``; None where no masks exist.
        rule: of the masks; by default every level above 0 is defective.

    Raises:
        DataError: a mask is missing or there are two, masks lie among the images, or images lie in sub-folders.
    """
    files = picture_files(folder)
    _refuse_what_is_misplaced(folder, files, mask_folder)
    label = int(defect != GOOD)
    masks = _masks_by_stem(mask_folder) if label and mask_folder is not None else None
    samples = []
    for file in files:
        mask = None
        if masks is not None:
            assert mask_folder is not None
            mask = mask_source(_mask_of(file, masks, mask_folder), rule)
        samples.append(Sample(f"{split}/{defect}/{file.stem}", split, label, defect, FileSource(file), mask))
    return samples


def _refuse_what_is_misplaced(folder: Path, files: Sequence[Path], mask_folder: Path | None) -> None:
    """Refuse what would be scored as an image although it is a mask, and images that would be left out without a word."""
    stems = {_spelt(file.stem).lower() for file in files}
    masks = [
        file
        for file in files
        for end in MASK_ENDS
        if (stem := _spelt(file.stem).lower()).endswith(end) and stem.removesuffix(end) in stems
    ]
    if masks:
        place = mask_folder or folder.parent.parent / "ground_truth" / folder.name
        raise DataError(
            f"{masks[0]} lies beside the image that it is named after: {len(masks)} masks would be taken for images; move them "
            f"to {place}"
        )
    if not folder.is_dir():
        return
    nested = [
        file
        for inner in visible_folders(folder)
        for file in sorted(inner.rglob("*"))
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
    ]
    if nested:
        raise DataError(
            f"{len(nested)} images lie in sub-folders of {folder} and would be left out (the first: {nested[0]}); move them into "
            f"{folder.name} itself"
        )


def check_kind(folder: Path) -> None:
    """Refuse a folder of defective images whose name says that they are good.

    Raises:
        DataError: it is named like good images but not ``good``.
    """
    if folder.name != GOOD and _spelt(folder.name).lower().strip(" _-.") in GOOD_NAMES and picture_files(folder):
        raise DataError(
            f"the images in {folder} would count as a kind of defect, but its name says that they are good; rename it to "
            f"{folder.with_name(GOOD)}, or give the kind of defect another name"
        )


def spelt(name: str) -> str:
    """One form of accented letters: some file systems store them decomposed (NFD)."""
    return unicodedata.normalize("NFC", name)


_spelt = spelt


def visible_files(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """Files with one of the suffixes in a folder and its sub-folders, sorted by path; hidden ones are ignored.

    A folder that a link leads back to is entered once.

    Raises:
        DataError: a link leads nowhere, or a folder cannot be read.
    """
    found: list[Path] = []
    waiting, entered = [folder], {folder.resolve()}
    while waiting:
        for entry in _visible_entries(waiting.pop()):
            if entry.is_dir():
                if (place := entry.resolve()) not in entered:
                    entered.add(place)
                    waiting.append(entry)
            elif entry.suffix.lower() in suffixes:
                if not entry.exists():
                    raise DataError(
                        f"{entry} is a link to {entry.readlink()}, which does not exist; restore the file or remove the link"
                    )
                found.append(entry)
    return sorted(found)


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
                found.setdefault(_spelt(entry.stem), []).append(entry)
    return found


def _mask_of(file: Path, masks: Mapping[str, Sequence[Path]], folder: Path) -> Path:
    stem = _spelt(file.stem)
    candidates = [*masks.get(f"{stem}_mask", ()), *masks.get(stem, ())]
    if not candidates:
        raise DataError(
            f"{file} has no mask; expected {folder / f'{file.stem}_mask.png'} (or {file.stem}.png there). "
            "Non-zero pixels are defective; masks are PNG, BMP or TIFF, since JPEG blurs them"
        )
    if len(candidates) > 1:
        raise DataError(f"{file} has two masks, {candidates[0]} and {candidates[1].name}; remove one")
    return candidates[0]
