"""Moving digits: how they move, what is new in an epoch, and which files are refused."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subband.data import ExampleKey, open_dataset
from subband.data.video.digits import read_idx, sklearn_digits
from subband.data.video.examples import SequenceExamples
from subband.data.video.moving import STEP, bounce, draw_frames
from subband.errors import DataError

UNIT = st.floats(0, 1)
RNG = np.random.default_rng(0)


def idx(count: int = 30, seed: int = 0, side: int = 28) -> bytes:
    pictures = np.random.default_rng(seed).integers(0, 256, (count, side, side), np.uint8)
    return struct.pack(">IIII", 0x803, count, side, side) + pictures.tobytes()


@pytest.fixture
def mnist(tmp_path):
    """Torchvision's folder, one file gzipped and one not."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(40)))
    (raw / "t10k-images-idx3-ubyte").write_bytes(idx(12, seed=1))
    return tmp_path


def opened(**options):
    query = "&".join(f"{name}={value}" for name, value in {"train": 6, "validation": 3, "test": 4, **options}.items())
    return open_dataset(f"moving-digits:?{query}")


@given(UNIT, UNIT, st.floats(0, 2 * np.pi), st.integers(1, 60))
def test_positions_stay_inside_and_keep_their_speed_between_the_borders(y, x, heading, length):
    velocity = STEP * np.array([np.sin(heading), np.cos(heading)])
    positions = bounce([y, x], velocity, length)
    assert positions.shape == (length, 2)
    assert positions.min() >= 0
    assert positions.max() <= 1
    steps = np.abs(np.diff([[y, x], *positions], axis=0))
    inside = (positions > 0) & (positions < 1)
    np.testing.assert_allclose(steps[inside], np.broadcast_to(np.abs(velocity), steps.shape)[inside], atol=1e-12)
    assert (steps <= np.abs(velocity) + 1e-12).all(), "the step that meets a border is cut short there"


def test_a_border_turns_one_component_around():
    np.testing.assert_allclose(
        bounce([0.25, 0.5], [-0.1, 0.02], 5),
        [[0.15, 0.52], [0.05, 0.54], [0, 0.56], [0.1, 0.58], [0.2, 0.6]],
        atol=1e-12,
    )
    np.testing.assert_allclose(bounce([0.95, 0.95], [0.1, 0.1], 3), [[1, 1], [0.9, 0.9], [0.8, 0.8]], atol=1e-12)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(32, 80))
def test_a_digit_is_seen_whole_and_overlaps_take_the_brighter(seed, count, size):
    digits = RNG.integers(1, 256, (5, 28, 28)).astype(np.uint8)  # no zeros: its place can be read off the frame
    frames = draw_frames(digits, np.random.default_rng(seed), count, 12, size)
    assert frames.shape == (12, size, size)
    rng = np.random.default_rng(seed)
    expected = np.zeros_like(frames)
    for _ in range(count):
        digit, start, heading = digits[rng.integers(5)], rng.random(2), 2 * np.pi * rng.random()
        for moment, position in enumerate(bounce(start, [0.1 * np.sin(heading), 0.1 * np.cos(heading)], 12)):
            top, left = np.floor(position * (size - 28)).astype(int)
            alone = np.pad(digit, ((top, size - 28 - top), (left, size - 28 - left)))
            expected[moment] = np.where(alone > expected[moment], alone, expected[moment])
    np.testing.assert_array_equal(frames, expected)


@settings(max_examples=20)
@given(st.integers(0, 2**40), st.integers(0, 5), st.integers(0, 5))
def test_training_sequences_are_a_function_of_seed_epoch_and_index(dataset, seed, epoch, index):
    first, again = dataset.training(seed), dataset.training(seed)
    frames = first.frames(index, epoch)
    np.testing.assert_array_equal(frames, again.frames(index, epoch))
    for other in (
        first.frames(index, epoch + 1),
        first.frames((index + 1) % 6, epoch),
        dataset.training(seed + 1).frames(index, epoch),
    ):
        assert (frames != other).any()


@pytest.fixture(scope="module")
def dataset():
    return opened()


def test_validation_and_test_sequences_stay(dataset):
    for part in (dataset.validation(), dataset.test()):
        np.testing.assert_array_equal(part.frames(1, 0), part.frames(1, 7))
    assert (dataset.validation().frames(0) != dataset.test().frames(0)).any()
    assert (dataset.test().frames(0) == opened().test().frames(0)).all()
    assert (dataset.test().frames(0) != opened(seed=1).test().frames(0)).any()
    with pytest.raises(IndexError):
        dataset.test().frames(4)


def test_validation_shows_digits_that_were_not_learnt_from(dataset):
    learnt, chosen = dataset.training(0).digits, dataset.validation().digits
    assert len(learnt) + len(chosen) == len(sklearn_digits()[0]) == len(dataset.training(0, hold_out=False).digits)
    assert len(chosen) == len(sklearn_digits()[0]) // 10
    rows = {each.tobytes() for each in learnt}
    assert not rows & {each.tobytes() for each in chosen}
    np.testing.assert_array_equal(dataset.test().digits, sklearn_digits()[1])


def test_examples_are_cut_into_seen_and_following_frames(dataset):
    examples = SequenceExamples(dataset.training(0), 4, 3)
    example = examples[ExampleKey(2, epoch=3)]
    frames = dataset.training(0).frames(2, 3)
    assert len(examples) == 6
    np.testing.assert_array_equal(example["frames"][:, 0], (frames[:4] / 255).astype(np.float32))
    np.testing.assert_array_equal(example["following"][:, 0], (frames[4:7] / 255).astype(np.float32))
    with pytest.raises(DataError, match=r"20 frames are too short for 15 seen and 6 predicted.*length=21"):
        SequenceExamples(dataset.training(0), 15, 6)


def test_options_and_digest(dataset):
    assert open_dataset(dataset.uri).uri == dataset.uri
    assert open_dataset(dataset.uri).digest() == dataset.digest() == opened().digest()
    assert (
        len(
            {opened(**{name: 30}).digest() for name in ("train", "test", "seed", "length", "digits")}
            | {dataset.digest()}
        )
        == 6
    )
    assert opened(digits=3, length=7, size=48).test().frames(0).shape == (7, 48, 48)
    with pytest.raises(DataError, match="holds sequences of moving digits, not samples"):
        dataset.category("all")


def test_mnist_files_are_found_as_torchvision_stores_them(mnist):
    dataset = open_dataset(f"moving-mnist:{mnist}?train=5&test=3")
    assert len(dataset.training(0).digits) == 36
    assert len(dataset.validation().digits) == 4
    np.testing.assert_array_equal(dataset.test().digits, read_idx(mnist / "MNIST/raw/t10k-images-idx3-ubyte"))
    assert "test=3&" in dataset.uri
    assert dataset.uri.endswith("&published=0")
    digest = dataset.digest()
    (mnist / "MNIST/raw/t10k-images-idx3-ubyte").write_bytes(idx(12, seed=2))
    assert open_dataset(dataset.uri).digest() != digest


def test_the_published_test_file_is_used_where_it_is(mnist):
    sequences = RNG.integers(0, 256, (20, 5, 64, 64), np.uint8)
    np.save(mnist / "mnist_test_seq.npy", sequences)
    (mnist / "MNIST/raw/t10k-images-idx3-ubyte").unlink()
    dataset = open_dataset(f"moving-mnist:{mnist}?train=5")
    assert len(dataset.test()) == 5
    np.testing.assert_array_equal(dataset.test().frames(3), sequences[:, 3])
    assert "test=5&" in dataset.uri
    assert dataset.uri.endswith("&published=1")
    fewer = open_dataset(f"moving-mnist:{mnist}?test=2&length=12")
    assert (len(fewer.test()), fewer.test().frames(1).shape) == (2, (12, 64, 64))
    assert open_dataset(dataset.uri).digest() == dataset.digest() != fewer.digest()
    for options, message in (
        ("length=30", r"length=30 \(at most 20\); add published=0"),
        ("size=80&digits=3", r"digits=3 \(it has 2\), size=80 \(it has 64\)"),
        ("test=6", r"test=6 \(at most 5\)"),
        ("published=0", "has no t10k-images-idx3-ubyte"),
        ("published=2", "published is '2'; it must be a whole number from 0 to 1"),
    ):
        with pytest.raises(DataError, match=message):
            open_dataset(f"moving-mnist:{mnist}?{options}")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((10, 20, 64, 64), np.uint8), r"uint8 \(10, 20, 64, 64\).*frames first"),
        (np.zeros((20, 3, 64, 64), np.float32), "float32"),
        (np.zeros((20, 3, 32, 32), np.uint8), r"\(20, 3, 32, 32\)"),
        (np.zeros(20, np.uint8), r"\(20,\)"),
    ],
)
def test_another_array_than_the_published_one_is_refused(mnist, array, message):
    np.save(mnist / "mnist_test_seq.npy", array)
    with pytest.raises(DataError, match=message):
        open_dataset(f"moving-mnist:{mnist}")


def test_a_truncated_published_file_is_refused(mnist):
    np.save(mnist / "mnist_test_seq.npy", np.zeros((20, 3, 64, 64), np.uint8))
    whole = (mnist / "mnist_test_seq.npy").read_bytes()
    (mnist / "mnist_test_seq.npy").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"mnist_test_seq\.npy is damaged"):
        open_dataset(f"moving-mnist:{mnist}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx()[:-5], r"says that it holds 30 images, 23520 bytes, but has 23515"),
        (idx() + b"x", "but has 23521"),
        (gzip.compress(idx())[:-20], "damaged or cannot be read"),
        (b"", "no idx file of images"),
        (b"\x00\x00\x08\x01" + idx()[4:], "begins with 00 00 08 01 instead of 00 00 08 03"),
        (idx(side=32), "32 x 32 pixels; digits here are 28 x 28"),
        (idx(count=9), "9 training and 12 test digits are too few: at least 10"),
    ],
)
def test_damaged_and_short_idx_files_are_refused(mnist, content, message):
    (mnist / "MNIST/raw/train-images-idx3-ubyte.gz").unlink()
    (mnist / "MNIST/raw/train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_dataset(f"moving-mnist:{mnist}")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("moving-digits:?lenth=3", "did you mean 'length'"),
        ("moving-digits:?length=1", "length is '1'; it must be a whole number from 2"),
        ("moving-digits:?size=28", "size is '28'"),
        ("moving-digits:?published=1", "'published' is not an option"),
        ("moving-digits:folder", r"takes options and no path; write moving-digits:\?folder or moving-mnist:folder"),
        ("moving-mnist:", "names no folder"),
    ],
)
def test_illegal_uris(uri, message):
    with pytest.raises(DataError, match=message):
        open_dataset(uri)


def test_folders_without_digits_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"has no train-images-idx3-ubyte\[\.gz\].*moving-digits:"):
        open_dataset(f"moving-mnist:{tmp_path}")
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx())
    with pytest.raises(DataError, match=r"has no t10k-images-idx3-ubyte \(nor mnist_test_seq\.npy\)"):
        open_dataset(f"moving-mnist:{tmp_path}")
    with pytest.raises(DataError, match=r"has no mnist_test_seq\.npy; put it there"):
        open_dataset(f"moving-mnist:{tmp_path}?published=1")
