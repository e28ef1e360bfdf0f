"""What a data set holds and what is wrong with it, found before any work starts.

The cheap part reads every file once for its digest and its header, and decodes masks; both are remembered, so that it takes a
moment the second time. `check_files` is what every job runs; `survey` is what ``jobs/check_data.py`` shows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from subband.data.classification.labelled import ClassData
from subband.data.detection.instances import DetectionData
from subband.data.folders import IMAGE_SUFFIXES, MASK_SUFFIXES, FolderDataset
from subband.data.headers import FileFacts, file_facts
from subband.data.notes import dataset_notes
from subband.data.reading import Orientation, ReadingRule
from subband.data.ruled import reading_of, rule_of
from subband.data.sample import Category, Dataset, ImageSource
from subband.data.segmentation.masks import check_pairs, orientation_hint
from subband.data.task_data import TaskData
from subband.decisions import Decision
from subband.errors import DataError

Progress = Callable[[int, int], None]
Check: TypeAlias = Literal["headers", "full"]
_SHOWN, _NOTES = 5, 12
_DEFECT_WORDS = frozenset(
    [
        "ng",
        "nok",
        "bad",
        "defect",
        "defective",
        "defects",
        "scratch",
        "scratched",
        "crack",
        "cracked",
        "broken",
        "dent",
        "hole",
        "stain",
        "contamination",
        "anomaly",
        "anomalous",
        "fail",
        "failed",
        "faulty",
        "reject",
        "rejected",
        "scrap",
        "damaged",
    ]
)
_COPY = re.compile(r"copy|kopie|copie|\(\d+\)|duplicate", re.IGNORECASE)
_WORD = re.compile(r"[a-z]+")


@dataclass
class Survey:
    """What a data set holds.

    Attributes:
        counts: one row a category, or split of labelled images: numbers of images by what they are.
        sizes, modes, formats: numbers of files by "width x height", pixel format and file format.
        notes: what a reader must know, one sentence each.
        problems: what must be corrected before anything can run, one sentence each.
        left_out: files of the folder that are not read, by why.
    """

    counts: list[dict[str, str | int]] = field(default_factory=list)
    sizes: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def data_decisions(dataset: Dataset, check: Check) -> list[Decision]:
    """Check the files of a data set, and give its notes in the form of a job's decisions.

    Args:
        dataset: any.
        check: ``headers``, or ``full`` to decode every image.

    Raises:
        DataError: as `check_files`.
    """
    notes = check_files(dataset, decode=check == "full")
    if len(notes) > _NOTES:
        notes = [
            *notes[: _NOTES - 1],
            f"{len(notes) - _NOTES + 1} more; python jobs/check_data.py '{dataset.uri}' lists them",
        ]
    return [
        Decision(f"note {number}", note, "from the files of the data set") for number, note in enumerate(notes, start=1)
    ]


def check_files(dataset: Dataset, decode: bool = False, progress: Progress | None = None) -> list[str]:
    """Check every file of a data set before anything is computed from it.

    Args:
        dataset: any; of sequences of frames nothing is checked here, since their reader does.
        decode: whether every image is decoded; without it the headers are read, and files whose end is missing are decoded.
        progress: called with the number of files looked at, and of all.

    Returns:
        Notes for the reader.

    Raises:
        DataError: files are damaged or masks have another size than their images; the message names the first few.
    """
    if isinstance(dataset, TaskData):
        facts = _facts(_task_files(dataset), decode, progress)
        _refuse(dataset, _damaged(facts, _SHOWN))
        return [*dataset_notes(dataset), *_orientations(list(facts.values()), reading_of(dataset))]
    categories = [dataset.category(name) for name in dataset.categories]
    facts = _facts(_paths(categories), decode, progress)
    _refuse(dataset, _problems(categories, facts, _SHOWN))
    return [*dataset_notes(dataset), *_remarks(categories, facts)]


def _refuse(dataset: Dataset, problems: Sequence[str]) -> None:
    if problems:
        raise DataError(
            f"{dataset.uri} cannot be used as it is: {'; '.join(problems)}. To list all of it, type: python jobs/check_data.py "
            f"'{dataset.uri}'"
        )


def survey(dataset: Dataset, decode: bool = False, progress: Progress | None = None) -> Survey:
    """Everything that `check_files` finds, and what the data set holds; problems are listed instead of raised.

    Args:
        dataset: any that is read from image files.
        decode: as in `check_files`.
        progress: as in `check_files`.

    Raises:
        DataError: the layout itself cannot be read.
    """
    if isinstance(dataset, TaskData):
        return _survey_splits(dataset, decode, progress)
    found = Survey()
    categories = [dataset.category(name) for name in dataset.categories]
    facts = _facts(_paths(categories), decode, progress)
    for category in categories:
        found.counts.append(_counted(category))
    images = {path for category in categories for path in _images(category)}
    _describe(found, [fact for path, fact in facts.items() if path in images])
    found.problems = _problems(categories, facts)
    _add_notes(found, dataset)
    found.notes += _remarks(categories, facts)
    found.notes += suspicious_names(categories, dataset.root if isinstance(dataset, FolderDataset) else None)
    if isinstance(dataset, FolderDataset):
        found.left_out = _left_out(dataset, set(facts))
    return found


def _add_notes(found: Survey, dataset: Dataset) -> None:
    """The reader's notes, or what it refuses as one more problem."""
    try:
        found.notes += dataset_notes(dataset)
        for name in dataset.categories if isinstance(dataset, FolderDataset) and dataset.scheme == "pairs" else ():
            category = dataset.category(name)
            check_pairs([*category.train, *category.test])
    except DataError as error:
        found.problems.append(str(error))


def _survey_splits(dataset: TaskData, decode: bool, progress: Progress | None) -> Survey:
    """Of images with class labels or boxes; sequences of frames are counted by their reader."""
    found = Survey()
    if isinstance(dataset, ClassData):
        for split, images in dataset.splits.items():
            classes = Counter(images.labels.tolist())
            fewest = min(classes.values(), default=0)
            found.counts.append(
                {"split": split, "images": len(images), "classes": len(classes), "fewest of a class": fewest}
            )
    elif isinstance(dataset, DetectionData):
        for part, annotated in dataset.splits.items():
            objects = [len(image.instances()) for image in annotated]
            empty = objects.count(0)
            found.counts.append(
                {"split": part, "images": len(annotated), "objects": sum(objects), "without objects": empty}
            )
    else:
        found.notes.append(f"{dataset.uri} holds {dataset.holds}, whose files are checked when they are read")
    facts = _facts(_task_files(dataset), decode, progress)
    _describe(found, list(facts.values()))
    found.problems = _damaged(facts)
    _add_notes(found, dataset)
    found.notes += _orientations(list(facts.values()), reading_of(dataset))
    return found


def _task_files(dataset: TaskData) -> list[Path]:
    sources: list[ImageSource] = []
    if isinstance(dataset, ClassData):
        sources = [image for images in dataset.splits.values() for image in images.images()]
    elif isinstance(dataset, DetectionData):
        sources = [annotated.image for part in dataset.splits.values() for annotated in part]
    return list(dict.fromkeys(path for path in map(file_of, sources) if path is not None))


def file_of(source: ImageSource | None) -> Path | None:
    """The file that a source is read from, through rules and damage laid over it."""
    while source is not None and not hasattr(source, "path"):
        source = getattr(source, "source", None)
    path: str | Path | None = getattr(source, "path", None)
    return Path(path) if isinstance(path, str) else path


def _images(category: Category) -> list[Path]:
    return [path for s in (*category.train, *category.test) if (path := file_of(s.image)) is not None]


def _paths(categories: Sequence[Category]) -> list[Path]:
    masks = [file_of(s.mask) for category in categories for s in (*category.train, *category.test)]
    images = [path for category in categories for path in _images(category)]
    return list(dict.fromkeys([*images, *filter(None, masks)]))


def _facts(paths: Sequence[Path], decode: bool, progress: Progress | None) -> dict[Path, FileFacts]:
    found: dict[Path, FileFacts] = {}
    for chunk in file_facts(paths, decode):
        found.update((fact.path, fact) for fact in chunk)
        if progress is not None:
            progress(len(found), len(paths))
    return found


def _damaged(facts: Mapping[Path, FileFacts], shown: int | None = None) -> list[str]:
    found = [f"{path} {fact.problem}" for path, fact in facts.items() if fact.problem]
    found += [
        f"{path} has {fact.frames} frames, of which the first alone would be looked at; save each as a file of its own"
        for path, fact in facts.items()
        if fact.frames > 1
    ]
    return _first(found, shown)


def _first(texts: list[str], shown: int | None) -> list[str]:
    if shown is None or len(texts) <= shown:
        return texts
    return [*texts[:shown], f"and {len(texts) - shown} more"]


def _problems(categories: Sequence[Category], facts: Mapping[Path, FileFacts], shown: int | None = None) -> list[str]:
    unequal = []
    for category in categories:
        for sample in (*category.train, *category.test):
            image, mask = facts.get(file_of(sample.image) or Path()), facts.get(file_of(sample.mask) or Path())
            if image is None or mask is None or image.problem or mask.problem:
                continue
            orientation = rule_of([sample.image]).orientation
            size, wanted = mask.size(orientation), image.size(orientation)
            if size != wanted:
                other: Orientation = "ignore" if orientation == "apply" else "apply"
                hint = orientation_hint(mask.size(other) == image.size(other), orientation)
                unequal.append(
                    f"mask {mask.path} is {size[0]} x {size[1]} pixels, but its image {image.path} is {wanted[0]} x "
                    f"{wanted[1]}{hint}"
                )
    return _first([*_damaged(facts), *unequal], shown)


def _remarks(categories: Sequence[Category], facts: Mapping[Path, FileFacts]) -> list[str]:
    return [
        *_copies(categories, facts),
        *_orientations(
            [facts[p] for c in categories for p in _images(c) if p in facts],
            rule_of(s.image for c in categories for s in (*c.train, *c.test)),
        ),
    ]


def _copies(categories: Sequence[Category], facts: Mapping[Path, FileFacts]) -> list[str]:
    notes = []
    owners: dict[str, str] = {}
    for category in categories:
        train = [facts[path].digest for s in category.train if (path := file_of(s.image)) is not None and path in facts]
        if copies := len(train) - len(set(train)):
            notes.append(f"{category.name}: {copies} of {len(train)} training images are copies of others")
        elsewhere = Counter(
            owners.setdefault(facts[path].digest, category.name) for path in _images(category) if path in facts
        )
        notes += [
            f"{count} images of {category.name} are images of {other} too"
            for other, count in elsewhere.items()
            if other != category.name
        ]
    return notes


def _orientations(facts: Iterable[FileFacts], rule: ReadingRule) -> list[str]:
    tagged = [fact for fact in facts if fact.orientation != 1]
    if not tagged:
        return []
    found = f"{len(tagged)} images have an orientation tag (the first: {tagged[0].path})"
    if rule.orientation == "ignore":
        return [f"{found}, which is ignored: they are read as stored"]
    return [
        f"{found} and are turned as viewers show them; masks must be drawn on that view. ?orientation=ignore reads them as "
        "stored, as most published code does"
    ]


def _describe(found: Survey, facts: Sequence[FileFacts]) -> None:
    sound = [fact for fact in facts if not fact.problem]
    found.sizes = Counter(f"{fact.width} x {fact.height}" for fact in sound)
    found.modes = Counter(fact.mode for fact in sound)
    found.formats = Counter(fact.format for fact in sound)


def _counted(category: Category) -> dict[str, str | int]:
    defective = [s for s in category.test if s.label]
    kinds = Counter(s.defect for s in defective)
    return {
        "category": category.name,
        "train": len(category.train),
        "test good": len(category.test) - len(defective),
        "test defective": len(defective),
        "masks": sum(s.mask is not None for s in (*category.train, *category.test)),
        "kinds": ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())),
    }


def suspicious_names(categories: Sequence[Category], folder: Path | None) -> list[str]:
    """Good images whose path below the folder has a word for defects in it, and images called copies; one sentence each.

    Args:
        categories: of the data set.
        folder: above which names say nothing of the images, or None.
    """
    notes = []
    for category in categories:
        good = [(s, path) for s in (*category.train, *category.test) if not s.label and (path := file_of(s.image))]
        odd = [path for _, path in good if _DEFECT_WORDS & set(_WORD.findall(_below(path, folder).lower()))]
        if odd:
            notes.append(f"{category.name}: {len(odd)} good images have a name of a defect (the first: {odd[0]})")
        if copies := [path for path in _images(category) if _COPY.search(path.stem)]:
            notes.append(f"{category.name}: {len(copies)} images are called copies (the first: {copies[0]})")
    return notes


def _below(path: Path, folder: Path | None) -> str:
    return path.relative_to(folder).as_posix() if folder is not None and path.is_relative_to(folder) else path.name


def _left_out(dataset: FolderDataset, used: set[Path]) -> Counter[str]:
    """Files below the folder that are no samples, by why; hidden ones are not counted."""
    if not dataset.root.is_dir():
        return Counter()
    found: Counter[str] = Counter()
    for path in dataset.root.rglob("*"):
        if path in used or path.name.startswith(".") or not path.is_file():
            continue
        suffix = path.suffix.lower() or "no suffix"
        image = suffix in IMAGE_SUFFIXES | MASK_SUFFIXES
        found[f"{suffix}: {'not part of any category by this URI' if image else 'not an image that can be read'}"] += 1
    return found
