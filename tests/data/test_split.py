"""Splits: who is learnt from, who is scored, which labels choose and which report."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from subband.data import Category, Preprocess, Sample, Split, load_images, load_masks, open_dataset, split_category
from subband.data.anomaly.damage import damage_picture
from subband.errors import DataError, ParamsError


@dataclass(frozen=True)
class Noise:
    """An image of noise by seed."""

    seed: int

    def open(self) -> Image.Image:
        return Image.fromarray(np.random.default_rng(self.seed).integers(0, 256, (30, 40, 3), np.uint8))

    def digest(self) -> str:
        return f"noise {self.seed}"


def category_of(train: int, kinds: dict[str, int]) -> Category:
    test = [
        Sample(f"test/{kind}/{index:03d}", "test", int(kind != "good"), kind, Noise(1000 * number + index), Noise(0))
        for number, (kind, count) in enumerate(kinds.items(), start=1)
        for index in range(count)
    ]
    learnt = [Sample(f"train/good/{index:03d}", "train", 0, "good", Noise(index)) for index in range(train)]
    return Category("made", tuple(learnt), tuple(test))


kind_counts = st.fixed_dictionaries(
    {"good": st.integers(2, 9)},
    optional={kind: st.integers(1, 7) for kind in ("bent", "cut", "hole", "stain")},
)
seeds = st.integers(0, 2**32)


@settings(max_examples=150, deadline=None)
@given(kind_counts, seeds)
def test_holdout_halves_are_a_stratified_partition(kinds, seed):
    category = category_of(3, kinds)
    defective = sum(kinds.values()) - kinds["good"]
    if defective < 2:
        _, truth = split_category(category, "holdout", seed)
        assert (truth.choose, truth.report) == ((), tuple(range(len(category.test))))
        return
    split, truth = split_category(category, "holdout", seed)
    assert split.query == tuple(sample.image for sample in category.test)
    assert sorted(truth.choose + truth.report) == list(range(len(category.test)))
    assert list(truth.choose) == sorted(truth.choose)
    assert list(truth.report) == sorted(truth.report)
    for kind in kinds:
        shares = [sum(truth.defects[index] == kind for index in half) for half in (truth.choose, truth.report)]
        assert abs(shares[0] - shares[1]) <= 1
    for label in (0, 1):
        shares = [int((truth.labels[list(half)] == label).sum()) for half in (truth.choose, truth.report)]
        assert abs(shares[0] - shares[1]) <= 1
        assert min(shares) >= 1
    assert split_category(category, "holdout", seed)[1] == truth


def test_holdout_depends_on_the_seed():
    category = category_of(3, {"good": 20, "cut": 20})
    assert len({split_category(category, "holdout", seed)[1].choose for seed in range(8)}) > 1


def test_selection_by_test_uses_everything_twice():
    category = category_of(3, {"good": 2, "cut": 1})
    split, truth = split_category(category, "test", seed=0)
    assert split.fit == tuple(sample.image for sample in category.train)
    assert truth.choose == truth.report == (0, 1, 2)
    assert truth.labels.tolist() == [0, 0, 1]
    assert truth.labels.dtype == np.int8
    assert truth.names == split.query_names == ("test/good/000", "test/good/001", "test/cut/000")


def test_a_split_holds_no_labels():
    assert set(Split.__dataclass_fields__) == {"fit", "query", "fit_names", "query_names", "fit_groups"}


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 41), st.integers(0, 3), seeds)
def test_synthetic_leaves_good_pictures_out_of_learning(train, test, seed):
    category = category_of(train, {"good": test, "cut": test} if test else {})
    split, truth = split_category(category, "synthetic", seed)
    left_out = train - len(split.fit)
    assert left_out == min(max(2, round(train / 4)), train - 1)
    good, damaged = truth.samples[:left_out], truth.samples[left_out : 2 * left_out]
    assert set(split.fit) | {sample.image for sample in good} == {sample.image for sample in category.train}
    assert not set(split.fit) & {sample.image for sample in good}
    assert [sample.image.source for sample in damaged] == [sample.image for sample in good]
    assert truth.samples[2 * left_out :] == category.test
    assert truth.choose == tuple(range(2 * left_out))
    assert truth.report == tuple(range(2 * left_out, len(truth.samples)))
    assert truth.labels[: 2 * left_out].tolist() == [0] * left_out + [1] * left_out
    assert len(set(truth.names)) == len(truth.names)
    assert split_category(category, "synthetic", seed) == (split, truth)


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(8, 70), st.integers(8, 70), st.sampled_from([0, 128, 255]))
def test_damage_is_exactly_where_its_mask_says(seed, height, width, grey):
    image = np.full((height, width, 3), grey, np.uint8)
    damaged, mask = damage_picture(image, seed)
    assert damaged.shape == image.shape
    assert damaged.dtype == np.uint8
    assert mask.any()
    assert not mask.all()
    np.testing.assert_array_equal(damaged[~mask], image[~mask])
    np.testing.assert_array_equal(damage_picture(image, seed)[0], damaged)


def test_damage_is_visible_on_real_surfaces():
    category = open_dataset("synthetic:?size=128&train=4").category("leather")
    image = np.asarray(category.train[0].image.open())
    for seed in range(30):
        damaged, mask = damage_picture(image, seed)
        assert np.abs(damaged.astype(int) - image)[mask].mean() > 5, f"seed {seed}"


def test_damaged_copies_load_with_their_masks(photographs):
    dataset = open_dataset(f"mvtec:{photographs}")
    split, truth = split_category(dataset.category(dataset.categories[0]), "synthetic", seed=1)
    preprocess = Preprocess(framing="stretch", image_size=64)
    images = load_images(split.query, preprocess)
    masks = load_masks(truth.samples, preprocess)
    half = len(truth.choose) // 2
    assert masks.known.all()
    for good, damaged, mask in zip(images[:half], images[half : 2 * half], masks.values[half : 2 * half], strict=True):
        difference = np.abs(good.astype(int) - damaged).max(axis=0)
        assert mask.any()
        assert difference[mask].mean() > 10 * (difference[~mask].mean() + 0.1)


def test_too_few_samples_say_which_selection_works():
    with pytest.raises(DataError, match="needs at least 2; category made has 1"):
        split_category(category_of(1, {"good": 3, "cut": 3}), "synthetic", 0)
    for selection in ("test", "holdout"):
        with pytest.raises(DataError, match=r"has no test images.*use selection='synthetic'"):
            split_category(category_of(5, {}), selection, 0)
    assert split_category(category_of(1, {"good": 1}), "test", 0)[1].report == (0,)


def test_unknown_selection_and_seed():
    with pytest.raises(ParamsError, match="'holdot' is not a selection; did you mean 'holdout'"):
        split_category(category_of(2, {"good": 2}), "holdot", 0)
    with pytest.raises(ParamsError, match="is -1; it must be 0 or more"):
        split_category(category_of(2, {"good": 2}), "test", -1)
