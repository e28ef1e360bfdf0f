"""Images that a category holds more than once: in training and test data, or under two labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from subband.data.digests import file_digests
from subband.data.images import FileSource
from subband.data.sample import FOREGROUND, Category, Sample
from subband.data.segmentation.masks import RuledMask
from subband.errors import DataError


def equal_files(paths: Iterable[Path]) -> list[list[int]]:
    """Places of files with equal bytes, for each content that occurs more than once.

    Only files of equal size are read, and their digests are remembered. What cannot be read is equal to nothing.
    """
    by_size: dict[int, list[tuple[int, Path]]] = defaultdict(list)
    for place, path in enumerate(paths):
        try:
            by_size[path.stat().st_size].append((place, path))
        except OSError:
            continue
    likely = [entry for group in by_size.values() if len(group) > 1 for entry in group]
    by_digest: dict[str, list[int]] = defaultdict(list)
    for (place, _), digest in zip(likely, file_digests([path for _, path in likely]), strict=True):
        by_digest[digest].append(place)
    return [places for places in by_digest.values() if len(places) > 1]


def shared_image_notes(category: Category, keep_conflicts: bool) -> list[str]:
    """Notes about images that are in training and test data, or under two labels.

    Args:
        category: of images in files; others are not looked at.
        keep_conflicts: note what is under two labels, instead of refusing it.

    Raises:
        DataError: an image is good and defective, or has two masks to learn segmentation from.
    """
    samples = [sample for sample in (*category.train, *category.test) if isinstance(sample.image, FileSource)]
    groups = [[samples[place] for place in places] for places in equal_files(s.image.path for s in samples)]  # type: ignore[attr-defined]
    notes = []
    if conflicts := [group for group in groups if len({sample.label for sample in group}) > 1]:
        good = next(sample for sample in conflicts[0] if not sample.label)
        bad = next(sample for sample in conflicts[0] if sample.label)
        what = f"good as {good.name} and defective as {bad.name}"
        notes.append(_conflict(category, conflicts, good, what, keep_conflicts))
    if conflicts := [group for group in groups if _two_masks(group)]:
        notes.append(_conflict(category, conflicts, conflicts[0][0], "there with two masks", keep_conflicts))
    if kinds := [group for group in groups if len({sample.defect for sample in group if sample.label}) > 1]:
        names = " and ".join(sample.name for sample in kinds[0])
        notes.append(f"{len(kinds)} images are there under two kinds of defect (the first: {names})")
    if both := [group for group in groups if len({sample.split for sample in group}) > 1]:
        names = " and ".join(next(s.name for s in both[0] if s.split == split) for split in ("train", "test"))
        notes.append(
            f"{len(both)} images are in both training and test data, so that results look better than they are (the first: {names})"
        )
    return notes


def _two_masks(group: Sequence[Sample]) -> bool:
    """Of `pairs:`, whose masks are the labels."""
    paths = [s.mask.path for s in group if s.defect == FOREGROUND and isinstance(s.mask, RuledMask)]
    return len(paths) > 1 and len(set(file_digests(paths))) > 1


def _conflict(category: Category, found: Sequence[Sequence[Sample]], image: Sample, what: str, keep: bool) -> str:
    count = f"{len(found)} images are" if len(found) > 1 else "1 image is"
    if keep:
        return f"{count} there under two labels and kept by conflicts=keep; the first is {what}"
    path = getattr(image.image, "path", image.name)
    raise DataError(
        f"category {category.name}: {path} is {what}; in all, {count} there under two labels: remove the wrong one, or add "
        "conflicts=keep to the URI"
    )
