"""The embedded detection data: exact, the same everywhere, and as varied as its options say."""

from __future__ import annotations

import numpy as np
import pytest

from subband.data import open_dataset
from subband.data.detection.instances import DetectionData, box_of_mask, decode_masks
from subband.data.embedded.synthetic_coco import SHAPES
from subband.errors import DataError


def data(query: str = "?train=24&validation=3&test=5&size=64&classes=6") -> DetectionData:
    opened = open_dataset(f"synthetic-coco:{query}")
    assert isinstance(opened, DetectionData)
    return opened


def test_masks_are_apart_and_boxes_fit_them_exactly() -> None:
    found = 0
    for picture in data().split("train"):
        objects = picture.instances()
        masks = decode_masks(objects.masks, 64, 64)
        assert masks.sum(axis=0).max(initial=0) <= 1
        for mask, box, area in zip(masks, objects.boxes, objects.areas, strict=True):
            assert box_of_mask(mask) == tuple(box)
            assert mask.sum() == area >= 12
            found += 1
    assert found > 24


def test_a_mask_covers_what_was_painted() -> None:
    """Within a mask the colour is one, on the ground around it another."""
    seen = 0
    for picture in data("?train=20&size=96&objects=1&classes=2").split("train"):
        objects = picture.instances()
        image = np.asarray(picture.image.open()).astype(float)
        for mask in decode_masks(objects.masks, 96, 96):
            assert np.abs(image[mask].mean(axis=0) - image[~mask].mean(axis=0)).max() > 30
            seen += 1
    assert seen >= 15


def test_another_seed_or_split_draws_other_pictures_and_the_same_one_the_same() -> None:
    first = np.asarray(data().split("train")[0].image.open())
    again = data().split("train")[0]
    np.testing.assert_array_equal(first, np.asarray(again.image.open()))
    np.testing.assert_array_equal(first, again.drawn_anew()[0])  # type: ignore[attr-defined]
    for other in (data("?seed=1&train=24&size=64&classes=6").split("train")[0], data().split("test")[0]):
        assert not np.array_equal(first, np.asarray(other.image.open()))


def test_options_are_kept_in_the_uri_and_change_the_digest() -> None:
    one = data()
    assert open_dataset(one.uri).uri == one.uri
    assert one.digest() == data(one.uri.partition(":")[2]).digest()
    assert one.digest() != data("?train=25&validation=3&test=5&size=64&classes=6").digest()
    assert one.classes == tuple(SHAPES)
    assert {name: len(pictures) for name, pictures in one.splits.items()} == {"train": 24, "validation": 3, "test": 5}
    assert len(one.split("train")[7].instances()) == 0  # one in eight is empty
    assert list(data("?validation=0").splits) == ["train", "test"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?classes=7", "whole number from 1 to 6"),
        ("?object=3", "not an option; did you mean 'objects'"),
        ("?size=many", "whole number"),
        ("somewhere", "no path"),
    ],
)
def test_options_are_checked(query: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        data(query)


def test_other_jobs_are_told_what_it_holds() -> None:
    with pytest.raises(DataError, match="holds images with boxes and masks of objects"):
        data().category("all")
    with pytest.raises(DataError, match="'tset' is not a split of these data; did you mean 'test'"):
        data().split("tset")
