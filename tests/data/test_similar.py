"""Which images belong together."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from subband.data import FileSource, Sample, open_dataset, split_category
from subband.data.similar import describe_groups, group_by_content


def part(seed):
    """A product that differs from part to part in its details alone."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:96, 0:96]
    image = 120 + 60 * (np.hypot(x - 48, y - 48) < 36) + 25 * np.sin(x / 3)
    for _ in range(25):
        row, column = rng.integers(8, 86, 2)
        image[row : row + 4, column : column + 4] += rng.uniform(-40, 40)
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).convert("RGB")


def encoded(image, **options):
    stream = io.BytesIO()
    image.save(stream, **options)
    return stream.getvalue()


@pytest.fixture
def sample(tmp_path):
    """Writes a file and makes a sample of it."""
    count = iter(range(10_000))

    def make(content, suffix=".png", group=None):
        file = tmp_path / f"{next(count)}{suffix}"
        file.write_bytes(content)
        return Sample(f"train/good/{file.stem}", "train", 0, "good", FileSource(file), None, group)

    return make


def test_different_parts_stand_alone(sample):
    groups = group_by_content([sample(encoded(part(seed), format="PNG")) for seed in range(12)])
    assert groups == tuple(range(12))
    assert describe_groups(groups) == ""


def test_copies_re_encoded_and_rescaled_images_belong_together(sample):
    first, second = part(1), part(2)
    noisy = np.asarray(first).astype(int) + np.random.default_rng(0).integers(-2, 3, (96, 96, 3))
    samples = [
        sample(encoded(first, format="PNG")),
        sample(encoded(second, format="PNG")),
        sample(encoded(first, format="PNG")),
        sample(encoded(first, format="JPEG", quality=75), ".jpg"),
        sample(encoded(first.resize((77, 77), Image.Resampling.BICUBIC).resize((96, 96)), format="BMP"), ".bmp"),
        sample(encoded(Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)), format="PNG")),
        sample(encoded(second, format="JPEG", quality=75), ".jpg"),
    ]
    groups = group_by_content(samples)
    assert groups == (0, 1, 0, 0, 0, 0, 1)
    assert "5 of 7 good training images" in describe_groups(groups)


def test_named_groups_join_what_looks_different_and_reach_through_copies(sample):
    images = [encoded(part(seed), format="PNG") for seed in range(4)]
    samples = [
        sample(images[0], group="a"),
        sample(images[1], group="a"),
        sample(images[1]),
        sample(images[2]),
        sample(images[3]),
    ]
    assert group_by_content(samples) == (0, 0, 0, 1, 2)


def test_flat_images_belong_together_only_if_equal(sample):
    flat = [encoded(Image.new("RGB", (20, 20), (value,) * 3), format="PNG") for value in (0, 100, 200)]
    assert group_by_content([sample(content) for content in (*flat, flat[0])]) == (0, 1, 2, 0)


def test_drawn_images_stand_alone():
    train = open_dataset("synthetic:?train=6&test=0&size=32&categories=weave").category("weave").train
    assert group_by_content(train) == tuple(range(6))


@pytest.mark.parametrize("seed", range(4))
def test_selection_by_made_up_defects_keeps_groups_together(sample, seed):
    from subband.data import Category

    train = tuple(sample(encoded(part(n), format="PNG"), group=f"piece {n // 3}") for n in range(12))
    split, _ = split_category(Category("nut", train, ()), "synthetic", seed)
    learnt = {name.rsplit("/", 1)[1] for name in split.fit_names}
    for piece in range(4):
        members = {s.name.rsplit("/", 1)[1] for s in train if s.group == f"piece {piece}"}
        assert members <= learnt or members.isdisjoint(learnt)
    assert 0 < len(learnt) < 12


@settings(max_examples=30, deadline=None)
@given(
    groups=st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=1, max_size=12),
    content=st.lists(st.integers(0, 8), min_size=12, max_size=12),
    data=st.data(),
)
def test_the_order_does_not_matter(groups, content, data):
    class Source:
        def __init__(self, text):
            self.text = text

        def digest(self):
            return f"{self.text:064x}"

    samples = [
        Sample(f"train/good/{i}", "train", 0, "good", Source(content[i]), None, group) for i, group in enumerate(groups)
    ]
    order = data.draw(st.permutations(range(len(samples))))
    first, second = group_by_content(samples), group_by_content([samples[i] for i in order])
    together = {frozenset(s.name for s, g in zip(samples, first, strict=True) if g == n) for n in first}
    assert together == {
        frozenset(samples[i].name for i, g in zip(order, second, strict=True) if g == n) for n in second
    }
