"""Preprocessing against the reference's golden cases, and loading."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from subband.data import Preprocess, load_images, load_masks, open_dataset
from subband.data.preprocess import Masks
from subband.errors import DataError
from tests.data.conftest import write_mask

GOLDEN = Path(__file__).parents[1] / "golden" / "wepadim"
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.mark.parametrize(
    "case", json.loads((GOLDEN / "cases.json").read_text())["preprocess"]["cases"], ids=lambda case: case["key"]
)
def test_crop_equals_the_reference(case):
    arrays = np.load(GOLDEN / "preprocess.npz")
    preprocess = Preprocess(framing="crop", resize=case["resize"], image_size=case["crop"])
    image = preprocess.image(Image.fromarray(arrays[f"{case['key']}_source"]))
    assert image.dtype == np.uint8
    tensor = ((image / 255 - MEAN) / STD).transpose(2, 0, 1)
    np.testing.assert_allclose(tensor, arrays[f"{case['key']}_tensor"], rtol=0, atol=1e-5)
    mask = preprocess.mask(Image.fromarray(arrays[f"{case['key']}_source_mask"]))
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, arrays[f"{case['key']}_mask"][0].astype(bool))


@pytest.mark.parametrize("size", [(31, 97), (97, 31), (64, 64), (20, 333), (66, 64)])
def test_crop_takes_the_truncated_longer_side(size):
    """The reference's arithmetic, int(resize * long / short), spelt out on sizes that do not divide."""
    picture = Image.effect_noise(size, 60).convert("RGB")
    short, long = min(size), max(size)
    resized_long = int(50 * long / short)
    new_size = (resized_long, 50) if size[0] > size[1] else (50, resized_long)
    resized = np.asarray(picture.resize(new_size, Image.Resampling.LANCZOS))
    top, left = round((resized.shape[0] - 40) / 2), round((resized.shape[1] - 40) / 2)
    cropped = Preprocess(framing="crop", resize=50, image_size=40).image(picture)
    np.testing.assert_array_equal(cropped, resized[top : top + 40, left : left + 40])


def test_stretch_cuts_nothing_off():
    source = np.zeros((40, 90, 3), np.uint8)
    source[:, :5], source[:, -5:] = (255, 0, 0), (0, 255, 0)
    stretched = Preprocess(framing="stretch", image_size=32).image(Image.fromarray(source))
    assert stretched.shape == (32, 32, 3)
    assert stretched[:, 0, 0].min() > 150
    assert stretched[:, -1, 1].min() > 150
    cropped = Preprocess(framing="crop", resize=36, image_size=32).image(Image.fromarray(source))
    assert cropped.max() == 0
    assert Preprocess(framing="stretch", image_size=32).mask(Image.fromarray(source[..., 0])).any()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"resize": 200, "image_size": 224}, "resize is 200, smaller than image_size 224"),
        ({"image_size": 0}, "greater than or equal to 8"),
        ({"framing": "squash"}, "'crop' or 'stretch'"),
        ({"imagesize": 224}, "Extra inputs are not permitted"),
    ],
)
def test_illegal_preprocessing(values, message):
    with pytest.raises(ValidationError, match=message):
        Preprocess(**values)


def test_stretch_ignores_resize():
    assert Preprocess(framing="stretch", resize=16, image_size=32).image_size == 32


def test_loading_photographs(photographs):
    dataset = open_dataset(f"mvtec:{photographs}")
    category = dataset.category(dataset.categories[0])
    preprocess = Preprocess(image_size=64, resize=73)
    sources = [sample.image for sample in category.train]
    images = load_images(sources, preprocess)
    assert images.shape == (len(sources), 3, 64, 64)
    assert images.dtype == np.uint8
    assert images.std() > 5
    np.testing.assert_array_equal(images[1], preprocess.image(sources[1].open()).transpose(2, 0, 1))
    np.testing.assert_array_equal(images, load_images(sources, preprocess, threads=1))

    masks = load_masks(category.test, preprocess)
    labels = np.array([sample.label for sample in category.test])
    assert masks.known.all()
    assert not masks.values[labels == 0].any()
    visible = labels.sum() - len(masks.vanished)
    assert masks.values[labels == 1].any(axis=(1, 2)).sum() == visible > 0


def test_no_pictures_give_an_empty_array():
    assert load_images([], Preprocess()).shape == (0, 3, 224, 224)
    assert load_masks([], Preprocess()).values.shape == (0, 224, 224)


def load_bottle_masks(root: Path, **preprocess) -> Masks:
    return load_masks(open_dataset(f"mvtec:{root}").category("bottle").test, Preprocess(**preprocess))


def test_mask_of_another_size_names_both(mvtec_root):
    write_mask(mvtec_root / "bottle" / "ground_truth" / "cut" / "001_mask.png", (24, 15))
    with pytest.raises(DataError, match=r"001_mask\.png is 24 x 15 pixels.*test/cut/001 is 24 x 16"):
        load_bottle_masks(mvtec_root)


def test_truncated_image_and_mask_are_named(mvtec_root):
    image = mvtec_root / "bottle" / "train" / "good" / "001.png"
    image.write_bytes(image.read_bytes()[:-200])
    category = open_dataset(f"mvtec:{mvtec_root}").category("bottle")
    with pytest.raises(DataError, match=r"good/001\.png is damaged or truncated"):
        load_images([sample.image for sample in category.train], Preprocess())
    mask = mvtec_root / "bottle" / "ground_truth" / "hole" / "000_mask.png"
    mask.write_bytes(mask.read_bytes()[:40])
    with pytest.raises(DataError, match=r"hole/000_mask\.png"):
        load_bottle_masks(mvtec_root)


def test_a_defect_outside_the_crop_is_reported(mvtec_root):
    edge = np.zeros((16, 24), np.uint8)
    edge[:, 0] = 255
    Image.fromarray(edge).save(mvtec_root / "bottle" / "ground_truth" / "cut" / "000_mask.png")
    assert load_bottle_masks(mvtec_root).vanished == ("test/cut/000",)
    assert load_bottle_masks(mvtec_root, framing="stretch").vanished == ()
