"""What is wrong with a whole COCO file: boxes in another convention, and files that stand under two ids."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from subband.data.detection.coco_annotations import is_box, segmentation_runs
from subband.errors import DataError
from subband.extras import Extra

runs = Extra("pycocotools.mask", "detect")

_ROUNDING = 2.0  # pixels by which tools differ when they draw a box around a mask
_OVERLAP = 0.5  # intersection over union, below which a box is not that of its mask
_MANY = 0.2  # share of boxes: more of them are a wrong convention, fewer are single mistakes
_OUTSIDE = 0.1
_MOST = 0.5
_RIGHT = "COCO's boxes are [x, y, width, height] in pixels"

Box: TypeAlias = tuple[float, float, float, float]


def check_files_once(entries: Sequence[Mapping[str, Any]], images: Path, file: Path) -> None:
    """Refuse a file that stands under two ids.

    Raises:
        DataError: it would be learnt from and counted twice, and could be in training and validation.
    """
    seen: dict[str, int] = {}
    twice = []
    for entry in entries:
        path = os.path.normpath(images / entry["file_name"])
        if (other := seen.setdefault(path, entry["id"])) != entry["id"]:
            twice.append((entry["file_name"], other, entry["id"]))
    if twice:
        name, one, other = twice[0]
        raise DataError(
            f"{file}: images {one} and {other} are the same file {name} ({len(twice)} files are there twice), so that it could be "
            "in training and validation; give each file one entry"
        )


def check_convention(
    annotations: Sequence[Mapping[str, Any]], sizes: Mapping[int, tuple[int, int]], file: Path
) -> None:
    """Refuse boxes that are not [x, y, width, height] in pixels, as far as all boxes of a file together show it.

    Args:
        annotations: of the file; what is broken by itself is passed over.
        sizes: width and height of the images by id.
        file: for messages.

    Raises:
        DataError: the boxes look like shares of the image, or like corners.
    """
    boxes = [
        (tuple(map(float, annotation["bbox"])), sizes[annotation["image_id"]])
        for annotation in annotations
        if is_box(annotation.get("bbox"))
        and isinstance(annotation.get("image_id"), int)
        and annotation["image_id"] in sizes
    ]
    if not boxes:
        return
    first = f"{file}: {list(boxes[0][0])} and all other boxes"
    values = [value for box, _ in boxes for value in box]
    if max(values) <= 1 and any(value != int(value) for value in values):
        raise DataError(
            f"{first} have coordinates between 0 and 1: they look like shares of the image's size, as YOLO writes them; {_RIGHT}: "
            "multiply them by width and height"
        )
    if _all_corners(boxes):
        raise DataError(
            f"{first} look like corners [x0, y0, x1, y1]: as widths and heights they reach out of their images; {_RIGHT}: subtract "
            "x0 and y0"
        )


def _all_corners(boxes: Sequence[tuple[tuple[float, ...], tuple[int, int]]]) -> bool:
    outside = 0
    for (x, y, w, h), (width, height) in boxes:
        if not (w > x >= 0 and h > y >= 0 and w <= width + 1 and h <= height + 1):
            return False
        outside += x + w > width + _ROUNDING or y + h > height + _ROUNDING
    return outside > _OUTSIDE * len(boxes)


def check_masks(
    annotations: Sequence[Mapping[str, Any]], sizes: Mapping[int, tuple[int, int]], file: Path
) -> list[str]:
    """Compare boxes with the masks that they should lie around.

    Args:
        annotations: checked one by one.
        sizes: width and height of the images by id.
        file: for messages.

    Returns:
        A note where single boxes do not lie around their masks.

    Raises:
        DataError: most boxes fit their masks only in another convention, or many do not fit them at all.
    """
    compared, exact, odd = 0, 0, []
    causes: Counter[str] = Counter()
    for annotation in annotations:
        around = _box_of_mask(annotation, sizes[annotation["image_id"]])
        if around is None:
            continue
        compared += 1
        x, y, w, h = map(float, annotation["bbox"])
        if _near((x, y, x + w, y + h), around):
            exact += 1
            continue
        cause = _cause((x, y, w, h), around)
        causes[cause] += bool(cause)
        if not _overlap((x, y, x + w, y + h), around):
            odd.append(_worded(annotation, around))
    cause, count = causes.most_common(1)[0] if causes else ("", 0)
    if count > max(exact, _MOST * compared):
        raise DataError(f"{file}: {count} of {compared} boxes {cause}, by what their segmentations cover; {_RIGHT}")
    if len(odd) > _MANY * compared:
        raise DataError(
            f"{file}: {odd[0]}; {len(odd)} of {compared} are so: boxes and segmentations may be of different images or sizes; "
            f"{_RIGHT}"
        )
    return [f"{len(odd)} of {compared} boxes do not lie around their masks (the first: {odd[0]})"] if odd else []


def _worded(annotation: Mapping[str, Any], around: Box) -> str:
    left, top, right, bottom = (f"{value:g}" for value in around)
    return (
        f"the bbox of annotation {annotation['id']}, {annotation['bbox']}, does not lie around its segmentation, which reaches "
        f"from ({left}, {top}) to ({right}, {bottom})"
    )


def _cause(box: Box, around: Box) -> str:
    """The convention in which a box fits its mask; empty if there is none."""
    x0, y0, x1, y1 = around
    conventions: Sequence[tuple[str, Box]] = (
        ("look like corners [x0, y0, x1, y1]", (x0, y0, x1, y1)),
        ("look like centres with width and height", ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)),
        ("look like [y, x, height, width]", (y0, x0, y1 - y0, x1 - x0)),
    )
    return next((words for words, wanted in conventions if _near(box, wanted)), "")


def _near(one: Box, other: Box) -> bool:
    return all(abs(a - b) <= _ROUNDING for a, b in zip(one, other, strict=True))


def _box_of_mask(annotation: Mapping[str, Any], size: tuple[int, int]) -> Box | None:
    """Corners of what a segmentation covers; None of a crowd, and where there is none."""
    segmentation = annotation.get("segmentation")
    if annotation.get("iscrowd") or not segmentation:
        return None
    if isinstance(segmentation, list):
        xs = [value for polygon in segmentation for value in polygon[::2]]
        ys = [value for polygon in segmentation for value in polygon[1::2]]
        return min(xs), min(ys), max(xs), max(ys)
    x, y, w, h = (float(value) for value in runs.toBbox(segmentation_runs(segmentation, *size)))
    return x, y, x + w, y + h


def _overlap(one: Box, other: Box) -> bool:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared >= _OVERLAP * (sum(areas) - shared)
