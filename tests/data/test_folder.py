"""``folder:``: a folder of images whose layout is the user's own."""

import hashlib
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from subband.data import FileSource, Sample, open_dataset
from subband.data.anomaly.folder import matches
from subband.data.anomaly.hold_back import hold_back
from subband.errors import DataError


@pytest.fixture
def draw(tmp_path):
    """Writes images that differ, at paths below a folder; equal seeds give equal files."""
    count = iter(range(10_000))

    def write(*paths, size=(12, 8), seed=None, mask=False):
        for path in paths:
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            number = next(count) if seed is None else 100_000 + seed
            values = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), np.uint8)
            if mask:
                values = np.zeros((size[1], size[0]), np.uint8)
                values[2:5, 3:7] = 255
            Image.fromarray(values).save(file)
        return tmp_path

    return write


def read(root, query=""):
    dataset = open_dataset(f"folder:{root}{'?' + query if query else ''}")
    (name,) = dataset.categories
    return dataset.category(name)


def names(samples):
    return sorted(sample.name for sample in samples)


@pytest.fixture
def line(draw):
    """Good and defective parts with masks, as one would keep them."""
    draw(*(f"ok/{i}.png" for i in range(10)))
    draw(*(f"ng/{i}.png" for i in range(3)), "scratch/a.png")
    return draw(*(f"masks/ng/{i}.png" for i in range(3)), "masks/scratch/a_mask.png", mask=True)


class TestLayout:
    def test_names_of_folders(self, line):
        category = read(line, "good=ok&bad=ng,scratch&masks=masks")
        assert category.name == line.name
        good = [sample for sample in category.test if not sample.label]
        assert len(category.train) == 8
        assert len(good) == 2
        assert all("held back" in note for note in category.notes)
        defects = {sample.name: sample for sample in category.test if sample.label}
        assert {sample.defect for sample in defects.values()} == {"ng", "scratch"}
        assert len(defects) == 4
        for sample in defects.values():
            assert np.count_nonzero(sample.mask.open()) == 12

    def test_known_names_of_good_images_need_no_option(self, line):
        assert len(read(line, "bad=ng,scratch").train) == 8

    def test_globs_and_percent_encoding(self, draw):
        draw(*(f"day 1/part&{i}_ok.png" for i in range(5)), *(f"day 2/part{i}_ok.png" for i in range(5)))
        root = draw("day 1/part7_ng.png")
        category = read(root, "good=*_ok.png&bad=*_ng.png&test=day%202")
        assert len(category.train) == 5
        assert len(category.test) == 6
        assert read(root, "good=*/part%26*").train[0].image.path.parent.name == "day 1"

    def test_a_plain_folder_of_good_images(self, draw):
        root = draw(*(f"{i}.jpg" for i in range(10)))
        category = read(root)
        assert (len(category.train), len(category.test)) == (8, 2)

    def test_sub_folders_are_categories_where_the_uri_says_so(self, draw):
        root = draw(*(f"{part}/ok/{i}.png" for part in ("cap", "nut") for i in range(5)), "notes/readme.png")
        dataset = open_dataset(f"folder:{root}?categories=cap,nut")
        assert dataset.categories == ("cap", "nut")
        assert len(dataset.category("cap").train) == 4
        assert open_dataset(dataset.uri).categories == ("cap", "nut")

    def test_groups_stay_on_one_side(self, draw):
        root = draw(*(f"ok/piece{i // 4}-{i % 4}.png" for i in range(40)))
        category = read(root, "group=piece(\\d%2B)")
        sides = [{sample.group for sample in samples} for samples in (category.train, category.test)]
        assert sides[0].isdisjoint(sides[1])
        assert sides[0] | sides[1] == {str(i) for i in range(10)}

    def test_masks_are_found_in_folders_like_the_images(self, draw):
        draw(*(f"ok/{i}.png" for i in range(4)), "bad/a/1.png", "bad/b/1.png")
        root = draw("gt/a/1.png", "gt/b/1.png", mask=True)
        category = read(root, "bad=bad&masks=gt")
        defective = [sample for sample in category.test if sample.label]
        assert {sample.mask.path.parent.name for sample in defective} == {"a", "b"}
        assert all(sample.mask.path.parent.name == sample.image.path.parent.name for sample in defective)

    def test_images_by_neither_rule_are_said(self, line):
        draw_more = line / "unsorted"
        draw_more.mkdir()
        Image.new("RGB", (12, 8)).save(draw_more / "x.png")
        assert any(
            "1 images are neither good nor defective" in note for note in read(line, "bad=ng,scratch&masks=masks").notes
        )


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("good=oq", "good=oq"),
        ("good=ok&bad=ok,ng", "good.*and.*bad|bad.*and.*good"),
        ("good=ok&bad=ng,scratch&masks=mask", "masks=mask"),
        ("good=ok&colour=red", "'colour' is not an option"),
        ("good=ok&group=(", "no regular expression"),
        ("good=ok&categories=cap", "'cap'"),
        ("good=ok&test=never", "test=never"),
    ],
)
def test_bad_options(line, query, message):
    with pytest.raises(DataError, match=message):
        read(line, query)


def test_no_good_image(draw):
    with pytest.raises(DataError, match="good"):
        read(draw("ng/1.png"), "bad=ng")


def test_one_group_cannot_be_divided(draw):
    root = draw(*(f"ok/a{i}.png" for i in range(6)))
    with pytest.raises(DataError, match="none can be held back"):
        read(root, "group=ok")
    copies = draw(*(f"copies/ok/{i}.png" for i in range(6)), seed=1) / "copies"
    with pytest.raises(DataError, match="copies"):
        read(copies)


def test_masks_beside_images_are_not_images(draw):
    draw(*(f"ok/{i}.png" for i in range(4)), "bad/1.png")
    root = draw("bad/1_mask.png", mask=True)
    with pytest.raises(DataError, match=re.escape("masks=*_mask.*")):
        read(root, "bad=bad")
    assert [s.mask is not None for s in read(root, "bad=bad&masks=*_mask.*").test if s.label] == [True]


@pytest.mark.parametrize(
    ("relative", "pattern", "expected"),
    [
        ("ok/1.png", "ok", True),
        ("ok/a/1.png", "ok", True),
        ("okay/1.png", "ok", False),
        ("day1/ok/1.png", "*/ok", True),
        ("day1/ok/1.png", "ok", False),
        ("1_ng.png", "*_ng.png", True),
        ("a[1].png", "a[[]1].png", True),
    ],
)
def test_what_a_pattern_names(relative, pattern, expected):
    assert matches(relative, pattern) is expected


class Known:
    """A source whose content is a text."""

    def __init__(self, text):
        self.text = text

    def digest(self):
        return hashlib.sha256(self.text.encode()).hexdigest()


@settings(max_examples=60, deadline=None)
@given(content=st.lists(st.integers(0, 60), min_size=2, max_size=80), data=st.data())
def test_what_is_held_back_depends_on_content_alone(content, data):
    if len(set(content)) < 2:
        content = [*content, 61]

    def divided(order):
        samples = [Sample(f"train/good/{i}", "train", 0, "good", Known(str(content[i]))) for i in order]
        train, test, _ = hold_back(samples, "here")
        return [sorted(int(s.name.rsplit("/", 1)[1]) for s in part) for part in (train, test)]

    train, test = divided(range(len(content)))
    assert train
    assert test
    assert sorted([*train, *test]) == list(range(len(content)))
    assert {content[i] for i in train}.isdisjoint(content[i] for i in test)
    assert divided(data.draw(st.permutations(range(len(content))))) == [train, test]


def test_a_fifth_is_held_back(draw):
    category = read(draw(*(f"{i:03}.png" for i in range(100)), size=(4, 4)))
    assert len(category.test) == 20
    assert isinstance(category.test[0].image, FileSource)
