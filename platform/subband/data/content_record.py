"""The images that a sweep or a training began with, kept in its folder, so that a resumption can say what has changed since."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from subband.data.fingerprint import NO_MASK, digests
from subband.data.sample import Dataset
from subband.data.task_data import TaskData
from subband.data.uri import is_embedded
from subband.errors import DataError
from subband.files import write_atomically

CONTENT_NAME = "images.json"

Content = Mapping[str, Mapping[str, str]]
"""By category and sample name, a short hash of image, mask, label and kind of defect; samples in order."""


def write_content(folder: Path, dataset: Dataset) -> None:
    """Keep what the images of a dataset are; nothing is kept of embedded data, which cannot change.

    Raises:
        DataError: a file cannot be read.
    """
    if is_embedded(dataset.uri):
        return
    write_atomically(folder / CONTENT_NAME, json.dumps(_content(dataset), ensure_ascii=False).encode())


def require_unchanged(folder: Path, dataset: Dataset, kind: str) -> None:
    """Refuse to mix results of different images.

    Args:
        folder: that `write_content` wrote to; one without a record passes.
        dataset: as it is now.
        kind: ``sweep`` or ``training``, for the message.

    Raises:
        DataError: images were added, removed or changed, or their order is another; the message counts them by category.
    """
    path = folder / CONTENT_NAME
    if not path.is_file():
        return
    before: Content = json.loads(path.read_text(encoding="utf-8"))
    now = _content(dataset)
    if [list(each.values()) for each in before.values()] == [list(each.values()) for each in now.values()]:
        return  # other names do not matter
    remedy = f"Restore them and resume again, or start a new {kind} under another --name"
    if isinstance(dataset, TaskData):
        raise DataError(f"the images of {dataset.uri} have changed since this {kind} began. {remedy}")
    found = [_difference(name, before.get(name, {}), now.get(name, {}), kind) for name in {**before, **now}]
    raise DataError(f"{'; '.join(filter(None, found))}. {remedy}")


def _difference(category: str, before: Mapping[str, str], now: Mapping[str, str], kind: str) -> str:
    counts = {
        "added": len(now.keys() - before.keys()),
        "changed": sum(now[name] != digest for name, digest in before.items() if name in now),
        "removed": len(before.keys() - now.keys()),
    }
    words = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    if not words and list(before) == list(now):
        return ""
    return (
        f"the images of category {category} have changed since this {kind} began: {words or 'their order is another'}"
    )


def _content(dataset: Dataset) -> Content:
    if isinstance(dataset, TaskData):
        return {"all": {"all": dataset.digest()}}
    found = {}
    for name in dataset.categories:
        category = dataset.category(name)
        samples = (*category.train, *category.test)
        images = [sample.image for sample in samples]
        known = digests([*images, *(sample.mask for sample in samples if sample.mask is not None)])
        masks = iter(known[len(images) :])
        found[name] = {
            f"{sample.split}: {sample.name}": _short(
                f"{image} {NO_MASK if sample.mask is None else next(masks)} {sample.label} {sample.defect}"
            )
            for sample, image in zip(samples, known, strict=False)
        }
    return found


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
