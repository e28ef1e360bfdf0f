"""What the masks of a category look like, said where it changes results: soft edges, label ids, inverted or without a background.

Every mask is decoded once; its levels are remembered by content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from subband.data.digests import file_digests, remembered_facts
from subband.data.images import MaskFileSource
from subband.data.sample import FOREGROUND, Category, Sample
from subband.data.segmentation.masks import FOREGROUND_ABOVE, IGNORED, MaskRule, RuledMask, are_ids
from subband.errors import DataError

_KIND = "mask-levels-1"
_MOST = 0.5
"""Share of all pixels of images with masks; more than that is hardly ever defective."""


@dataclass(frozen=True)
class MaskLevels:
    """Numbers of pixels by grey level (0 to 255), and by label id as stored."""

    grey: Mapping[int, int]
    ids: Mapping[int, int]

    @property
    def pixels(self) -> int:
        """Of the mask."""
        return sum(self.grey.values())

    @property
    def ignores(self) -> bool:
        """Whether it looks like label ids with 255 for what is to be ignored."""
        return IGNORED in self.ids and are_ids(self.ids)

    @property
    def soft(self) -> bool:
        """Whether it has more than one level above 0, and these are no label ids."""
        return sum(level > 0 for level in self.grey) > 1 and not are_ids(self.ids)

    def marked(self, rule: MaskRule) -> int:
        """Number of pixels that count as defective, or as foreground in part."""
        if rule == "ids":
            return sum(count for level, count in self.ids.items() if 0 < level < IGNORED)
        if rule == "inverted":
            return sum(count for level, count in self.grey.items() if 2 * level <= max(self.grey))
        above = FOREGROUND_ABOVE if rule == "threshold" else 0
        return sum(count for level, count in self.grey.items() if level > above)


def mask_levels(paths: Sequence[Path]) -> list[MaskLevels]:
    """Levels of mask files, in order.

    Raises:
        DataError: a file cannot be decoded.
    """
    texts = remembered_facts(_KIND, file_digests(paths), lambda place: json.dumps(_levels(paths[place])))
    found = [[{int(level): count for level, count in each.items()} for each in json.loads(text)] for text in texts]
    return [MaskLevels(grey, ids) for grey, ids in found]


def _levels(path: Path) -> list[dict[int, int]]:
    mask = RuledMask(path)
    try:
        grey = mask.levels()
    except DataError:  # samples of unknown scale are still zero or not
        grey = MaskFileSource(path).open()
    return [{level: count for level, count in enumerate(image.histogram()) if count} for image in (grey, mask.ids())]


def mask_notes(category: Category, option: str = "masks") -> list[str]:
    """Notes about the masks of a category that are read from files; none where nothing is odd.

    Args:
        category: that is looked at.
        option: of the URI that chooses a rule for masks.

    Raises:
        DataError: no mask has a background, or none of a defect detector's marks anything: nothing could be measured.
    """
    samples, masks, rules = [], [], []
    for sample in (*category.train, *category.test):
        mask = sample.mask
        if isinstance(mask, RuledMask | MaskFileSource):
            samples.append(sample)
            masks.append(mask.path)
            rules.append(mask.rule if isinstance(mask, RuledMask) else None)
    if not samples:
        return []
    return _Masks(category.name, samples, mask_levels(masks), rules[0], option).notes()


@dataclass(frozen=True)
class _Masks:
    """The masks of a category, all read by one rule; None where the URI names none."""

    category: str
    samples: Sequence[Sample]
    levels: Sequence[MaskLevels]
    rule: MaskRule | None
    option: str

    def notes(self) -> list[str]:
        rule = self.rule or "nonzero"
        detects = self.samples[0].defect != FOREGROUND  # else it is segmentation
        found = []
        strict = rule == "binary"  # refuses other levels itself
        if soft := [place for place, each in enumerate(self.levels) if each.soft and not strict]:
            found.append(self._soft(soft, rule))
        if ignoring := [place for place, each in enumerate(self.levels) if each.ignores and not strict]:
            found.append(self._ignoring(ignoring, rule))
        marked = [each.marked(rule) for each in self.levels]
        full = [place for place, each in enumerate(self.levels) if marked[place] == each.pixels]
        empty = [place for place, count in enumerate(marked) if not count]
        if full:
            found.append(self._full(full, refuse=len(full) == len(marked) and (self.rule is None or not detects)))
        if empty and detects:
            found.append(self._empty(empty))
        share = sum(marked) / sum(each.pixels for each in self.levels)
        if share > _MOST and len(full) < len(marked):
            remedy = (
                f"leave out {self.option}=inverted if the defects are the light parts of the masks"
                if rule == "inverted"
                else f"add {self.option}=inverted to the URI if the defects are the dark parts of the masks"
            )
            found.append(f"the masks mark {share:.0%} of all pixels of their images; {remedy}")
        return found

    def _of(self, places: Sequence[int]) -> str:
        return f"{len(places)} of {len(self.levels)} masks"

    def _path(self, place: int) -> Path:
        path: Path = self.samples[place].mask.path  # type: ignore[union-attr]
        return path

    def _soft(self, places: Sequence[int], rule: MaskRule) -> str:
        most = max(places, key=lambda place: len(self.levels[place].grey))
        count = len(self.levels[most].grey)
        reading = {
            "nonzero": "every level above 0 counts",
            "ids": f"every level from 1 to {IGNORED - 1} counts",
            "inverted": "at most half of the highest level counts",
            "grey": "each pixel counts by its level",
        }.get(rule, f"levels above {FOREGROUND_ABOVE} count")
        by = (
            f" by {self.option}={rule}"
            if self.rule
            else f"; {self.option}=threshold counts those above {FOREGROUND_ABOVE}"
        )
        return f"{self._of(places)} have soft edges, with up to {count} grey levels ({self._path(most)}): {reading}{by}"

    def _ignoring(self, places: Sequence[int], rule: MaskRule) -> str:
        ignored = sum(each.ids.get(IGNORED, 0) for each in self.levels) / sum(each.pixels for each in self.levels)
        if rule == "ids":
            return (
                f"{IGNORED} means ignored by {self.option}=ids and counts as background ({ignored:.2%} of all pixels)"
            )
        return (
            f"{self._of(places)} look like label ids with {IGNORED} for what is to be ignored ({self._path(places[0])}), but by "
            f"{self.option}={rule} {IGNORED} counts; {self.option}=ids leaves it out"
        )

    def _full(self, places: Sequence[int], refuse: bool) -> str:
        shown = ", ".join(map(str, sorted(self.levels[places[0]].ids)[:6]))
        what = f"{self._of(places)} have no background: every pixel is marked (the first: {self._path(places[0])}, levels {shown})"
        if refuse:
            raise DataError(
                f"category {self.category}: {what}; the background of a mask is 0: write the masks anew, or add "
                f"{self.option}=inverted (the darker half is marked)"
                + (f" or {self.option}=threshold" if self.rule is None else "")
            )
        return what

    def _empty(self, places: Sequence[int]) -> str:
        what = (
            f"{self._of(places)} mark nothing, though their images are defective (the first: {self._path(places[0])})"
        )
        if len(places) == len(self.levels):
            rule = f" by {self.option}={self.rule}" if self.rule else ""
            raise DataError(
                f"category {self.category}: {what}{rule}; correct the masks"
                + (f" or leave {self.option} out" if rule else ", or remove them if the places are unknown")
            )
        return what
