"""``pairs:PATH``: images with segmentation masks, for training and testing, in any of these layouts.

    root/train/{images,gt}      root/test/{images,gt}           one test set
    root/train/{imgs,gt}        root/test/<set>/{imgs,gt}       several test sets
    root/{images,gt}                                            one folder, ``split=train`` (the default) or ``split=test``

Folders may be named ``images`` or ``imgs``, and ``gt`` or ``masks``; ``preset=NAME`` holds a data set to its published layout.
``train_list=FILE`` and ``test_list=FILE,FILE`` name pairs explicitly instead, one "image mask" a line, relative to the root.

An image and its mask have the same name but for the suffix. What the grey levels of masks mean is the option ``masks``, see
`subband.data.segmentation.masks`. There is one category a test set, and all share the training samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from subband.data.folders import (
    FolderDataset,
    chosen_categories,
    existing_folder,
    keeps_conflicts,
    picture_files,
    visible_folders,
)
from subband.data.images import FileSource
from subband.data.sample import FOREGROUND, Category, Sample
from subband.data.segmentation.masks import MaskRule, RuledMask, mask_rule
from subband.data.segmentation.pair_lists import read_list
from subband.errors import DataError, unknown_name

IMAGE_FOLDERS = ("images", "imgs")
MASK_FOLDERS = ("gt", "masks")
OPTIONS = ("preset", "masks", "split", "train_list", "test_list", "conflicts")

# Compression leaves non-zero levels all around the foreground.
_LOSSY = frozenset({".jpg", ".jpeg", ".webp"})
_NAMED = 5


@dataclass(frozen=True)
class Layout:
    """Where a published data set keeps its pairs.

    Attributes:
        images: name of the folders of images.
        masks: name of the folders of masks.
        several_sets: whether ``test`` holds one folder a test set.
    """

    images: tuple[str, ...]
    masks: tuple[str, ...]
    several_sets: bool | None


_ANY = Layout(IMAGE_FOLDERS, MASK_FOLDERS, None)
_DEFECTS, _OBJECTS = Layout(("images",), ("gt",), False), Layout(("imgs",), ("gt",), True)
PRESETS: Mapping[str, Layout] = {
    "esdis-sod": _DEFECTS,
    "crackseg9k": _DEFECTS,
    "zju-leaper": _DEFECTS,
    "sod": _OBJECTS,
    "cod": _OBJECTS,
}


class _Pair(NamedTuple):
    """A folder of images and that of their masks."""

    images: Path
    masks: Path


_Read = Callable[[], tuple[Sample, ...]]


def open_pairs(path: str, options: Mapping[str, str]) -> FolderDataset:
    """Open a folder of images with masks; the layout is recognised.

    Args:
        path: the root; relative to the current folder, ``~`` is the home folder.
        options: ``preset``, one of `PRESETS`; ``masks``, one of `MASK_RULES`; ``split`` of a single folder;
            ``train_list`` and ``test_list``; ``conflicts``: ``keep`` to accept an image with two masks; ``categories``, names of
            test sets to keep, separated by commas.

    Raises:
        DataError: no such folder, no layout recognised, an unknown option, preset, rule or category, or options that exclude
            each other.
    """
    uri = f"pairs:{path}"
    root = existing_folder(path, uri)
    rule = mask_rule(options.get("masks", "binary"))
    preset = options.get("preset")
    if preset is not None and preset not in PRESETS:
        raise DataError(f"{uri}: {unknown_name('preset', preset, PRESETS)}")
    if lists := [option for option in ("train_list", "test_list") if option in options]:
        if excluded := [option for option in ("preset", "split") if option in options]:
            raise DataError(f"{uri}: {lists[0]} names the pairs itself; leave {excluded[0]} out")
        train, tests = _of_lists(root, options, rule)
    else:
        train, tests = _of_folders(root, preset, options.get("split"), rule)
    names, kept = chosen_categories(options, list(tests), uri, OPTIONS)
    query = "&".join([*(f"{name}={options[name]}" for name in OPTIONS if name in options), *([kept] if kept else [])])
    return FolderDataset(
        "pairs", root, names, query, lambda name: Category(name, train(), tests[name]()), keeps_conflicts(options, uri)
    )


def is_pairs_folder(root: Path) -> bool:
    """Whether a folder looks like one of the layouts."""
    return any(
        _matching(folder, IMAGE_FOLDERS) and _matching(folder, MASK_FOLDERS)
        for folder in (root, *(part for part in (root / "train", root / "test") if part.is_dir()))
    )


def _of_folders(root: Path, preset: str | None, split: str | None, rule: MaskRule) -> tuple[_Read, dict[str, _Read]]:
    layout = _ANY if preset is None else PRESETS[preset]
    single = preset or root.name
    train_folder, test_folder = root / "train", root / "test"
    if split is not None and split not in ("train", "test"):
        raise DataError(f"pairs:{root}: split is {split!r}; a single folder of pairs is train or test")
    if not train_folder.is_dir() and not test_folder.is_dir():
        flat = None if preset else _pair_in(root, layout)
        if flat is None:
            raise DataError(f"{root} holds no pairs; expected {_expected(root, layout)}")
        samples = _reader(flat, "test" if split == "test" else "train", rule)
        return (_nothing, {single: samples}) if split == "test" else (samples, {single: _nothing})
    if split is not None:
        raise DataError(
            f"pairs:{root}: {root} has folders train and test; the option split is for a single folder of pairs"
        )
    train = _required(train_folder, layout) if train_folder.is_dir() else None
    tests = _test_folders(test_folder, layout, single) if test_folder.is_dir() else {}
    read_tests = {name: _reader(pair, "test", rule) for name, pair in tests.items()}
    return _reader(train, "train", rule) if train else _nothing, read_tests or {single: _nothing}


def _test_folders(folder: Path, layout: Layout, single: str) -> dict[str, _Pair]:
    direct = None if layout.several_sets else _pair_in(folder, layout)
    sets = {}
    if layout.several_sets is not False:
        sets = {entry.name: pair for entry in visible_folders(folder) if (pair := _pair_in(entry, layout))}
    if direct and sets:
        raise DataError(
            f"{folder} holds pairs itself and in the test set {next(iter(sets))}; move the former into a folder"
        )
    if not direct and not sets:
        raise DataError(f"{folder} holds no pairs; expected {_expected(folder.parent, layout)}")
    return {single: direct} if direct else sets


def _required(folder: Path, layout: Layout) -> _Pair:
    pair = _pair_in(folder, layout)
    if pair is None:
        raise DataError(f"{folder} holds no pairs; expected {folder / layout.images[0]} and {folder / layout.masks[0]}")
    return pair


def _pair_in(folder: Path, layout: Layout) -> _Pair | None:
    """The two folders, or None where there is neither."""
    images, masks = (_matching(folder, names) for names in (layout.images, layout.masks))
    for found in (images, masks):
        if len(found) > 1:
            raise DataError(f"{folder} holds both {found[0].name} and {found[1].name}; remove or rename one")
    if not images and not masks:
        return None
    if not images or not masks:
        there, missing = (images[0], layout.masks) if images else (masks[0], layout.images)
        raise DataError(f"{there} has no {' or '.join(missing)} beside it; expected {folder / missing[0]}")
    return _Pair(images[0], masks[0])


def _matching(folder: Path, names: Sequence[str]) -> list[Path]:
    return [entry for entry in visible_folders(folder) if entry.name.lower() in names]


def _expected(root: Path, layout: Layout) -> str:
    images, masks = layout.images[0], layout.masks[0]
    forms = [] if layout.several_sets else [f"{root / 'test' / images} and {root / 'test' / masks}"]
    if layout.several_sets is not False:
        forms.append(f"{root / 'test' / '<set>' / images} and {masks} beside it")
    if layout is _ANY:
        forms.append(f"{root / images} and {root / masks} alone")
    return f"{root / 'train' / images} with {root / 'train' / masks}, and {', or '.join(forms)}"


def _nothing() -> tuple[Sample, ...]:
    return ()


def _reader(pair: _Pair, split: Literal["train", "test"], rule: MaskRule) -> _Read:
    return lambda: tuple(
        _sample(f"{split}/{image.stem}", split, image, mask, rule) for image, mask in _paired(pair.images, pair.masks)
    )


def _paired(image_folder: Path, mask_folder: Path) -> list[tuple[Path, Path]]:
    images = {file.stem: file for file in picture_files(image_folder)}
    masks = {file.stem: file for file in picture_files(mask_folder)}
    if not images and not masks:
        raise DataError(f"{image_folder} and {mask_folder} hold no images")
    problems = []
    if lone := [file.name for stem, file in images.items() if stem not in masks]:
        problems.append(f"in {image_folder}, {_some(lone)} without a mask of the same name in {mask_folder}")
    if lone := [file.name for stem, file in masks.items() if stem not in images]:
        problems.append(f"in {mask_folder}, {_some(lone)} without an image of the same name in {image_folder}")
    if problems:
        raise DataError(f"{'; '.join(problems)}; add what is missing, or move the single files away")
    return [(image, masks[stem]) for stem, image in images.items()]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more} {'is' if len(names) == 1 else 'are'}"


def _sample(name: str, split: Literal["train", "test"], image: Path, mask: Path, rule: MaskRule) -> Sample:
    if rule == "nonzero" and mask.suffix.lower() in _LOSSY:
        raise DataError(
            f"mask {mask} is compressed with losses, which leave levels above 0 all around the foreground; with such masks use "
            "masks=threshold or masks=grey, or save them as PNG"
        )
    return Sample(name, split, 1, FOREGROUND, FileSource(image), RuledMask(mask, rule))


def _of_lists(root: Path, options: Mapping[str, str], rule: MaskRule) -> tuple[_Read, dict[str, _Read]]:
    def reader(file: str, split: Literal["train", "test"]) -> _Read:
        return lambda: tuple(
            _sample(f"{split}/{name}", split, image, mask, rule) for name, image, mask in read_list(root, file)
        )

    files = [file.strip() for file in options.get("test_list", "").split(",") if file.strip()]
    tests = {Path(file).stem: reader(file, "test") for file in files}
    if len(tests) < len(files):
        raise DataError(
            f"pairs:{root}: two lists of test_list have the same name, which is that of the test set; rename one"
        )
    train = reader(options["train_list"], "train") if options.get("train_list") else _nothing
    return train, tests or {root.name: _nothing}
