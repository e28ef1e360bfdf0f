"""Annotations in COCO's format: what is wrong with one, and its mask in run-length form.

pycocotools decodes whatever it is given, so that a polygon of two points becomes a rectangle and broken run lengths become noise:
what is broken is found here, before it is decoded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from subband.extras import Extra

runs = Extra("pycocotools.mask", "detect")

_SLACK = 1.0  # pixels that a box may reach over the border: annotation tools round


class AnnotationError(Exception):
    """What is wrong with one annotation, in words that follow its id."""


def check_annotation(
    annotation: Mapping[str, Any], sizes: Mapping[int, tuple[int, int]], labels: Mapping[int, int]
) -> None:
    """Refuse an annotation that cannot be learnt from.

    Args:
        annotation: an entry of the file.
        sizes: width and height of the images by id.
        labels: by category id.

    Raises:
        AnnotationError: image or category is unknown; the box is no box, has no area or lies outside its image; polygons are
            too short or outside the image, or run lengths are not those of the image or mark nothing.
    """
    image: Any = annotation.get("image_id")
    category: Any = annotation.get("category_id")
    if not isinstance(image, int) or image not in sizes:
        raise AnnotationError(f"is of image {image!r}, which the file does not have")
    if not isinstance(category, int) or category not in labels:
        raise AnnotationError(f"is of category {category!r}, which the file does not have")
    if annotation.get("iscrowd", 0) not in (0, 1):
        raise AnnotationError(f"has iscrowd {annotation['iscrowd']!r}; it must be 0 or 1")
    width, height = sizes[image]
    _check_box(annotation.get("bbox"), width, height)
    if "area" in annotation and not (_is_number(annotation["area"]) and annotation["area"] >= 0):
        raise AnnotationError(f"has the area {annotation['area']!r}, which is no number of pixels")
    _check_segmentation(annotation.get("segmentation"), width, height)


def cut_box(box: Sequence[float], width: int, height: int) -> tuple[float, float, float, float]:
    """Corners x0, y0, x1, y1 of a box [x, y, width, height], cut at the border of its image."""
    x, y, w, h = box
    return max(x, 0.0), max(y, 0.0), min(x + w, width), min(y + h, height)


def segmentation_runs(segmentation: Any, width: int, height: int) -> dict[str, Any]:
    """The compressed run lengths of a checked segmentation."""
    if isinstance(segmentation, list):
        return runs.merge(runs.frPyObjects(segmentation, height, width))  # type: ignore[no-any-return]
    if isinstance(segmentation["counts"], list):
        return runs.frPyObjects(segmentation, height, width)  # type: ignore[no-any-return]
    return {"size": [height, width], "counts": segmentation["counts"].encode("ascii")}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_box(box: Any) -> bool:
    """Whether it is a list of four numbers."""
    return isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))


def _check_box(box: Any, width: int, height: int) -> None:
    if not is_box(box):
        raise AnnotationError(f"has the bbox {box!r}; it must be [x, y, width, height] in pixels")
    x, y, w, h = box
    if w <= 0 or h <= 0:
        raise AnnotationError(f"has the bbox {box}, whose area is 0")
    if x < -_SLACK or y < -_SLACK or x + w > width + _SLACK or y + h > height + _SLACK or x >= width or y >= height:
        raise AnnotationError(f"has the bbox {box}, which lies outside its image of {width} x {height} pixels")
    x0, y0, x1, y1 = np.array(cut_box(box, width, height), np.float32)  # as it will be learnt
    if x1 <= x0 or y1 <= y0:
        raise AnnotationError(
            f"has the bbox {box}, of which nothing is left inside its image of {width} x {height} pixels"
        )


def _check_segmentation(segmentation: Any, width: int, height: int) -> None:
    if not segmentation:
        raise AnnotationError("has no segmentation; masks are learnt from polygons or run lengths")
    if isinstance(segmentation, list):
        for polygon in segmentation:
            if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
                count = f" {len(polygon)}" if isinstance(polygon, list) else ""
                raise AnnotationError(
                    f"has a polygon of{count or ' no'} coordinates; it must be at least 6, in pairs x, y"
                )
            if not all(map(_is_number, polygon)):
                raise AnnotationError("has a polygon with coordinates that are no numbers")
        if not any(_reaches(polygon, width, height) for polygon in segmentation):
            raise AnnotationError(f"has polygons that lie outside its image of {width} x {height} pixels")
        return
    size = segmentation.get("size") if isinstance(segmentation, dict) else None
    if not isinstance(size, list) or size != [height, width]:
        raise AnnotationError(f"has run lengths of size {size!r}; those of its image are [{height}, {width}]")
    counts = segmentation.get("counts")
    if isinstance(counts, str):
        counts = _run_lengths(counts)
    if not isinstance(counts, list) or not all(isinstance(count, int) and count >= 0 for count in counts):
        raise AnnotationError("has run lengths that cannot be read")
    if sum(counts) != width * height:
        raise AnnotationError(f"has run lengths of {sum(counts)} pixels; its image has {width * height}")
    if not sum(counts[1::2]):
        raise AnnotationError("has run lengths without a pixel of the object")


def _reaches(polygon: list[float], width: int, height: int) -> bool:
    across, down = polygon[::2], polygon[1::2]
    return max(across) > 0 and min(across) < width and max(down) > 0 and min(down) < height


def _run_lengths(text: str) -> list[int] | None:
    """Decode COCO's compressed run lengths (base 32, lowest digit first, from the fourth on as differences); None if broken."""
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64:
            return None
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
        value = shift = 0
    return lengths if shift == 0 else None
