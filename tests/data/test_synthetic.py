"""The embedded dataset: deterministic drawings, exact masks, a difficulty that bites."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subband.data import Preprocess, load_images, load_masks, open_dataset
from subband.data.embedded.drawing.defects import DEFECTS
from subband.data.embedded.synthetic import DRAWING_VERSION, PRODUCTS, Recipe
from subband.errors import DataError

recipes = st.builds(
    Recipe,
    seed=st.integers(0, 2**32 - 1),
    category=st.sampled_from(sorted(PRODUCTS)),
    split=st.sampled_from(["train", "test"]),
    index=st.integers(0, 10_000),
    size=st.sampled_from([32, 48, 96, 200]),
    defect=st.sampled_from(DEFECTS),
    difficulty=st.floats(0, 1),
)


def good_version(recipe: Recipe) -> Recipe:
    return Recipe(recipe.seed, recipe.category, recipe.split, recipe.index, recipe.size, "good", 0.0)


@settings(max_examples=60, deadline=None)
@given(recipes)
def test_masks_are_exact(recipe):
    """Outside the mask a damaged drawing is the good one to the bit; inside it is another."""
    picture, mask = recipe.draw()
    good, no_mask = good_version(recipe).draw()
    assert picture.shape == (recipe.size, recipe.size, 3)
    assert picture.dtype == np.uint8
    assert not no_mask.any()
    assert mask.any()
    assert mask.mean() < 0.25
    np.testing.assert_array_equal(picture[~mask], good[~mask])
    changed = (picture != good).any(axis=2)
    assert changed[mask].mean() > 0.5


@settings(max_examples=15, deadline=None)
@given(recipes)
def test_drawing_is_deterministic_and_seeds_differ(recipe):
    first, mask = recipe.draw()
    again, mask_again = recipe.draw()
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(mask, mask_again)
    other = Recipe(recipe.seed ^ 1, *list(vars(recipe).values())[1:])
    assert (other.draw()[0] != first).any()
    assert other.digest("image") != recipe.digest("image") != recipe.digest("mask")


@pytest.mark.parametrize("category", sorted(PRODUCTS))
def test_difficulty_shrinks_and_fades_defects(category):
    def damage(difficulty: float) -> tuple[float, float]:
        areas, contrasts = [], []
        for index, defect in enumerate(DEFECTS * 2):
            recipe = Recipe(7, category, "test", index, 128, defect, difficulty)
            picture, mask = recipe.draw()
            good, _ = good_version(recipe).draw()
            areas.append(mask.mean())
            contrasts.append(np.abs(picture.astype(int) - good)[mask].mean())
        return float(np.mean(areas)), float(np.mean(contrasts))

    (easy_area, easy_contrast), (hard_area, hard_contrast) = damage(0.0), damage(1.0)
    assert hard_area < 0.6 * easy_area
    assert hard_contrast < 0.8 * easy_contrast


@pytest.mark.parametrize("category", sorted(PRODUCTS))
def test_good_pieces_vary_and_products_differ(category):
    dataset = open_dataset("synthetic:?size=64&train=4&test=0")
    pieces = load_images(
        [s.image for s in dataset.category(category).train], Preprocess(framing="stretch", image_size=64)
    )
    assert all(np.abs(pieces[0].astype(int) - piece).mean() > 2 for piece in pieces[1:])
    other = next(name for name in sorted(PRODUCTS) if name != category)
    alien = np.asarray(dataset.category(other).train[0].image.open()).transpose(2, 0, 1)
    distance_to_alien = np.abs(pieces[0].mean(axis=(1, 2)) - alien.mean(axis=(1, 2))).max()
    distance_to_own = np.abs(pieces[0].mean(axis=(1, 2)) - pieces[1].mean(axis=(1, 2))).max()
    assert distance_to_alien > distance_to_own


def test_pictures_do_not_depend_on_threads_counts_or_company():
    alone = open_dataset("synthetic:?size=64&train=3&test=4&categories=wood").category("wood")
    among = open_dataset("synthetic:?size=64&train=9&test=4").category("wood")
    preprocess = Preprocess(framing="stretch", image_size=64)
    one = load_images([sample.image for sample in alone.train], preprocess, threads=1)
    many = load_images([sample.image for sample in among.train], preprocess, threads=8)
    np.testing.assert_array_equal(one, many[:3])
    assert [s.image.digest() for s in alone.train] == [s.image.digest() for s in among.train[:3]]


def test_the_same_piece_at_another_size_is_the_same_piece():
    small = np.asarray(Recipe(1, "nut", "train", 0, 128, "good", 0.0).draw()[0], float)
    large = np.asarray(Recipe(1, "nut", "train", 0, 256, "good", 0.0).draw()[0], float)
    shrunk = large.reshape(128, 2, 128, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - shrunk).mean() < 6


def test_contents_of_the_default_dataset():
    dataset = open_dataset("synthetic:")
    assert dataset.categories == ("capsule", "leather", "nut", "tile", "weave", "wood")
    assert dataset.name == "synthetic"
    assert open_dataset(dataset.uri) == dataset
    category = dataset.category("leather")
    assert len(category.train) == 32
    assert [sample.label for sample in category.test] == [0] * 12 + [1] * 12
    kinds = [sample.defect for sample in category.test[12:]]
    assert kinds[:5] == ["scratch", "hole", "stain", "missing", "contamination"]
    assert max(map(kinds.count, DEFECTS)) - min(map(kinds.count, DEFECTS)) <= 1
    assert len({sample.name for sample in category.train + category.test}) == 56
    assert category.train[0].image.open().size == (256, 256)


def test_odd_and_empty_test_sets():
    assert [s.label for s in open_dataset("synthetic:?test=3").category("nut").test] == [0, 0, 1]
    assert open_dataset("synthetic:?test=0").category("nut").test == ()


def test_masks_load_with_their_images():
    category = open_dataset("synthetic:?size=64&test=10").category("capsule")
    masks = load_masks(category.test, Preprocess(framing="stretch", image_size=64))
    assert masks.known.all()
    assert masks.vanished == ()
    assert masks.values.any(axis=(1, 2)).tolist() == [bool(sample.label) for sample in category.test]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("train=0", "train is '0'; it must be a whole number from 1 to 100000"),
        ("test=-1", "test is '-1'"),
        ("size=9999", "size is '9999'; it must be a whole number from 32 to 2048"),
        ("seed=one", "seed is 'one'"),
        ("difficulty=1.5", r"difficulty is '1\.5'; it must be a number from 0 \(easy\) to 1 \(hard\)"),
        ("difficulty=nan", "difficulty is 'nan'"),
        ("difficulty=hard", "difficulty is 'hard'"),
        ("categories=lether", "'lether' is not a category; did you mean 'leather'"),
        ("categories=", "the option categories is empty"),
        ("colour=red", "'colour' is not an option"),
    ],
)
def test_illegal_options(query, message):
    with pytest.raises(DataError, match=message):
        open_dataset(f"synthetic:?{query}")


def test_unknown_category():
    with pytest.raises(DataError, match=r"'wod' is not a category; did you mean 'wood'"):
        open_dataset("synthetic:").category("wod")
    with pytest.raises(DataError, match="'wood' is not a category"):
        open_dataset("synthetic:?categories=nut").category("wood")


@pytest.mark.parametrize(
    ("category", "index", "defect", "colour", "area"),
    [
        ("capsule", 0, "scratch", [223.715, 212.333, 200.594], 196),
        ("leather", 1, "hole", [100.293, 58.563, 35.830], 332),
        ("nut", 2, "stain", [80.808, 82.596, 86.142], 1373),
        ("tile", 3, "missing", [194.001, 189.846, 183.209], 807),
        ("weave", 4, "contamination", [169.747, 155.003, 129.483], 455),
        ("wood", 5, "scratch", [178.755, 135.874, 85.451], 184),
    ],
)
def test_drawings_of_version_1(category, index, defect, colour, area):
    """Digests are made of recipes: whoever changes a drawing must raise DRAWING_VERSION and these figures together."""
    assert DRAWING_VERSION == 1
    picture, mask = Recipe(5, category, "test", index, 256, defect, 0.5).draw()
    np.testing.assert_allclose(picture.mean(axis=(0, 1)), colour, atol=0.01)
    assert abs(int(mask.sum()) - area) <= 1
