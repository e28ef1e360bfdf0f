"""``coco:PATH``: images with objects in COCO's format, a JSON file of annotations for each split.

    coco:/data/coco                                   annotations/instances_{train,val}2017.json, {train,val}2017/
    coco:/data/parts?train=train.json&train_images=images&test=test.json&test_images=images
    coco:/data/coco?broken=skip                       leave out annotations that cannot be used, instead of refusing the data

Without options the usual places are looked into (`LAYOUTS`). Classes are the categories in the order of their ids, so that labels
have no gaps. Images without annotations are kept: they teach what is no object.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from subband.data.anomaly.shared_images import equal_files
from subband.data.detection.coco_annotations import AnnotationError, check_annotation, cut_box, segmentation_runs
from subband.data.detection.coco_checks import check_convention, check_files_once, check_masks
from subband.data.detection.instances import SPLITS, DetectionData, Instances, content_lines
from subband.data.folders import existing_folder
from subband.data.images import FileSource, source_digests
from subband.data.reading import ReadingRule
from subband.data.ruled import wanted_reading
from subband.errors import DataError, unknown_name
from subband.extras import Extra

runs = Extra("pycocotools.mask", "detect")

LAYOUTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "train": (
        ("annotations/instances_train2017.json", "train2017"),
        ("annotations/instances_train.json", "train"),
        ("train/_annotations.coco.json", "train"),
    ),
    "validation": (
        ("annotations/instances_validation.json", "validation"),
        ("valid/_annotations.coco.json", "valid"),
    ),
    "test": (
        ("annotations/instances_val2017.json", "val2017"),
        ("annotations/instances_test.json", "test"),
        ("test/_annotations.coco.json", "test"),
    ),
}
"""By split, the annotation files that are looked for and the folder of their images, in this order. COCO's own val2017, by which
results are reported, is the test split; what chooses a checkpoint is then held out of the training images."""

_OPTIONS = (*SPLITS, *(f"{split}_images" for split in SPLITS), "broken", "orientation")


@dataclass(frozen=True, eq=False)
class CocoPicture:
    """One image of a COCO file (`subband.data.detection.instances.AnnotatedPicture`).

    Attributes:
        name: its file's name, as the annotations give it.
        image: the file.
        size: width and height in pixels, as the annotations give them.
        annotations: checked, as they stand in the file, each with its label.
    """

    name: str
    image: FileSource
    size: tuple[int, int]
    annotations: tuple[tuple[int, Mapping[str, Any]], ...]

    def instances(self) -> Instances:
        """Its objects, boxes cut at the image's border."""
        width, height = self.size
        boxes, masks, areas = [], [], []
        for _, annotation in self.annotations:
            boxes.append(cut_box(annotation["bbox"], width, height))
            mask = segmentation_runs(annotation["segmentation"], width, height)
            masks.append({"size": tuple(mask["size"]), "counts": mask["counts"].decode("ascii")})
            areas.append(float(annotation["area"]) if "area" in annotation else float(runs.area(mask)))
        labels = [label for label, _ in self.annotations]
        crowd = [bool(annotation.get("iscrowd", 0)) for _, annotation in self.annotations]
        return Instances.of(boxes, labels, masks, areas, crowd)


class CocoData(DetectionData):
    """A dataset in COCO's format; see `open_coco`.

    Attributes:
        skipped: annotations that were left out because they cannot be used, one line each.
    """

    def __init__(
        self, root: Path, query: str, classes: Sequence[str], splits: Mapping[str, Sequence[CocoPicture]]
    ) -> None:
        super().__init__(f"coco:{root}{query}", root.name, classes, splits)
        self.skipped: tuple[str, ...] = ()
        self.own_notes: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Boxes beside their masks, annotations that were left out, and images that are there twice."""
        skipped = (
            (f"{len(self.skipped)} annotations are left out (the first: {self.skipped[0]})",) if self.skipped else ()
        )
        entries = [(split, picture) for split, pictures in self.splits.items() for picture in pictures]
        paths = [Path(picture.image.path) for _, picture in entries]  # type: ignore[attr-defined]
        groups = [[entries[place] for place in places] for places in equal_files(paths)]
        copies = []
        if groups:
            names = " and ".join(picture.name for _, picture in groups[0])
            copies.append(f"{len(groups)} images are there more than once, under several names (the first: {names})")
        between = [group for group in groups if len({split for split, _ in group}) > 1]
        if between:
            splits = " and ".join(sorted({split for split, _ in between[0]}))
            copies.append(
                f"{len(between)} of them are in several splits (the first: in {splits}), so that results look better than they are"
            )
        return (*skipped, *self.own_notes, *copies)

    def digest(self) -> str:
        """Hash of classes, annotations and the bytes of all images.

        Raises:
            DataError: an image cannot be read.
        """
        return self._digest

    @cached_property
    def _digest(self) -> str:
        running = hashlib.sha256()
        for line in content_lines(self.classes, self.splits):
            running.update(line)
        sources: list[Any] = [picture.image for pictures in self.splits.values() for picture in pictures]
        for digest in source_digests(sources):
            running.update(digest.encode())
        return running.hexdigest()


def open_coco(path: str, options: Mapping[str, str]) -> CocoData:
    """Open a dataset in COCO's format; annotations are read and checked, images are not.

    Args:
        path: the folder; relative to the current folder, ``~`` is the home folder.
        options: ``train``, ``validation``, ``test`` (annotation files, relative to the folder), each with the folder of its
            images in ``train_images`` and so on (by default that of the annotations), ``broken``: ``error`` or ``skip``, and
            ``orientation``: ``apply`` or ``ignore``.

    Raises:
        DataError: a file is missing or not in COCO's format, or an annotation cannot be used; the message names its id.
    """
    uri = f"coco:{path}"
    root = existing_folder(path, uri)
    for option in options:
        if option not in _OPTIONS:
            raise DataError(f"{uri}: {unknown_name('option', option, _OPTIONS)}")
    broken = options.get("broken", "error")
    if broken not in ("error", "skip"):
        raise DataError(f"{uri}: broken is {broken!r}; it must be error or skip")
    wanted, _ = wanted_reading({name: options[name] for name in ("orientation",) if name in options}, uri)
    rule = ReadingRule(orientation=wanted.orientation)
    places = _places(root, options, uri)
    classes: tuple[tuple[int, str], ...] | None = None
    splits: dict[str, list[CocoPicture]] = {}
    skipped: list[str] = []
    notes: list[str] = []
    for split, (file, images) in places.items():
        content = _read(file)
        found = _categories(content, file)
        if classes is not None and found != classes:
            raise DataError(
                f"{file} has other categories than the {next(iter(splits))} split: {_first_difference(classes, found)}; "
                "give all splits the same categories"
            )
        classes = found
        labels = {identity: label for label, (identity, _) in enumerate(found)}
        splits[split], left_out, found_notes = _pictures(content, labels, file, images, broken == "skip", rule)
        skipped += left_out
        notes += found_notes
    _refuse_shared_files(splits, uri)
    query = "&".join(f"{name}={value}" for name, value in options.items())
    data = CocoData(root, f"?{query}" if query else "", [name for _, name in classes or ()], splits)
    data.skipped = tuple(skipped)
    data.own_notes = tuple(notes)
    return data


def _refuse_shared_files(splits: Mapping[str, Sequence[CocoPicture]], uri: str) -> None:
    owner: dict[str, str] = {}
    for split, pictures in splits.items():
        shared = [p.name for p in pictures if owner.setdefault(os.path.normpath(p.image.path), split) != split]
        if shared:
            other = next(owner[os.path.normpath(p.image.path)] for p in pictures if p.name == shared[0])
            raise DataError(
                f"{uri}: {shared[0]} is in the {other} and in the {split} split ({len(shared)} such files): what is learnt from "
                "cannot choose or report; leave each file in one of them"
            )


def is_coco_folder(folder: Path) -> bool:
    """Whether annotations lie in one of the usual places."""
    return any((folder / file).is_file() for files in LAYOUTS.values() for file, _ in files)


def _places(root: Path, options: Mapping[str, str], uri: str) -> dict[str, tuple[Path, Path]]:
    """By split, its annotation file and the folder of its images."""
    places = {}
    given = any(split in options for split in SPLITS)
    for split in SPLITS:
        if split in options:
            file = root / options[split]
            if not file.is_file():
                raise DataError(f"{uri}: {split}={options[split]}: there is no file {file}")
            places[split] = file, root / options.get(f"{split}_images", str(Path(options[split]).parent))
        elif f"{split}_images" in options:
            raise DataError(f"{uri}: {split}_images needs {split}, the file of the annotations")
        elif not given and (there := [pair for pair in LAYOUTS[split] if (root / pair[0]).is_file()]):
            places[split] = root / there[0][0], root / there[0][1]
    if not places:
        usual = ", ".join(file for files in LAYOUTS.values() for file, _ in files)
        raise DataError(
            f"{root} holds no annotations where they are looked for ({usual}); name them, for instance "
            f"{uri}?train=FILE.json&train_images=FOLDER"
        )
    for split, (_, images) in places.items():
        if not images.is_dir():
            raise DataError(f"{uri}: there is no folder {images} of the {split} images; name it by {split}_images")
    return places


def _read(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{file} cannot be read as JSON: {error}") from error
    for name in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise DataError(f"{file} is not in COCO's format: it has no list named {name}")
        if not all(isinstance(entry, dict) and isinstance(entry.get("id"), int) for entry in content[name]):
            raise DataError(f"{file} is not in COCO's format: an entry of {name} has no whole number as id")
        twice = [identity for identity, count in Counter(entry["id"] for entry in content[name]).items() if count > 1]
        if twice:
            raise DataError(f"{file}: id {twice[0]} occurs twice in {name}; every id must be unique")
    return content  # type: ignore[no-any-return]


def _categories(content: Mapping[str, Any], file: Path) -> tuple[tuple[int, str], ...]:
    """Ids and names, in the order of the ids."""
    found = []
    for category in sorted(content["categories"], key=lambda entry: entry["id"]):
        if not isinstance(category.get("name"), str) or not category["name"]:
            raise DataError(f"{file}: category {category['id']} has no name")
        found.append((category["id"], category["name"]))
    if not found:
        raise DataError(f"{file} has no categories, so there is nothing to find")
    twice = [name for name, count in Counter(name for _, name in found).items() if count > 1]
    if twice:
        raise DataError(f"{file}: two categories are named {twice[0]!r}")
    return tuple(found)


def _first_difference(one: tuple[tuple[int, str], ...], other: tuple[tuple[int, str], ...]) -> str:
    odd = sorted(set(one) ^ set(other))
    return ", ".join(f"{identity} {name!r}" for identity, name in odd[:4])


def _pictures(
    content: Mapping[str, Any], labels: Mapping[int, int], file: Path, images: Path, skip: bool, rule: ReadingRule
) -> tuple[list[CocoPicture], list[str], list[str]]:
    by_id: dict[int, list[tuple[int, Mapping[str, Any]]]] = {}
    sizes: dict[int, tuple[int, int]] = {}
    for entry in content["images"]:
        if not isinstance(entry.get("file_name"), str) or not all(
            isinstance(entry.get(side), int) and entry[side] > 0 for side in ("width", "height")
        ):
            raise DataError(f"{file}: image {entry['id']} needs a file_name, and width and height in pixels")
        sizes[entry["id"]] = entry["width"], entry["height"]
        by_id[entry["id"]] = []
    check_files_once(content["images"], images, file)
    check_convention(content["annotations"], sizes, file)
    skipped, sound = [], []
    for annotation in content["annotations"]:
        try:
            check_annotation(annotation, sizes, labels)
        except AnnotationError as problem:
            line = f"{file}: annotation {annotation['id']} {problem}"
            if not skip:
                raise DataError(f"{line}; mend it, or leave such annotations out with ?broken=skip") from None
            skipped.append(line)
            continue
        sound.append(annotation)
        by_id[annotation["image_id"]].append((labels[annotation["category_id"]], annotation))
    pictures = [
        CocoPicture(
            entry["file_name"],
            FileSource(images / entry["file_name"], rule),
            sizes[entry["id"]],
            tuple(by_id[entry["id"]]),
        )
        for entry in content["images"]
    ]
    if not pictures:
        raise DataError(f"{file} names no images")
    return pictures, skipped, check_masks(sound, sizes, file)
