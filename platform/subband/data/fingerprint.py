"""Fingerprints: what a stored result was computed from, by content.

Two fingerprints are kept apart. That of the images alone keys every stage that must not see labels; that of samples
with their labels and masks keys scores. Names and places of files enter neither, but the order does, since results
are stored in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from subband.data.anomaly.damage import Damaged
from subband.data.images import FileSource, MaskFileSource, source_digests
from subband.data.sample import Dataset, ImageSource, Sample
from subband.data.segmentation.masks import RuledMask
from subband.data.task_data import TaskData
from subband.data.threads import thread_count

NO_MASK = "-"


def fingerprint_images(sources: Sequence[ImageSource], cache: Path | None = None, threads: int | None = None) -> str:
    """Fingerprint of images in their order.

    Args:
        sources: the images.
        cache: folder of the digest cache; by default ``SUBBAND_CACHE``, else ``~/.cache/subband``.
        threads: files read at a time; by default one a processor, at most 8.

    Returns:
        64 hexadecimal digits; equal for equal images in equal order, wherever they lie.

    Raises:
        DataError: a file cannot be read.
    """
    return _combined("images", digests(sources, cache, threads))


def fingerprint(
    samples: Sequence[Sample], include_labels: bool, cache: Path | None = None, threads: int | None = None
) -> str:
    """Fingerprint of samples in their order.

    Args:
        samples: the samples.
        include_labels: whether labels, defect names and masks count. Without them this is the `fingerprint_images` of
            the samples' images.
        cache: folder of the digest cache; by default ``SUBBAND_CACHE``, else ``~/.cache/subband``.
        threads: files read at a time; by default one a processor, at most 8.

    Returns:
        64 hexadecimal digits.

    Raises:
        DataError: a file cannot be read.
    """
    images = [sample.image for sample in samples]
    if not include_labels:
        return fingerprint_images(images, cache, threads)
    masks = [sample.mask for sample in samples if sample.mask is not None]
    found = digests([*images, *masks], cache, threads)
    mask_digests = iter(found[len(images) :])
    lines = []
    for sample, image_digest in zip(samples, found[: len(images)], strict=True):
        mask_digest = NO_MASK if sample.mask is None else next(mask_digests)
        lines.append(f"{image_digest} {mask_digest} {sample.label} {sample.defect}")
    return _combined("samples", lines)


def fingerprint_dataset(dataset: Dataset, cache: Path | None = None, threads: int | None = None) -> str:
    """Fingerprint of a whole dataset, for records: its categories by name, with their labels and masks.

    Args:
        dataset: an open dataset.
        cache: folder of the digest cache; by default ``SUBBAND_CACHE``, else ``~/.cache/subband``.
        threads: files read at a time; by default one a processor, at most 8.

    Returns:
        64 hexadecimal digits.

    Raises:
        DataError: a category is inconsistent, or a file cannot be read.
    """
    if isinstance(dataset, TaskData):
        return dataset.digest()
    parts = []
    for name in dataset.categories:
        category = dataset.category(name)
        train, test = (fingerprint(samples, True, cache, threads) for samples in (category.train, category.test))
        parts.append(f"{name} {train} {test}")
    return _combined("dataset", parts)


def pooled_fingerprint(dataset: Dataset) -> str:
    """Fingerprint of all samples of a dataset with labels and masks, whichever categories hold them: what trainings record."""
    if isinstance(dataset, TaskData):
        return dataset.digest()
    categories = [dataset.category(name) for name in dataset.categories]
    samples = dict.fromkeys(sample for category in categories for sample in (*category.train, *category.test))
    return fingerprint(tuple(samples), include_labels=True)


def digests(sources: Sequence[ImageSource], cache: Path | None = None, threads: int | None = None) -> list[str]:
    """Content digest of each source in order; files are read in parallel and remembered in the cache."""
    files = [source for source in map(_innermost, sources) if isinstance(source, FileSource | MaskFileSource)]
    by_file = dict(zip(files, source_digests(files, cache, threads), strict=True))

    def digest(source: ImageSource) -> str:
        if isinstance(source, Damaged | RuledMask):
            return source.digest_given(digest(source.source))
        if isinstance(source, FileSource | MaskFileSource):
            return by_file[source]
        return source.digest()

    if len(files) == len(sources):  # nothing is drawn for its digest, which would take long
        return [digest(source) for source in sources]
    with ThreadPoolExecutor(thread_count(threads)) as pool:
        return list(pool.map(digest, sources))


def _innermost(source: ImageSource) -> ImageSource:
    while isinstance(source, Damaged | RuledMask):
        source = source.source
    return source


def _combined(kind: str, parts: Sequence[str]) -> str:
    running = hashlib.sha256(f"subband {kind} {len(parts)}\n".encode())
    for part in parts:
        running.update(part.encode() + b"\n")
    return running.hexdigest()
