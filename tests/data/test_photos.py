"""``photos:``: crops of real photographs with drawn defects."""

import numpy as np
import pytest

from subband.data import dataset_notes, is_embedded, open_dataset
from subband.data.embedded.photos import PHOTOGRAPHS, SIDE, SIZE, photograph
from subband.errors import DataError


def region(samples):
    """Pixels of the photograph that the crops show, bool (512, 512)."""
    seen = np.zeros((SIDE, SIDE), bool)
    for sample in samples:
        top, left = sample.image.recipe.corner
        seen[top : top + SIZE, left : left + SIZE] = True
    return seen


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_training_and_test_share_no_pixel(name):
    category = open_dataset("photos:").category(name)
    assert len(category.train) >= 32
    assert {sample.label for sample in category.test} == {0, 1}
    train, test = region(category.train), region(category.test)
    assert not (train & test).any()
    assert (train | test).all()
    assert train.sum() == len(category.train) * SIZE**2, "training crops overlap"
    digests = [sample.image.digest() for sample in (*category.train, *category.test)]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_good_crops_are_the_photograph_and_masks_are_exact(name):
    category = open_dataset("photos:").category(name)
    for sample in category.test:
        top, left = sample.image.recipe.corner
        crop = photograph(name)[top : top + SIZE, left : left + SIZE]
        changed = (np.asarray(sample.image.open()) != crop[..., None]).any(axis=2)
        if not sample.label:
            assert not changed.any()
            continue
        mask = np.asarray(sample.mask.open()) > 0
        assert mask.any()
        assert not (changed & ~mask).any()
        assert (changed & mask).sum() > 0.8 * mask.sum()


def test_the_uri_opens_it_again_and_its_origin_is_said():
    dataset = open_dataset("photos:?categories=grass,brick&seed=3&difficulty=0.2")
    assert dataset.categories == ("brick", "grass")
    assert open_dataset(dataset.uri) == dataset
    assert is_embedded(dataset.uri)
    assert any("one photograph" in note for note in dataset_notes(dataset))
    other = open_dataset("photos:?categories=grass&seed=4&difficulty=0.2").category("grass")
    digests = [[s.image.digest() for s in category.test] for category in (dataset.category("grass"), other)]
    assert digests[0][:16] == digests[1][:16]
    assert set(digests[0][16:]).isdisjoint(digests[1][16:])


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("photos:/tmp", "no path"),
        ("photos:?categories=gras", "did you mean 'grass'"),
        ("photos:?categories=", "is empty"),
        ("photos:?size=3", "'size' is not an option"),
        ("photos:?seed=-1", "seed is '-1'"),
    ],
)
def test_bad_uris(uri, message):
    with pytest.raises(DataError, match=message):
        open_dataset(uri)
