"""The embedded dataset for segmentation: deterministic, exact masks in both splits, a difficulty that bites."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subband.data import check_pairs, fingerprint, fingerprint_dataset, open_dataset
from subband.data.embedded.drawing.defects import SURFACE_DEFECTS
from subband.data.embedded.synthetic_surface import SurfaceRecipe
from subband.errors import DataError

kinds = st.lists(st.sampled_from(SURFACE_DEFECTS), min_size=1, max_size=3).map(tuple)
recipes = st.builds(
    SurfaceRecipe,
    seed=st.integers(0, 2**32 - 1),
    split=st.sampled_from(["train", "test"]),
    index=st.integers(0, 10_000),
    size=st.sampled_from([32, 48, 96, 200]),
    kinds=kinds,
    difficulty=st.floats(0, 1),
)


@settings(max_examples=50, deadline=None)
@given(recipes)
def test_masks_are_exact(recipe):
    """Outside the mask a damaged surface is the good one to the bit; inside it is another."""
    picture, mask = recipe.draw()
    good, nothing = replace(recipe, kinds=()).draw()
    assert picture.shape == (recipe.size, recipe.size, 3)
    assert not nothing.any()
    assert 0 < mask.mean() < 0.5
    np.testing.assert_array_equal(picture[~mask], good[~mask])
    assert (picture != good).any(axis=2)[mask].mean() > 0.5


@settings(max_examples=15, deadline=None)
@given(recipes)
def test_drawing_is_deterministic_and_seeds_differ(recipe):
    kept, anew = recipe.draw(), recipe.drawn_anew()
    for one, other in zip(kept, anew, strict=True):
        np.testing.assert_array_equal(one, other)
        assert not one.flags.writeable
    other = replace(recipe, seed=recipe.seed ^ 1)
    assert (other.draw()[0] != kept[0]).any()
    assert other.digest("image") != recipe.digest("image") != recipe.digest("mask")


def test_cracks_are_thin_and_long():
    """Most of a crack lies within a few pixels of its edge, yet it reaches across much of the image."""
    reach, thick = [], []
    for index in range(12):
        _, mask = SurfaceRecipe(0, "train", index, 200, ("crack",), 0.4).draw()
        rows, columns = np.nonzero(mask)
        reach.append(np.hypot(np.ptp(rows), np.ptp(columns)) / 200)
        # A line of length l and width w has about 2 l pixels of edge and l w pixels.
        edge = mask[:, 1:] != mask[:, :-1]
        thick.append(2 * mask.sum() / (edge.sum() + (mask[1:] != mask[:-1]).sum()))
    assert np.median(reach) > 0.45
    assert np.median(thick) < 5


def test_difficulty_shrinks_and_fades_defects():
    def damage(difficulty):
        areas, contrasts = [], []
        for index in range(16):
            recipe = SurfaceRecipe(3, "test", index, 96, (SURFACE_DEFECTS[index % 3],), difficulty)
            picture, mask = recipe.draw()
            good, _ = replace(recipe, kinds=()).draw()
            areas.append(mask.mean())
            contrasts.append(np.abs(picture.astype(int) - good)[mask].mean())
        return np.mean(areas), np.mean(contrasts)

    (large, strong), (small, faint) = damage(0.0), damage(1.0)
    assert large > 1.5 * small
    assert strong > 1.5 * faint


def test_both_splits_carry_masks_and_some_pictures_have_none_or_several_defects():
    category = open_dataset("synthetic-surface:?train=8&test=8&size=48").category("surface")
    check_pairs((*category.train, *category.test))
    for samples in (category.train, category.test):
        counts = [len(sample.image.recipe.kinds) for sample in samples]
        assert sorted(counts) == [0, 1, 1, 1, 1, 1, 2, 3]
        for sample, count in zip(samples, counts, strict=True):
            image, mask = sample.image.open(), sample.mask.open()
            assert (image.mode, mask.mode) == ("RGB", "L")
            assert image.size == mask.size == sample.image.size() == (48, 48)
            assert sample.label == (count > 0) == bool(np.asarray(mask).any())
            assert set(np.unique(np.asarray(mask))) <= {0, 255}
    assert category.train[5].defect == "good"
    assert category.train[7].defect == "stain+scratch+crack"
    assert (np.asarray(category.train[0].image.open()) != np.asarray(category.test[0].image.open())).any()


def test_options_uri_and_fingerprint():
    dataset = open_dataset("synthetic-surface:?seed=4&train=5&test=2&size=64&difficulty=0.25")
    assert dataset.uri == "synthetic-surface:?seed=4&train=5&test=2&size=64&difficulty=0.25&clean=1"
    assert open_dataset(dataset.uri) == dataset
    assert (dataset.name, dataset.categories) == ("synthetic-surface", ("surface",))
    assert fingerprint_dataset(dataset) == fingerprint_dataset(open_dataset(dataset.uri))
    assert fingerprint_dataset(dataset) != fingerprint_dataset(replace(dataset, difficulty=0.3))
    more = replace(dataset, train=9).category("surface").train[:5]
    assert fingerprint(more, True) == fingerprint(dataset.category("surface").train, True)
    with pytest.raises(DataError, match="'surfaces' is not a category; did you mean 'surface'"):
        dataset.category("surfaces")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("synthetic-surface:?sede=3", "synthetic-surface: 'sede' is not an option; did you mean 'seed'"),
        ("synthetic-surface:?size=12", "synthetic-surface: size is '12'; it must be a whole number from 32 to 2048"),
        ("synthetic-surface:?difficulty=2", "difficulty is '2'; it must be a number from 0"),
        ("synthetic-surface:folder", r"takes options and no path; write synthetic-surface:\?folder or pairs:folder"),
    ],
)
def test_uris_that_cannot_be_opened(uri, message):
    with pytest.raises(DataError, match=message):
        open_dataset(uri)


def test_without_clean_pictures_every_mask_has_a_defect():
    surface = open_dataset("synthetic-surface:?train=14&test=9&size=32&clean=0").category("surface")
    assert all(np.asarray(sample.mask.open()).any() for sample in (*surface.train, *surface.test))
    assert {sample.label for sample in surface.train} == {1}
