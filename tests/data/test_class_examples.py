"""Examples of classification: every draw a function of seed, epoch and index; and an honest choice of what chooses."""

import random
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data import create_transform

from subband.data import ExampleKey, open_dataset
from subband.data.classification.examples import (
    Augmenting,
    ClassExamples,
    Framing,
    check_pictures,
    class_split,
    seeded,
)
from subband.errors import DataError, ParamsError
from tests.data.test_class_data import build_classes

SHAPES = "synthetic-shapes:?classes=3&train=30&validation=6&test=9&size=48"


@pytest.fixture(scope="module")
def data():
    return open_dataset(SHAPES)


def draws():
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4))
def test_seeded_draws_repeat_and_leave_no_trace(entropy):
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    undisturbed = draws()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    found = []
    for _ in range(2):
        with seeded(*entropy):
            found.append(draws())
    assert found[0] == found[1]
    assert draws() == undisturbed


def test_seeded_puts_the_generators_back_after_an_error():
    before = torch.get_rng_state()

    def fail():
        with seeded(1):
            raise KeyError(draws())

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_an_example_is_a_function_of_seed_epoch_and_index(data):
    def examples(seed=0):
        return ClassExamples(data.split("train"), Framing(32), Augmenting(), seed)

    one = examples()[ExampleKey(4, 2)]
    random.seed(99)  # what ran before must not matter
    assert torch.equal(examples()[ExampleKey(4, 2)]["images"], one["images"])
    assert one["images"].shape == (3, 32, 32)
    assert one["images"].dtype == torch.float32
    assert int(one["labels"]) == 1
    for other in (examples()[ExampleKey(4, 3)], examples()[ExampleKey(7, 2)], examples(1)[ExampleKey(4, 2)]):
        assert not torch.equal(other["images"], one["images"])


def test_threads_prepare_the_same_examples(data):
    examples = ClassExamples(data.split("train"), Framing(32), Augmenting(), 0)
    alone = [examples[ExampleKey(index, 1)]["images"] for index in range(12)]
    found = {}

    def work(indices):
        for index in indices:
            found[index] = examples[ExampleKey(index, 1)]["images"]

    threads = [threading.Thread(target=work, args=(range(first, 12, 3),)) for first in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[index], alone[index]) for index in range(12))


def test_nothing_is_drawn_for_pictures_that_are_judged(data):
    examples = ClassExamples(data.split("test"), Framing(32))
    before = torch.get_rng_state()
    first, second = (examples[ExampleKey(0, epoch)]["images"] for epoch in (0, 1))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
def test_framing_is_timms_own_evaluation_transform(tmp_path, mode):
    picture = open_dataset(f"imagefolder:{build_classes(tmp_path, {'a': 1, 'b': 1})}").split("train").image(0).open()
    theirs = create_transform((3, 32, 32), crop_pct=0.8, crop_mode=mode, interpolation="bicubic")(picture)
    ours = Framing(32, 0.8, mode).transform()(picture)
    assert torch.equal(ours, theirs)
    shown = Framing(32, 0.8, mode).shown(ours)
    assert shown.shape == (3, 32, 32)
    assert shown.dtype == np.uint8


def test_augmentation_is_timms_own_under_the_same_draws(data):
    picture = data.split("train").image(0).open()
    theirs = create_transform(
        32, is_training=True, auto_augment="rand-m7-mstd0.5-inc1", re_prob=0.25, re_mode="pixel", interpolation="random"
    )
    ours = Augmenting(randaugment=7).transform(Framing(32))
    for entropy in range(8):
        with seeded(entropy):
            expected = theirs(picture)
        with seeded(entropy):
            assert torch.equal(ours(picture), expected)


def test_a_validation_split_chooses_where_a_test_split_reports(data):
    split = class_split(data, "holdout", 0.1, 0)
    assert split.validation is data.split("validation")
    assert list(split.tests) == ["test"]
    assert split.note == "the data's validation split chose the checkpoint"
    published = class_split(data, "test", 0.1, 0)
    assert published.validation is published.tests["test"] is data.split("test")
    assert "as published: its figures are optimistic" in published.note


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 40), st.floats(0.01, 0.99), st.integers(0, 2**31))
def test_what_is_held_out_is_disjoint_stratified_and_seeded(count, share, seed):
    data = open_dataset(f"synthetic-shapes:?classes=2&train={count}&validation=0&test=2&size=32")
    split = class_split(data, "holdout", share, seed)
    assert list(split.tests) == ["test"]
    names = [{part.name(i) for i in range(len(part))} for part in (split.train, split.validation)]
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == count
    for part in (split.train, split.validation):
        assert np.bincount(part.labels, minlength=2).min() >= 1
        assert all(data.classes[part.labels[i]] in part.name(i) for i in range(len(part)))
    again = class_split(data, "holdout", share, seed)
    assert again.validation.indices.tolist() == sorted(split.validation.indices.tolist())


def test_data_that_cannot_be_divided(tmp_path):
    only_test = open_dataset(f"imagefolder:{build_classes(tmp_path / 'a', {'x': 1, 'y': 1}, ['val'])}")
    with pytest.raises(DataError, match="has no training images; for imagefolder:PATH they lie in PATH/train/<class>"):
        class_split(only_test, "holdout", 0.1, 0)
    only_train = open_dataset(f"imagefolder:{build_classes(tmp_path / 'b', {'x': 1, 'y': 1}, ['train'])}")
    with pytest.raises(DataError, match="one training image a class: none can be held out"):
        class_split(only_train, "holdout", 0.5, 0)
    with pytest.raises(DataError, match="only training images, none to choose the checkpoint by; use validation=hold"):
        class_split(only_train, "test", 0.5, 0)
    with pytest.raises(ParamsError, match="a validation share of 1"):
        class_split(only_train, "holdout", 1.0, 0)


def test_every_picture_is_looked_at_before_a_training(tmp_path):
    data = open_dataset(f"imagefolder:{build_classes(tmp_path, {'a': 2, 'b': 2})}")
    seen = []
    parts = [data.split("train"), data.split("validation")]
    check_pictures([*parts, parts[0]], lambda done, total: seen.append((done, total)))
    assert seen[-1] == (8, 8)
    (tmp_path / "val" / "b" / "01.png").write_text("no image")
    with pytest.raises(DataError, match=r"val/b/01.png is not an image"):
        check_pictures(parts)


@pytest.mark.parametrize("size", [(641, 40), (40, 642)])
def test_of_a_very_long_picture_only_the_middle_is_resized(size):
    ramp = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    picture = Image.fromarray(ramp)
    framing = Framing(32, crop_pct=0.8)
    whole = create_transform(
        32, crop_pct=0.8, crop_mode="center", interpolation="bicubic", mean=framing.mean, std=framing.std
    )
    torch.testing.assert_close(framing.transform()(picture), whole(picture), atol=0.05, rtol=0)
    assert framing.transform()(Image.new("RGB", (2_000_000, 1))).shape == (3, 32, 32)
