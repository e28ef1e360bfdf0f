"""Options ``bits`` and ``orientation`` of URIs, and the `ReadingRule` that a whole data set is read by.

Files of 16 bits often hold samples of 10, 12 or 14 bits: no header says so, and no single image does. So the highest sample of all
images of the data set, training and test, of every category that is open, tells the depth: the smallest of 8, 10, 12, 14 and 16
bits that holds it. It is remembered by content, and files of 8 bits are not decoded for it.

A model keeps the rule of the data that it was taught, and other data that it judges are read by that rule (`category_as_taught`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from subband.data.anomaly.damage import Damaged
from subband.data.classification.image_folder import FolderPictures
from subband.data.classification.labelled import ClassData
from subband.data.decoding import header, opened, pixel_limit
from subband.data.detection.instances import DetectionData
from subband.data.digests import file_digests, remembered_facts
from subband.data.folders import FolderDataset
from subband.data.images import FileSource, MaskFileSource, highest_sample
from subband.data.reading import FULL_BITS, PLAIN, Orientation, ReadingRule, is_deep
from subband.data.sample import Category, Dataset, ImageSource, Sample
from subband.data.segmentation.masks import RuledMask
from subband.data.threads import thread_count
from subband.errors import DataError, unknown_name

OPTIONS = ("bits", "orientation")
DEPTHS = (8, 10, 12, 14, 16)
_Data = TypeVar("_Data", bound=Dataset)
_DEEP_SUFFIXES = frozenset({".png", ".tif", ".tiff"})
_CHUNK = 256
_PNG, _TIFF = b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class Wanted:
    """What a URI says of reading.

    Attributes:
        bits: the option, or None.
        orientation: likewise; ``apply`` by default.
        query: the options as the URI has them.
    """

    bits: int | None = None
    orientation: Orientation = "apply"
    query: str = ""


@dataclass(frozen=True)
class Found:
    """The rule of a data set, and sentences for its reader."""

    rule: ReadingRule
    notes: tuple[str, ...] = ()


def wanted_reading(options: Mapping[str, str], uri: str) -> tuple[Wanted, dict[str, str]]:
    """What the options say of reading, and the other options.

    Raises:
        DataError: an illegal value, or an option that is nearly one of these.
    """
    others = {name: value for name, value in options.items() if name not in OPTIONS}
    for name in others:
        if difflib.get_close_matches(name.lower(), OPTIONS, cutoff=0.8):
            raise DataError(f"{uri}: {unknown_name('option', name, OPTIONS)}")
    bits, orientation = options.get("bits"), options.get("orientation", "apply")
    if bits is not None and not (bits.isdecimal() and 8 <= int(bits) <= FULL_BITS):
        raise DataError(f"{uri}: bits is {bits!r}; it must be the significant bits of 16-bit files, 8 to {FULL_BITS}")
    if orientation not in ("apply", "ignore"):
        raise DataError(
            f"{uri}: orientation is {orientation!r}; apply turns images as their tags say, ignore reads them as stored"
        )
    query = "&".join(f"{name}={options[name]}" for name in OPTIONS if name in options)
    return Wanted(None if bits is None else int(bits), orientation, query), others  # type: ignore[arg-type]


def read_as_wanted(dataset: _Data, wanted: Wanted) -> _Data:
    """The data set, all of its images read by one rule, which is found when the first is asked for.

    Args:
        dataset: of image files in folders; others are given back as they are.
        wanted: what its URI says.
    """
    if isinstance(dataset, FolderDataset):
        finder = RuleFinder(lambda: _files_of_folders(dataset), wanted, dataset.uri)

        def read(name: str) -> Category:
            category, found = dataset.read(name), finder.found()
            return replace(category_read_by(category, found.rule), notes=(*category.notes, *found.notes))

        query = "&".join(filter(None, (dataset.query, wanted.query)))
        return replace(dataset, read=read, query=query)  # type: ignore[return-value]
    if isinstance(dataset, ClassData):
        splits = [part for part in dataset.splits.values() if isinstance(part, FolderPictures)]
        shared = RuleFinder(_FilesOfClasses(tuple(splits)), wanted, dataset.uri)
        for part in splits:
            part.rule = shared.rule
        if splits:
            dataset.read_notes = _Both(dataset.read_notes, shared.notes)
        if wanted.query:
            dataset.uri += ("&" if "?" in dataset.uri else "?") + wanted.query
    return dataset


@dataclass(frozen=True)
class _Both:
    """The notes of two functions; an object, so that it can be sent to other processes."""

    first: Callable[[], tuple[str, ...]]
    second: Callable[[], tuple[str, ...]]

    def __call__(self) -> tuple[str, ...]:
        return (*self.first(), *self.second())


class RuleFinder:
    """The rule of a data set, found once.

    Args:
        files: lists the image files.
        wanted: what the URI says.
        where: the URI, for messages.
    """

    def __init__(self, files: Callable[[], Sequence[Path]], wanted: Wanted, where: str) -> None:
        self._files, self._wanted, self._where = files, wanted, where
        self._found: Found | None = None

    def rule(self) -> ReadingRule:
        """The rule; see `found`."""
        return self.found().rule

    def notes(self) -> tuple[str, ...]:
        """Sentences for the reader; see `found`."""
        return self.found().notes

    def found(self) -> Found:
        """The rule and what is to be said of it.

        Raises:
            DataError: the URI states fewer bits than the samples have.
        """
        if self._found is None:
            self._found = find_rule(self._files(), self._wanted, self._where)
        return self._found


def find_rule(files: Sequence[Path], wanted: Wanted, where: str) -> Found:
    """The rule for image files, and sentences for the reader.

    Args:
        files: all images of a data set.
        wanted: what its URI says; stated bits win.
        where: the URI, for messages.

    Raises:
        DataError: more bits are needed than are stated, or than 16.
    """
    notes = []
    if wanted.orientation == "ignore":
        notes.append("orientation tags are ignored, by orientation=ignore: images are read as stored")
    deep = _deep_files(files)
    if not deep:
        if wanted.bits is not None:
            notes.append(f"bits={wanted.bits} has no effect: no image has more than 8 bits")
        return Found(ReadingRule(orientation=wanted.orientation), tuple(notes))
    highest = _highest(deep)
    top = max(highest)
    if top >= 2**FULL_BITS:
        raise DataError(
            f"{where}: {deep[highest.index(top)]} has samples up to {top}, more than 16 bits hold, so their scale is "
            "unknown; save it as 16-bit grey"
        )
    needed = next(bits for bits in DEPTHS if top < 2**bits)
    share = f"{len(deep)} of {len(files)} images have 16-bit samples, the highest of all is {top}"
    if wanted.bits is not None:
        if top >= 2**wanted.bits:
            above = [file for file, value in zip(deep, highest, strict=True) if value >= 2**wanted.bits]
            raise DataError(
                f"{where}: bits={wanted.bits} leaves room for samples up to {2**wanted.bits - 1}, but {len(above)} images have "
                f"higher ones (the first: {above[0]}), up to {top}; correct it to bits={needed}, or remove the option"
            )
        notes.append(f"{share}: read as {wanted.bits} bits, as the URI says")
    elif needed == 8:
        notes.append(
            f"{share}: read as 8 bits in 16-bit files. If they are dark images of a deeper camera, state its depth, for instance "
            "bits=12"
        )
    elif needed == FULL_BITS:
        notes.append(f"{share}: read as 16 bits")
    else:
        notes.append(
            f"{share}: read as {needed} bits (0 to {2**needed - 1} becomes 0 to 255). If they are dark images of more bits, state "
            "these, for instance bits=16"
        )
    return Found(ReadingRule(wanted.bits or needed, wanted.orientation), tuple(notes))


def category_read_by(category: Category, rule: ReadingRule) -> Category:
    """The category with its images and masks read by a rule."""
    if rule == PLAIN == rule_of(sample.image for sample in _samples(category)):
        return category
    train, test = (tuple(sample_read_by(each, rule) for each in part) for part in (category.train, category.test))
    return replace(category, train=train, test=test)


def sample_read_by(sample: Sample, rule: ReadingRule) -> Sample:
    """The sample with its image and mask read by a rule."""
    mask = None if sample.mask is None else read_by(sample.mask, rule)
    return replace(sample, image=read_by(sample.image, rule), mask=mask)


def read_by(source: ImageSource, rule: ReadingRule) -> ImageSource:
    """The source read by a rule; what is drawn has none."""
    if isinstance(source, FileSource):
        return replace(source, rule=rule)
    if isinstance(source, MaskFileSource | RuledMask):
        return replace(source, orientation=rule.orientation)
    if isinstance(source, Damaged):
        return replace(source, source=read_by(source.source, rule))
    return source


def reading_of(dataset: Dataset) -> ReadingRule:
    """The rule that a data set is read by, to be kept with what is learnt from it."""
    if isinstance(dataset, ClassData):
        return rule_of(part.image(0) for part in dataset.splits.values())
    if isinstance(dataset, DetectionData):
        return rule_of(part[0].image for part in dataset.splits.values() if len(part))
    if not isinstance(dataset, FolderDataset):
        return PLAIN
    return rule_of(s.image for name in dataset.categories for s in _samples(dataset.category(name)))


def as_taught(found: ReadingRule, taught: ReadingRule) -> ReadingRule:
    """The rule for data that a model judges: that of the model, but for bits, of which a model of 8-bit images knows nothing.

    Args:
        found: rule of the data.
        taught: rule of the model.
    """
    return replace(taught, bits=found.bits if taught.bits is None else taught.bits)


def source_as_taught(source: ImageSource, taught: ReadingRule) -> ImageSource:
    """The image read for a model; see `as_taught`."""
    return read_by(source, as_taught(rule_of([source]), taught))


def sample_as_taught(sample: Sample, taught: ReadingRule) -> Sample:
    """The sample read for a model; see `as_taught`."""
    return sample_read_by(sample, as_taught(rule_of([sample.image]), taught))


def category_as_taught(category: Category, taught: ReadingRule) -> Category:
    """The category read for a model; see `as_taught`."""
    return category_read_by(category, as_taught(rule_of(s.image for s in _samples(category)), taught))


def read_classes_as_taught(data: ClassData, taught: ReadingRule) -> None:
    """Read labelled images for a model from now on; see `as_taught`."""
    for part in data.splits.values():
        if isinstance(part, FolderPictures):
            part.rule = _AsTaught(part.rule, taught)


@dataclass(frozen=True)
class _AsTaught:
    """The rule of data for a model, when it is asked for."""

    found: Callable[[], ReadingRule]
    taught: ReadingRule

    def __call__(self) -> ReadingRule:
        return as_taught(self.found(), self.taught)


def rule_of(sources: Iterable[ImageSource]) -> ReadingRule:
    """The rule of the first of some images that is read from a file; the plain one where none is."""
    for source in sources:
        while isinstance(source, Damaged):
            source = source.source
        if isinstance(source, FileSource):
            return source.rule
    return PLAIN


@dataclass(frozen=True)
class _FilesOfClasses:
    """The files of labelled images that can be deep; there may be a million others."""

    splits: tuple[FolderPictures, ...]

    def __call__(self) -> list[Path]:
        return [
            part.folder / file
            for part in self.splits
            for file in part.files
            if Path(file).suffix.lower() in _DEEP_SUFFIXES
        ]


def _files_of_folders(dataset: FolderDataset) -> list[Path]:
    found: dict[Path, None] = {}
    for name in dataset.categories:
        with suppress(DataError):  # whoever asks for that category is told
            for sample in _samples(dataset.read(name)):
                if isinstance(sample.image, FileSource):
                    found[sample.image.path] = None
    return list(found)


def _samples(category: Category) -> tuple[Sample, ...]:
    return (*category.train, *category.test)


def _highest(files: Sequence[Path]) -> list[int]:
    """The highest sample of each file, 0 where it cannot be decoded."""

    def look(place: int) -> str:
        try:
            return str(highest_sample(files[place]))
        except DataError:  # whoever opens it is told
            return "0"

    return [int(text) for text in remembered_facts(f"highest-1 {pixel_limit()}", file_digests(files), look)]


def _deep_files(files: Sequence[Path]) -> list[Path]:
    """Those that are deep, by their first bytes; many at a time, since looking at one takes less than starting to."""
    chunks = [files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK)]
    with ThreadPoolExecutor(thread_count(None)) as pool:
        return [file for found in pool.map(lambda chunk: [*filter(_is_deep_file, chunk)], chunks) for file in found]


def _is_deep_file(path: Path) -> bool:
    try:
        with opened(path) as stream:
            start = stream.read(26)
            if start.startswith(_PNG):
                return len(start) == 26 and start[24] == FULL_BITS
            if not start.startswith(_TIFF):
                return False
            stream.seek(0)
            with header(stream, str(path), None) as picture:
                return is_deep(picture)
    except (DataError, OSError):  # whoever opens it is told
        return False
