"""Good images held back for tests where a data set brings none: chosen by content, whole groups at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from subband.data.fingerprint import digests
from subband.data.sample import Sample
from subband.data.similar import group_by_content
from subband.errors import DataError

HELD_BACK = 0.2


def hold_back(good: Sequence[Sample], where: str) -> tuple[list[Sample], list[Sample], str]:
    """Divide good images into those to learn from and, about `HELD_BACK` of them, those to test with.

    The images themselves decide, not their names or order: copies, images of one `Sample.group` and images that look alike
    (`subband.data.similar`) stay on one side, and an image that is added later moves few others.

    Args:
        good: all good images, named ``train/...``.
        where: what messages call the data set.

    Returns:
        Training samples, test samples (named ``test/...``), and a sentence for the reader.

    Raises:
        DataError: they are fewer than two groups.
    """
    content = digests([sample.image for sample in good])
    members: dict[int, list[int]] = {}
    for index, number in enumerate(group_by_content(good)):
        members.setdefault(number, []).append(index)
    if len(members) < 2:
        alone = "there is one good image"
        if len(good) > 1:
            alone = f"all {len(good)} good images belong together (copies, near copies or one group)"
        raise DataError(
            f"{where}: {alone}, so none can be held back for tests; add images of other pieces, or say with test= which are for "
            "tests"
        )
    wanted = max(1, round(HELD_BACK * len(good)))
    groups = list(members.values())
    order = sorted(groups, key=lambda group: hashlib.sha256(min(content[i] for i in group).encode()).digest())
    held: set[int] = set()
    for group in order:
        # A large group is passed over: it would turn a fifth into most of all images.
        if len(held) < wanted and len(held) + len(group) <= max(wanted, 1.5 * wanted):
            held.update(group)
    if not held:
        smallest: list[int] = min(order, key=len)
        held.update(smallest)
    train = [sample for index, sample in enumerate(good) if index not in held]
    test = [
        replace(sample, split="test", name=sample.name.replace("train/", "test/", 1))
        for index, sample in enumerate(good)
        if index in held
    ]
    together = f", {len(members)} groups" if len(members) < len(good) else ""
    note = f"{len(test)} of {len(good)} good images{together} are held back for tests, chosen by their content"
    return train, test, note
