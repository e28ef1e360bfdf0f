"""The embedded dataset for classification: deterministic, balanced, and its shapes differ however they are turned."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subband.data import open_dataset
from subband.data.embedded.drawing.canvas import grid
from subband.data.embedded.drawing.shapes import SHAPES
from subband.data.embedded.synthetic_shapes import ShapeRecipe
from subband.errors import DataError

recipes = st.builds(
    ShapeRecipe,
    seed=st.integers(0, 2**32 - 1),
    split=st.sampled_from(["train", "validation", "test"]),
    index=st.integers(0, 10_000),
    size=st.sampled_from([32, 48, 96, 200]),
    shape=st.sampled_from(tuple(SHAPES)),
    difficulty=st.floats(0, 1),
)


@settings(max_examples=40, deadline=None)
@given(recipes)
def test_a_recipe_draws_one_picture_and_its_shape_lies_inside(recipe):
    kept, anew = recipe.draw(), recipe.drawn_anew()
    for one, other in zip(kept, anew, strict=True):
        np.testing.assert_array_equal(one, other)
        assert not one.flags.writeable
    picture, mask = kept
    assert picture.shape == (recipe.size, recipe.size, 3)
    assert 0.005 < mask.mean() < 0.5
    other = replace(recipe, seed=recipe.seed ^ 1)
    assert (other.draw()[0] != picture).any()
    assert other.digest("image") != recipe.digest("image") != replace(recipe, shape="").digest("image")


@settings(max_examples=30, deadline=None)
@given(recipes)
def test_the_shape_stands_out_from_its_ground(recipe):
    recipe = replace(recipe, size=96)
    picture, mask = (np.asarray(each) for each in recipe.draw())
    inside, outside = (picture[each].reshape(-1, 3).mean(axis=0) for each in (mask, ~mask))
    assert np.abs(inside - outside).max() > 255 * 0.08


def test_shapes_differ_whatever_their_angle():
    """However one is turned over the other, they overlap by less than the least difference between images of one class."""
    x, y = grid(80)
    u, v = 2.6 * (x - 0.5), 2.6 * (y - 0.5)

    def turned(name, angle):
        cos, sin = np.cos(angle), np.sin(angle)
        return SHAPES[name](cos * u + sin * v, cos * v - sin * u) > 0

    for number, one in enumerate(SHAPES):
        still = turned(one, 0)
        assert still.any()
        assert not still[np.hypot(u, v) > 1.2].any()
        for other in tuple(SHAPES)[number + 1 :]:
            turns = [turned(other, angle) for angle in np.arange(0, 2 * np.pi, np.pi / 18)]
            assert max((still & each).sum() / (still | each).sum() for each in turns) < 0.87


def test_classes_are_balanced_and_splits_differ():
    data = open_dataset("synthetic-shapes:?classes=3&train=9&validation=4&test=3&size=32")
    assert data.classes == ("disc", "square", "triangle")
    assert np.bincount(data.split("train").labels).tolist() == [3, 3, 3]
    assert data.split("validation").labels.tolist() == [0, 1, 2, 0]
    assert data.split("validation").name(3) == "validation/disc/003"
    pictures = [np.asarray(data.split(name).image(0).open()) for name in ("train", "validation", "test")]
    assert all((one != other).any() for one, other in ((pictures[0], pictures[1]), (pictures[1], pictures[2])))


def test_options_uri_and_digest():
    data = open_dataset("synthetic-shapes:?seed=3&train=5&validation=0&test=2&size=32&difficulty=0.25")
    assert data.uri == "synthetic-shapes:?seed=3&classes=10&train=5&validation=0&test=2&size=32&difficulty=0.25"
    assert list(data.splits) == ["train", "test"]
    assert open_dataset(data.uri).digest() == data.digest()
    assert open_dataset(data.uri.replace("seed=3", "seed=4")).digest() != data.digest()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("synthetic-shapes:?classes=1", "classes is '1'; it must be a whole number from 2 to 10"),
        ("synthetic-shapes:?clases=2", "'clases' is not an option; did you mean 'classes'"),
        (
            "synthetic-shapes:folder",
            r"takes options and no path; write synthetic-shapes:\?folder or imagefolder:folder",
        ),
    ],
)
def test_uris_that_cannot_be_opened(uri, message):
    with pytest.raises(DataError, match=message):
        open_dataset(uri)
