"""``folder:PATH``: a folder of images whose layout is the user's own.

    folder:/line3?good=ok&bad=ng,scratch&masks=masks

=============  =====================================================================================================
option         value
=============  =====================================================================================================
good           the good images; by default the sub-folders named good, ok, normal ..., else all images of a plain folder
bad            the defective images, all for tests; their kind is the name of the folder that they lie in
masks          masks of the defective images, with their file names, or these and ``_mask``, ``_gt`` ...
rule           which grey levels of a mask are defective (`subband.data.segmentation.masks.DEFECT_RULES`); by default all above 0
conflicts      ``keep`` to accept an image that is there as good and as defective
test           good images that are for tests alone; by default a fifth is held back (`subband.data.anomaly.hold_back`)
group          regular expression; images in whose path it finds the same text (its first group, if it has one) belong together
categories     sub-folders that are categories of their own, each with the layout that the other options describe
=============  =====================================================================================================

The options good, bad, masks, test and categories are names or globs of folders or files below the folder, separated by commas;
``*`` matches ``/`` too. Characters with a meaning in a URI are written percent-encoded (``%26`` for ``&``, ``%2C`` for a comma in a
name).
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from subband.data.anomaly.hold_back import hold_back
from subband.data.folders import (
    GOOD,
    GOOD_NAMES,
    IMAGE_SUFFIXES,
    MASK_ENDS,
    MASK_SUFFIXES,
    FolderDataset,
    existing_folder,
    reading_options,
    spelt,
    visible_files,
    visible_folders,
)
from subband.data.images import FileSource
from subband.data.sample import Category, ImageSource, Sample
from subband.data.segmentation.masks import MaskRule, mask_source
from subband.errors import DataError, unknown_name

OPTIONS = ("good", "bad", "masks", "test", "group", "categories", "rule", "conflicts")
DEFECTIVE = "defective"
_SHOWN = 8


def open_folder(path: str, options: Mapping[str, str]) -> FolderDataset:
    """Open a folder of images whose layout the options describe.

    Args:
        path: the folder; relative to the current one, ``~`` is the home folder.
        options: see the table of this module.

    Raises:
        DataError: no such folder, an unknown option, a pattern that matches nothing, or a regular expression that is none.
    """
    uri = f"folder:{path}"
    root = existing_folder(path, uri)
    for option in options:
        if option not in OPTIONS:
            raise DataError(f"{uri}: {unknown_name('option', option, OPTIONS)}")
    rule, keep, _ = reading_options(options, uri, "rule")
    layout = _Layout(
        **{name: patterns(options.get(name, "")) for name in ("good", "bad", "masks", "test")},
        group=_expression(options.get("group"), uri),
        rule=rule,
    )
    folders = {root.name: root}
    if "categories" in options:
        folders = _category_folders(root, patterns(options["categories"]), uri)
    query = "&".join(f"{name}={value}" for name, value in options.items())

    @functools.cache
    def read(name: str) -> Category:
        return _read(name, folders[name], layout)

    return FolderDataset("folder", root, tuple(sorted(folders)), query, read, keep)


def patterns(value: str) -> tuple[str, ...]:
    """Names or globs of a URI's option: separated by commas, percent-decoded, without a slash at their end."""
    return tuple(spelt(unquote(part)).strip().strip("/") for part in value.split(",") if part.strip())


def matches(relative: str, pattern: str) -> bool:
    """Whether a pattern names a file below the root or a folder that it lies in."""
    return _matched_prefix(relative, pattern) is not None


def _matched_prefix(relative: str, pattern: str) -> str | None:
    parts = relative.split("/")
    prefixes = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
    return next((prefix for prefix in prefixes if fnmatchcase(prefix, pattern)), None)


@dataclass(frozen=True)
class _Layout:
    """The options; most are patterns."""

    good: tuple[str, ...]
    bad: tuple[str, ...]
    masks: tuple[str, ...]
    test: tuple[str, ...]
    group: re.Pattern[str] | None
    rule: MaskRule | None


@dataclass(frozen=True)
class _File:
    """An image or mask, and its path below the category's folder."""

    path: Path
    relative: str

    @property
    def stem(self) -> str:
        name = self.relative.rsplit("/", 1)[-1]  # `pathlib` would take a second for ten thousand
        return name.rpartition(".")[0] or name

    @property
    def parents(self) -> tuple[str, ...]:
        return tuple(self.relative.split("/")[:-1])

    def any_of(self, wanted: Sequence[str]) -> str | None:
        """The first pattern that matches."""
        return next((pattern for pattern in wanted if matches(self.relative, pattern)), None)


def _expression(text: str | None, uri: str) -> re.Pattern[str] | None:
    if text is None:
        return None
    try:
        return re.compile(unquote(text))
    except re.error as error:
        raise DataError(f"{uri}: group={text} is no regular expression ({error})") from error


def _category_folders(root: Path, wanted: Sequence[str], uri: str) -> dict[str, Path]:
    folders = {spelt(folder.name): folder for folder in visible_folders(root)}
    found: dict[str, Path] = {}
    for pattern in wanted:
        chosen = {name: folder for name, folder in folders.items() if fnmatchcase(name, pattern)}
        if not chosen:
            raise DataError(f"{uri}: {unknown_name('category', pattern, folders)}")
        found |= chosen
    if not found:
        raise DataError(f"{uri}: the option categories is empty (legal: {', '.join(folders)}, or * for all)")
    return found


def _read(name: str, root: Path, layout: _Layout) -> Category:
    files = [_File(path, spelt(path.relative_to(root).as_posix())) for path in visible_files(root, IMAGE_SUFFIXES)]
    if not files:
        raise DataError(f"{root} holds no image, nor do its sub-folders; give the folder of your good images")
    for option in ("good", "bad", "masks", "test"):
        for pattern in getattr(layout, option):
            if not any(matches(file.relative, pattern) for file in files):
                raise DataError(f"{option}={pattern} matches nothing in {root}, which holds {_contents(files)}")
    masks = [file for file in files if file.any_of(layout.masks)]
    images = [file for file in files if file not in set(masks)]
    good_patterns = (*(layout.good or _good_by_name(root, images, layout)), *layout.test)
    good: list[_File] = []
    bad: list[_File] = []
    left: list[_File] = []
    for file in images:
        as_good, as_bad = file.any_of(good_patterns), file.any_of(layout.bad)
        if as_good and as_bad:
            raise DataError(
                f"{file.path} is good by {as_good!r} and defective by {as_bad!r}; make the globs of good and bad exclude each other"
            )
        (good if as_good else bad if as_bad else left).append(file)
    if not good:
        raise DataError(f"{root} has no good image by good={','.join(good_patterns)}; it holds {_contents(images)}")
    _refuse_equal_names([*good, *bad])
    _refuse_masks_among(images, root)
    notes = _left_out(left, layout)
    train = [_sample(file, "train", GOOD, layout, root) for file in good if not file.any_of(layout.test)]
    test = [_sample(file, "test", GOOD, layout, root) for file in good if file.any_of(layout.test)]
    if not train:
        raise DataError(f"{root}: test={','.join(layout.test)} takes every good image; leave some to learn from")
    if not layout.test:
        train, test, note = hold_back(train, str(root))
        notes.append(note)
    mask_of = _pair(bad, masks, layout, notes) if layout.masks else {}
    test += [replace(_sample(file, "test", _kind(file), layout, root), mask=mask_of.get(file.relative)) for file in bad]
    return Category(name, tuple(train), tuple(test), tuple(notes))


def _sample(file: _File, split: str, defect: str, layout: _Layout, root: Path) -> Sample:
    group = None
    if layout.group is not None:
        found = layout.group.search(file.relative)
        if found is None:
            raise DataError(
                f"{root}: group={layout.group.pattern} finds nothing in {file.relative}; it must match the path of every image"
            )
        group = found.group(1) if layout.group.groups else found.group(0)
    name = f"{split}/{PurePosixPath(file.relative).with_suffix('')}"
    return Sample(name, split, int(defect != GOOD), defect, FileSource(file.path), None, group)  # type: ignore[arg-type]


def _good_by_name(root: Path, images: Sequence[_File], layout: _Layout) -> tuple[str, ...]:
    """The folders that their names call good; all images where the folder has no sub-folders with images."""
    tops = Counter(file.parents[0] if file.parents else "" for file in images)
    named = tuple(top for top in tops if top.lower() in GOOD_NAMES)
    if named:
        return named
    if set(tops) <= {""} or all(file.any_of(layout.bad) or not file.parents for file in images):
        return ("*",) if not layout.bad else tuple(file.relative for file in images if not file.any_of(layout.bad))
    first = next(top for top in tops if top)
    raise DataError(
        f"{root} holds {_contents(images)}; say which images are good and which are defective, for instance "
        f"folder:{root}?good={first}&bad=OTHERS"
    )


def _contents(files: Sequence[_File]) -> str:
    """The first folders below the root, with numbers of images."""
    counts = Counter(f"{file.parents[0]}/" if file.parents else "the folder itself" for file in files)
    shown = ", ".join(f"{place} ({count})" for place, count in sorted(counts.items())[:_SHOWN])
    return shown + (f" and {len(counts) - _SHOWN} more folders" if len(counts) > _SHOWN else "")


def _kind(file: _File) -> str:
    kind = file.parents[-1] if file.parents else DEFECTIVE
    if kind.lower() in GOOD_NAMES:
        raise DataError(f"{file.path} is defective by bad=, but its folder {kind!r} says that it is good; rename one")
    return kind


def _refuse_equal_names(files: Sequence[_File]) -> None:
    seen: dict[PurePosixPath, _File] = {}
    for file in files:
        other = seen.setdefault(PurePosixPath(file.relative).with_suffix(""), file)
        if other is not file:
            raise DataError(
                f"{other.path} and {file.path.name} have the same name but for the suffix; rename or remove one"
            )


def _refuse_masks_among(images: Sequence[_File], root: Path) -> None:
    stems = {(file.parents, file.stem.lower()) for file in images}
    ends = [
        (file, end)
        for file in images
        for end in MASK_ENDS
        if file.stem.lower().endswith(end) and (file.parents, file.stem.lower().removesuffix(end)) in stems
    ]
    if ends:
        file, end = ends[0]
        raise DataError(
            f"{file.path} lies beside the image that it is named after: {len(ends)} masks would be taken for images; add "
            f"masks=*{end}.* to the URI of {root}"
        )


def _left_out(left: Sequence[_File], layout: _Layout) -> list[str]:
    if not left:
        return []
    hint = "" if layout.bad else "; are some of them defective? Then say so with bad="
    return [f"{len(left)} images are neither good nor defective by the URI and are left out: {_contents(left)}{hint}"]


def _pair(bad: Sequence[_File], masks: Sequence[_File], layout: _Layout, notes: list[str]) -> dict[str, ImageSource]:
    """The mask of every defective image: of its name, in the masks' folder itself or in sub-folders that mirror the image's."""
    by_stem: dict[str, list[tuple[tuple[str, ...], _File]]] = {}
    for mask in masks:
        if mask.path.suffix.lower() not in MASK_SUFFIXES:
            raise DataError(
                f"mask {mask.path} is a JPEG or WebP, which blurs its edges; save masks as PNG, BMP or TIFF"
            )
        prefix = next(filter(None, (_matched_prefix(mask.relative, pattern) for pattern in layout.masks)))
        below = () if prefix == mask.relative else mask.parents[prefix.count("/") + 1 :]
        by_stem.setdefault(mask.stem, []).append((below, mask))
    found: dict[str, ImageSource] = {}
    owner: dict[str, _File] = {}
    missing = []
    for file in bad:
        candidates = [
            (len(below), mask)
            for stem in (file.stem, *(f"{file.stem}{end}" for end in MASK_ENDS))
            for below, mask in by_stem.get(stem, ())
            if not below or file.parents[-len(below) :] == below
        ]
        if not candidates:
            missing.append(file)
            continue
        depth = max(each for each, _ in candidates)
        best = [mask for each, mask in candidates if each == depth]
        if len(best) > 1:
            raise DataError(f"{file.path} has two masks, {best[0].path} and {best[1].path}; remove one")
        other = owner.setdefault(best[0].relative, file)
        if other is not file:
            raise DataError(
                f"mask {best[0].path} fits {other.relative} and {file.relative}; put the masks into sub-folders like the images'"
            )
        found[file.relative] = mask_source(best[0].path, layout.rule)
    if missing:
        raise DataError(
            f"{len(missing)} of {len(bad)} defective images have no mask by masks={','.join(layout.masks)}, the first "
            f"{missing[0].path}; expected a file {missing[0].stem}.png or {missing[0].stem}_mask.png there"
        )
    if spare := len(masks) - len(owner):
        notes.append(f"{spare} masks belong to no defective image and are left out")
    return found
