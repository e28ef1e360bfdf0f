"""Average precision of object detection as COCO defines it, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

from subband.data.detection.instances import Detections, Instances
from subband.errors import DataError, UndefinedMetricError
from subband.extras import Extra

runs = Extra("pycocotools.mask", "detect")
pycoco = Extra("pycocotools.coco", "detect")
cocoeval = Extra("pycocotools.cocoeval", "detect")

_NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
_KINDS = {"box": "bbox", "mask": "segm"}


def average_precision(truths: Sequence[Instances], found: Sequence[Detections]) -> dict[str, float]:
    """COCO's average precision of boxes and of masks, means over the classes that occur.

    Args:
        truths: the marked objects of each image.
        found: what was found in each, at the same size; at most the 100 best of an image count.

    Returns:
        ``box_ap`` (mean over the IoU thresholds .5, .55, ..., .95), ``box_ap50``, ``box_ap75``, ``box_ap_small`` (area below 32 x
        32 pixels), ``box_ap_medium``, ``box_ap_large`` (above 96 x 96), and the same of masks. A size of which no object is marked
        has no precision and is left out.

    Raises:
        DataError: there are not as many images of one as of the other.
        UndefinedMetricError: no object is marked in any image.

    Example:
        >>> import numpy as np
        >>> from subband.data.detection.instances import Detections, Instances, encode_mask
        >>> mask = encode_mask(np.ones((40, 40), bool))
        >>> truth = Instances.of([(0, 0, 40, 40)], [0], [mask], [1600], [False])
        >>> right = Detections(truth.boxes, truth.labels, np.ones(1, np.float32), (mask,), (40, 40))
        >>> sorted(average_precision([truth], [right]))[:4]
        ['box_ap', 'box_ap50', 'box_ap75', 'box_ap_medium']
    """
    if len(truths) != len(found):
        raise DataError(f"{len(truths)} images with marked objects, but {len(found)} with found ones")
    if not any(bool((~truth.crowd).any()) for truth in truths):
        raise UndefinedMetricError(
            f"no object is marked in these {len(truths)} images, so there is no average precision; evaluate on annotated ones"
        )
    sizes = [each.size for each in found]
    metrics: dict[str, float] = {}
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints whatever it does
        for kind, iou_type in _KINDS.items():
            evaluation = cocoeval.COCOeval(_truth_of(truths, sizes), _found_in(found, sizes, kind), iou_type)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            # pycocotools says -1 where nothing is marked.
            metrics |= {
                f"{kind}_{name}": float(value)
                for name, value in zip(_NAMES, evaluation.stats, strict=False)
                if value >= 0
            }
    return metrics


def _truth_of(truths: Sequence[Instances], sizes: Sequence[tuple[int, int]]) -> Any:
    entries: list[dict[str, Any]] = []
    for picture, truth in enumerate(truths, 1):
        for box, label, mask, area, crowd in zip(
            truth.boxes.tolist(), truth.labels.tolist(), truth.masks, truth.areas.tolist(), truth.crowd, strict=True
        ):
            entries.append(_entry(len(entries) + 1, picture, label, box, mask) | {"area": area, "iscrowd": int(crowd)})
    labels = sorted({int(label) for truth in truths for label in truth.labels})
    return _indexed(entries, sizes, labels)


def _found_in(found: Sequence[Detections], sizes: Sequence[tuple[int, int]], kind: str) -> Any:
    entries: list[dict[str, Any]] = []
    for picture, detections in enumerate(found, 1):
        for box, label, mask, score in zip(
            detections.boxes.tolist(),
            detections.labels.tolist(),
            detections.runs,
            detections.scores.tolist(),
            strict=True,
        ):
            x0, y0, x1, y1 = box
            # By its size a detection counts as small, medium or large too.
            area = float(runs.area(dict(mask))) if kind == "mask" else (x1 - x0) * (y1 - y0)
            entry = _entry(len(entries) + 1, picture, label, box, mask)
            entries.append(entry | {"area": area, "iscrowd": 0, "score": score})
    return _indexed(entries, sizes, sorted({entry["category_id"] - 1 for entry in entries}))


def _entry(number: int, picture: int, label: int, box: Sequence[float], mask: Mapping[str, Any]) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    return {
        "id": number,
        "image_id": picture,
        "category_id": label + 1,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "segmentation": dict(mask),
    }


def _indexed(entries: list[dict[str, Any]], sizes: Sequence[tuple[int, int]], labels: Sequence[int]) -> Any:
    coco = pycoco.COCO()
    coco.dataset = {
        "images": [{"id": number, "width": width, "height": height} for number, (width, height) in enumerate(sizes, 1)],
        "categories": [{"id": label + 1} for label in labels],
        "annotations": entries,
    }
    coco.createIndex()
    return coco
