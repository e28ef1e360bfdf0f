"""Examples of segmentation: tensors, determinism, and who learns, chooses and reports."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from subband.data import ExampleKey, open_dataset
from subband.data.segmentation.examples import SegmentationExamples, segmentation_split
from subband.errors import DataError, ParamsError
from tests.data.conftest import build_mvtec_category, build_pairs, write_mask


@pytest.fixture
def samples(tmp_path):
    build_pairs(tmp_path / "cracks" / "images", tmp_path / "cracks" / "gt", 4, size=(70, 50))
    return open_dataset(f"pairs:{tmp_path / 'cracks'}").category("cracks").train


def test_tensors(samples):
    examples = SegmentationExamples(samples, 32, with_truth=True)
    assert len(examples) == 4
    example = examples[ExampleKey(1)]
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in example.items()} == {
        "images": (torch.float32, (3, 32, 32)),
        "masks": (torch.float32, (1, 32, 32)),
        "truth": (torch.uint8, (50, 70)),
    }
    assert set(SegmentationExamples(samples, 32)[ExampleKey(1)]) == {"images", "masks"}
    image = samples[1].image.open().resize((32, 32), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(example["images"].permute(1, 2, 0).numpy() * 255, np.asarray(image, np.float32))
    assert set(example["truth"].unique().tolist()) == {0, 255}


def test_masks_become_soft_as_torchvision_makes_them(samples):
    transforms = pytest.importorskip("torchvision.transforms.functional")
    mask = SegmentationExamples(samples, 33)[ExampleKey(2)]["masks"]
    expected = transforms.to_tensor(transforms.resize(samples[2].mask.open(), [33, 33]))
    torch.testing.assert_close(mask, expected, rtol=0, atol=0)
    assert ((mask > 0) & (mask < 1)).any()


@pytest.mark.parametrize("augmentation", ["flip-rotate-turn", "crop-jitter"])
def test_an_example_is_a_function_of_seed_epoch_and_index(samples, augmentation):
    examples = SegmentationExamples(samples, 24, augmentation, seed=5, with_truth=True)
    draws = [ExampleKey(index, epoch) for epoch in range(4) for index in range(4)]
    in_order = [examples[draw] for draw in draws]
    with ThreadPoolExecutor(4) as pool:
        shuffled = list(pool.map(SegmentationExamples(samples, 24, augmentation, seed=5).__getitem__, draws[::-1]))[
            ::-1
        ]
    for one, other in zip(in_order, shuffled, strict=True):
        assert torch.equal(one["images"], other["images"])
        assert torch.equal(one["masks"], other["masks"])
        assert one["truth"].numel()
    assert not all(torch.equal(in_order[index]["images"], in_order[index + 4]["images"]) for index in range(4))
    other_seed = SegmentationExamples(samples, 24, augmentation, seed=6)
    assert not all(
        torch.equal(one["images"], other_seed[draw]["images"]) for one, draw in zip(in_order, draws, strict=True)
    )


def test_without_augmentation_every_epoch_is_the_same(samples):
    examples = SegmentationExamples(samples, 24)
    assert torch.equal(examples[ExampleKey(3, 0)]["images"], examples[ExampleKey(3, 9)]["images"])


def test_bad_pairs_and_settings_are_named(samples):
    write_mask(samples[0].mask.path, (70, 49))
    write_mask(samples[1].mask.path, (70, 50), value=200)
    examples = SegmentationExamples(samples, 24)
    with pytest.raises(DataError, match=r"000\.png is 70 x 49 pixels"):
        examples[ExampleKey(0)]
    with pytest.raises(DataError, match=r"001\.png is not binary"):
        examples[ExampleKey(1)]
    assert SegmentationExamples(samples, 24, masks="threshold")[ExampleKey(1)]["masks"].max() == 1
    assert SegmentationExamples(samples, 24, masks="grey")[ExampleKey(1)]["masks"].max() == np.float32(200 / 255)
    with pytest.raises(ParamsError, match="'flip-rotat' is not an augmentation"):
        SegmentationExamples(samples, 24, "flip-rotat")
    with pytest.raises(DataError, match="'soft' is not a rule for masks"):
        SegmentationExamples(samples, 24, masks="soft")
    with pytest.raises(ParamsError, match="image_size 0"):
        SegmentationExamples(samples, 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 60), st.floats(0, 0.9), st.integers(0, 2**31))
def test_a_split_divides_the_training_samples(count, share, seed):
    dataset = open_dataset(f"synthetic-surface:?train={count}&test=3&size=32")
    if share and max(1, round(share * count)) >= count:
        with pytest.raises(DataError, match="none would be left to learn from"):
            segmentation_split(dataset, share, seed)
        return
    train, validation, tests = segmentation_split(dataset, share, seed)
    everything = dataset.category("surface").train
    assert not set(train) & set(validation)
    assert set(train) | set(validation) == set(everything)
    assert len(validation) == (max(1, round(share * count)) if share else 0)
    assert list(train) == [sample for sample in everything if sample in set(train)]
    assert tests == {"surface": dataset.category("surface").test}
    assert segmentation_split(dataset, share, seed) == (train, validation, tests)


def test_the_seed_decides_who_is_held_out():
    dataset = open_dataset("synthetic-surface:?train=40&size=32")
    held_out = {segmentation_split(dataset, 0.2, seed)[1] for seed in range(5)}
    assert len(held_out) == 5


def test_test_sets_share_their_training_samples_once(tmp_path):
    build_pairs(tmp_path / "train" / "imgs", tmp_path / "train" / "gt", 10)
    for name in ("CAMO", "NC4K"):
        build_pairs(tmp_path / "test" / name / "imgs", tmp_path / "test" / name / "gt", 2)
    train, validation, tests = segmentation_split(open_dataset(f"pairs:{tmp_path}?preset=cod"), 0.3, 0)
    assert (len(train), len(validation), {name: len(test) for name, test in tests.items()}) == (
        7,
        3,
        {"CAMO": 2, "NC4K": 2},
    )


def test_data_that_no_segmenter_learns_from(tmp_path):
    build_mvtec_category(tmp_path / "mvtec" / "plate")
    with pytest.raises(DataError, match=r"3 of 3 training samples of mvtec:.* have no mask .*; use pairs:PATH"):
        segmentation_split(open_dataset(f"mvtec:{tmp_path / 'mvtec'}"), 0.2, 0)
    build_pairs(tmp_path / "pairs" / "test" / "images", tmp_path / "pairs" / "test" / "gt")
    with pytest.raises(DataError, match=r"has no training samples: .*PATH/train/images and PATH/train/gt"):
        segmentation_split(open_dataset(f"pairs:{tmp_path / 'pairs'}"), 0.2, 0)
    with pytest.raises(ParamsError, match=r"a validation share of 1\.0"):
        segmentation_split(open_dataset("synthetic-surface:"), 1.0, 0)
