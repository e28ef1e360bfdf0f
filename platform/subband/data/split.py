"""Which images are learnt from, which are scored, and which labels may choose.

A split keeps two things apart. `Split` is what the stages of a method receive: images, and no labels. `Truth` is
what the final scorer alone receives: labels and masks, and which of the scored images may choose hyper-parameters
and which report.

==========  ==================================================  =========================  ====================
selection   scored (query)                                      choose                     report
==========  ==================================================  =========================  ====================
test        all test images                                   all of them (optimistic)   all of them
holdout     all test images                                   one half, stratified       the other half
synthetic   a quarter of the training images, left out of     the left-out images and  all test images
            learning; a damaged copy of each; the test images  the damaged copies         (there may be none)
==========  ==================================================  =========================  ====================
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from subband.data.anomaly.damage import Damaged
from subband.data.sample import Category, ImageSource, Sample
from subband.data.similar import group_by_content
from subband.errors import DataError, ParamsError, unknown_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

Selection: TypeAlias = Literal["test", "holdout", "synthetic"]
SELECTIONS: tuple[Selection, ...] = get_args(Selection)

SYNTHETIC_DEFECT = "synthetic"


@dataclass(frozen=True)
class Split:
    """What the stages of a method may see: images, never labels.

    Attributes:
        fit: good images to learn from.
        query: images to score.
        fit_names: names of the images to learn from.
        query_names: names of the images to score. They are for figures and messages: file names may give a label
            away, so no stage reads them.
        fit_groups: a number for each of `fit`, equal for images that belong together, by which a left-out score leaves out all of
            them; empty where each stands alone.
    """

    fit: tuple[ImageSource, ...]
    query: tuple[ImageSource, ...]
    fit_names: tuple[str, ...]
    query_names: tuple[str, ...]
    fit_groups: tuple[int, ...] = ()


@dataclass(frozen=True)
class Truth:
    """Labels and masks of the Q scored images, for the final scorer alone.

    Attributes:
        samples: the Q samples, in the order of `Split.query`.
        choose: indices whose labels may choose hyper-parameters, ascending.
        report: indices whose labels the reported metrics use, ascending; empty where there are no test images.
    """

    samples: tuple[Sample, ...]
    choose: tuple[int, ...]
    report: tuple[int, ...]

    @property
    def labels(self) -> NDArray[np.int8]:
        """int8 (Q,), 0 good and 1 defective."""
        return np.array([sample.label for sample in self.samples], np.int8)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each sample."""
        return tuple(sample.name for sample in self.samples)

    @property
    def defects(self) -> tuple[str, ...]:
        """The defect kind of each sample, ``good`` for good ones."""
        return tuple(sample.defect for sample in self.samples)

    @property
    def masks(self) -> tuple[ImageSource | None, ...]:
        """The mask of each sample; None for a good one, or where the place of the defect is unknown."""
        return tuple(sample.mask for sample in self.samples)


def split_category(category: Category, selection: Selection, seed: int) -> tuple[Split, Truth]:
    """Split a category by a selection protocol.

    Args:
        category: the samples.
        selection: ``test``, ``holdout`` or ``synthetic``, see the table of this module.
        seed: decides the halves of ``holdout``, and the left-out images and the damage of ``synthetic``.

    Returns:
        What the stages see, and what the scorer sees.

    Raises:
        ParamsError: an unknown selection, or a negative seed.
        DataError: the category has too few samples for the selection (the message says which selection would work), or defects
            among its training images.
    """
    if selection not in SELECTIONS:
        raise ParamsError(unknown_name("selection", selection, SELECTIONS))
    if seed < 0:
        raise ParamsError(f"the seed of a split is {seed}; it must be 0 or more")
    defective = next((sample for sample in category.train if sample.label), None)
    if defective is not None:
        raise DataError(
            f"category {category.name} has defects among its training images ({defective.name}), as data sets for "
            "segmentation do; this method learns from good images alone: use synthetic:, mvtec:PATH or visa:PATH"
        )
    rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(f"{selection}/{category.name}".encode())]))
    if selection == "synthetic":
        return _synthetic(category, rng)
    if not category.test:
        raise DataError(
            f"category {category.name} has no test images, so selection={selection!r} has nothing to score; "
            "use selection='synthetic'"
        )
    everything = tuple(range(len(category.test)))
    choose, report = (everything, everything) if selection == "test" else _halves(category, rng)
    return _split(category.train, category.test), Truth(category.test, choose, report)


def _split(fit: Sequence[Sample], query: Sequence[Sample]) -> Split:
    return Split(
        tuple(sample.image for sample in fit),
        tuple(sample.image for sample in query),
        tuple(sample.name for sample in fit),
        tuple(sample.name for sample in query),
    )


def _halves(category: Category, rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two halves with equal shares of every defect kind; an odd one out goes to the half with fewer of its label.

    A category with fewer than two good or two defective images has no two halves that could be compared: it chooses nothing, and
    reports on all it has.
    """
    defective = sum(sample.label for sample in category.test)
    good = len(category.test) - defective
    if good < 2 or defective < 2:
        return (), tuple(range(len(category.test)))
    strata: dict[tuple[int, str], list[int]] = {}
    for index, sample in enumerate(category.test):
        strata.setdefault((sample.label, sample.defect), []).append(index)
    halves: tuple[list[int], list[int]] = ([], [])
    surplus = [0, 0]  # by label: how many more the first half has than the second
    for (label, _), members in sorted(strata.items()):
        shuffled = [members[position] for position in rng.permutation(len(members))]
        middle = len(shuffled) // 2
        if len(shuffled) % 2:
            first_gets_it = surplus[label] < 0 or (surplus[label] == 0 and bool(rng.integers(2)))
            middle += int(first_gets_it)
            surplus[label] += 1 if first_gets_it else -1
        halves[0].extend(shuffled[:middle])
        halves[1].extend(shuffled[middle:])
    return tuple(sorted(halves[0])), tuple(sorted(halves[1]))


def _synthetic(category: Category, rng: np.random.Generator) -> tuple[Split, Truth]:
    count = len(category.train)
    if count < 2:
        raise DataError(
            f"selection='synthetic' leaves training images out to choose by, so it needs at least 2; "
            f"category {category.name} has {count}"
        )
    left_out = _left_out(group_by_content(category.train), min(max(2, round(count / 4)), count - 1), rng)
    if not left_out:
        raise DataError(
            f"category {category.name}: all {count} training images belong together (copies, near copies or one group), so none "
            "can be left out to choose by; add images of other pieces"
        )
    fit = [sample for index, sample in enumerate(category.train) if index not in left_out]
    good = [sample for index, sample in enumerate(category.train) if index in left_out]
    damaged = [_damaged_copy(sample, int(rng.integers(2**32))) for sample in good]
    query = (*good, *damaged, *category.test)
    chosen = 2 * len(left_out)
    return _split(fit, query), Truth(query, tuple(range(chosen)), tuple(range(chosen, len(query))))


def _left_out(groups: Sequence[int], wanted: int, rng: np.random.Generator) -> set[int]:
    """Places of about so many images, whole groups at a time; none if all are one group."""
    drawn = rng.permutation(len(groups)).tolist()
    members: dict[int, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    left_out: set[int] = set()
    for place in drawn:
        together = members[groups[place]]
        # At least one group stays to learn from.
        if len(left_out) < wanted and place not in left_out and len(left_out) + len(together) < len(groups):
            left_out.update(together)
    return left_out


def _damaged_copy(sample: Sample, seed: int) -> Sample:
    stem = sample.name.rsplit("/", maxsplit=1)[-1]
    return Sample(
        f"{SYNTHETIC_DEFECT}/{stem}",
        "test",
        1,
        SYNTHETIC_DEFECT,
        Damaged(sample.image, seed),
        Damaged(sample.image, seed, as_mask=True),
    )
