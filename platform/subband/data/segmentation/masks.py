"""What the grey levels of a segmentation mask mean, and the check of all pairs before a training starts.

=========  =========================  ================================================================================
rule       foreground                 for
=========  =========================  ================================================================================
binary     255; any level but 0 and   masks as they should be (the default)
           255 is an error
threshold  above 128                  masks with soft edges, or of JPEG: what the published metrics call foreground
nonzero    above 0                    label ids, for instance 0 and 1
ids        1 to 254                   label ids beside 255 for what is to be ignored, which counts as background: no
                                      training and no metric here leaves pixels out
inverted   at most half of the        masks in which the defect is dark
           highest level
grey       its level, of 255          soft masks, as the published trainings read every mask
=========  =========================  ================================================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from PIL import Image

from subband.data.decoding import opened
from subband.data.images import FileSource, MaskFileSource, decode_grey, decode_ids, file_size, picture_size
from subband.data.reading import Orientation, ReadingRule
from subband.data.sample import Sample
from subband.data.threads import for_each
from subband.errors import DataError, unknown_name

MaskRule = Literal["binary", "threshold", "nonzero", "grey", "ids", "inverted"]
MASK_RULES: tuple[MaskRule, ...] = get_args(MaskRule)
DEFECT_RULES: tuple[MaskRule, ...] = ("nonzero", "threshold", "ids", "inverted", "binary")
"""Rules for defect detectors, whose masks are never soft; without one, every level above 0 is defective."""

FOREGROUND_ABOVE = 128
IGNORED = 255
MOST_IDS = 63  # label ids above are grey levels rather than ids
_SHOWN_LEVELS = 6


@dataclass(frozen=True)
class RuledMask:
    """A mask file that is read by a rule.

    Attributes:
        path: where the file lies.
        rule: what its grey levels mean.
        orientation: what becomes of its orientation tag.
    """

    path: Path
    rule: MaskRule = "binary"
    orientation: Orientation = "apply"

    @property
    def source(self) -> FileSource:
        """The file, whose digest is remembered."""
        return FileSource(self.path, ReadingRule(orientation=self.orientation))

    def open(self) -> Image.Image:
        """The mask, mode L: 255 on the foreground and 0 elsewhere, or soft by the rule ``grey``.

        Raises:
            DataError: the file cannot be decoded, or holds levels that its rule does not allow.
        """
        if self.rule == "ids":
            return self.ids().point([255 * (0 < level < IGNORED) for level in range(256)])
        grey = self.levels()
        if self.rule == "grey":
            return grey
        if self.rule == "binary":
            self._refuse_other_levels(grey)
            return grey
        if self.rule == "inverted":
            top = brightest(grey)
            return grey.point([255 * (2 * level <= top) for level in range(256)])
        above = FOREGROUND_ABOVE if self.rule == "threshold" else 0
        return grey.point([255 * (level > above) for level in range(256)])

    def levels(self) -> Image.Image:
        """The grey levels as stored, mode L.

        Raises:
            DataError: the file cannot be decoded.
        """
        with opened(self.path) as stream:
            return decode_grey(stream, str(self.path), orientation=self.orientation)

    def ids(self) -> Image.Image:
        """The label ids as stored, mode L; see `subband.data.images.decode_ids`.

        Raises:
            DataError: the file cannot be decoded.
        """
        with opened(self.path) as stream:
            return decode_ids(stream, str(self.path), orientation=self.orientation)

    def size(self) -> tuple[int, int]:
        """Width and height in pixels, read from the header alone."""
        return file_size(self.path, self.orientation)

    def digest(self) -> str:
        """Hash of the file's digest and the rule."""
        return self.digest_given(self.source.digest())

    def digest_given(self, source_digest: str) -> str:
        """The digest, where that of the file is known already."""
        return hashlib.sha256(f"mask {self.rule} {source_digest}".encode()).hexdigest()

    def _refuse_other_levels(self, grey: Image.Image) -> None:
        found = [level for level, count in enumerate(grey.histogram()) if count]
        if set(found) <= {0, 255}:
            return
        shown = ", ".join(str(level) for level in found[:_SHOWN_LEVELS])
        more = f" and {len(found) - _SHOWN_LEVELS} more" if len(found) > _SHOWN_LEVELS else ""
        where = f"mask {self.path} is not binary: it holds the grey levels {shown}{more}, where 0 and 255 were expected"
        ids = {level for level, count in enumerate(self.ids().histogram()) if count}
        if are_ids(ids):
            also = f", of which {IGNORED} looks like what is to be ignored" if IGNORED in ids else ""
            raise DataError(
                f"{where}; they look like the label ids {', '.join(map(str, sorted(ids)))}{also}: add masks=ids to the URI (ids 1 "
                f"to 254 are foreground; {IGNORED} is ignored, that is, counts as background), or masks=nonzero if {IGNORED} is "
                "foreground too"
            )
        raise DataError(
            f"{where}; add "
            "masks=threshold to the URI (above 128 is foreground, as in published metrics), masks=nonzero (any level "
            "above 0, for label ids), or masks=grey (soft, as in published training)"
        )


def are_ids(levels: Collection[int]) -> bool:
    """Whether the stored samples of a mask look like label ids: there are small ones, and others only to be ignored."""
    ids = set(levels) - {0, IGNORED}
    return bool(ids) and max(ids) <= MOST_IDS


def mask_rule(name: str, legal: Sequence[MaskRule] = MASK_RULES) -> MaskRule:
    """The rule of that name.

    Args:
        name: of the rule.
        legal: rules to choose from.

    Raises:
        DataError: there is none.
    """
    for rule in legal:
        if rule == name:
            return rule
    raise DataError(unknown_name("rule for masks", name, legal))


def mask_source(path: Path, rule: MaskRule | None) -> RuledMask | MaskFileSource:
    """A mask file of a defect detector's data, in which every level above 0 is defective unless a rule says otherwise."""
    return MaskFileSource(path) if rule is None else RuledMask(path, rule)


def open_mask(sample: Sample, rule: MaskRule | None = None) -> Image.Image:
    """The mask of a sample, mode L, 255 on the foreground.

    Args:
        sample: with a mask, or good: its mask is then empty.
        rule: how a mask file of `pairs:` is read; by default as the dataset was opened. In masks of other families every non-zero
            pixel is foreground.

    Raises:
        DataError: the mask is missing, cannot be decoded, or breaks the rule.
    """
    if sample.mask is None:
        if sample.label:
            raise DataError(f"{sample.name} has no mask, so it cannot be learnt from or compared with")
        return Image.new("L", picture_size(sample.image))
    if isinstance(sample.mask, RuledMask):
        return _by(rule, sample.mask).open()
    return sample.mask.open().point([255 * (level > 0) for level in range(256)])


def orientation_hint(fits_otherwise: bool, orientation: Orientation) -> str:
    """What to say of a mask of another size than its image, if it has the same where tags are heeded the other way; or nothing."""
    if not fits_otherwise:
        return ""
    if orientation == "apply":
        return (
            "; the image is turned by its orientation tag, and the mask fits the image as stored: add ?orientation=ignore to the "
            "URI, or turn the mask"
        )
    return "; the mask fits the image turned by its orientation tag: remove orientation=ignore from the URI"


def _fits_otherwise(sample: Sample) -> bool:
    image, mask = sample.image, sample.mask
    if not isinstance(image, FileSource) or not isinstance(mask, MaskFileSource | RuledMask):
        return False
    other: Orientation = "ignore" if image.rule.orientation == "apply" else "apply"
    return file_size(image.path, other) == file_size(mask.path, other)


def check_mask_size(sample: Sample, mask_size: tuple[int, int], image_size: tuple[int, int]) -> None:
    """Raise DataError, with both names and sizes, unless mask and image are equally large (width, height)."""
    if mask_size == image_size:
        return
    where = getattr(sample.mask, "path", f"the mask of {sample.name}")
    image = getattr(sample.image, "path", sample.name)
    raise DataError(
        f"{where} is {mask_size[0]} x {mask_size[1]} pixels, but the image of {sample.name} is "
        f"{image_size[0]} x {image_size[1]} ({image}); a mask must have the size of its image"
        + (
            orientation_hint(_fits_otherwise(sample), sample.image.rule.orientation)
            if isinstance(sample.image, FileSource)
            else ""
        )
    )


def check_pairs(
    samples: Sequence[Sample],
    rule: MaskRule | None = None,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
) -> None:
    """Look at every pair before a training starts: sizes from the headers, and the grey levels of mask files.

    Args:
        samples: with masks, or good.
        rule: as in `open_mask`.
        progress: called with the number of pairs checked, and of all.
        threads: pairs checked at a time; by default one a processor, at most 8.

    Raises:
        DataError: the first pair, in the order of the samples, that cannot be read, differs in size or breaks the rule; or masks
            that are all empty by the rule, though they hold levels above 0; or training masks that are all empty.
    """
    brightest = for_each(lambda sample: _check_pair(sample, rule), samples, threads, progress)
    looked_at = [(level, sample) for level, sample in zip(brightest, samples, strict=True) if level is not None]
    marked = [(level, sample) for level, sample in looked_at if level]
    if marked and all(level <= FOREGROUND_ABOVE for level, _ in marked):
        level, sample = max(marked, key=lambda found: found[0])
        where = getattr(sample.mask, "path", sample.name)
        raise DataError(
            f"no mask has a foreground: of {len(samples)}, the highest grey level is {level}, in {where}, and only levels "
            "above 128 are foreground to the metrics; are they label ids? Then add masks=nonzero to the URI"
        )
    masks = [sample for sample in samples if sample.split == "train" and sample.mask is not None]
    levels = {sample: level for level, sample in looked_at}
    if masks and all(levels.get(sample, 255) <= FOREGROUND_ABOVE for sample in masks):
        raise DataError(
            f"none of the {len(masks)} training masks has any foreground ({masks[0].name} is the first): nothing can be learnt of "
            "what a defect is; give images with defects, or another rule for masks"
        )


def _check_pair(sample: Sample, rule: MaskRule | None) -> int | None:
    """Highest level of the mask as it will be used; None where it was not looked at."""
    if sample.mask is None:
        open_mask(sample)
        return 0
    check_mask_size(sample, picture_size(sample.mask), picture_size(sample.image))
    if not isinstance(sample.mask, RuledMask | MaskFileSource):
        return None
    if not isinstance(sample.mask, RuledMask):
        return brightest(open_mask(sample))
    ruled = _by(rule, sample.mask)
    mask = ruled.levels() if ruled.rule == "threshold" else ruled.open()
    return brightest(mask)


def brightest(mask: Image.Image) -> int:
    """Highest level of a mask of mode L."""
    return max(level for level, count in enumerate(mask.histogram()) if count)


def _by(rule: MaskRule | None, mask: RuledMask) -> RuledMask:
    return mask if rule is None else replace(mask, rule=mask_rule(rule))
