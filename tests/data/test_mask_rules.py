"""What the grey levels of masks mean, and the check of all pairs up front."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from subband.data import check_pairs, open_dataset
from subband.data.segmentation.masks import RuledMask, open_mask
from subband.errors import DataError
from tests.data.conftest import build_mvtec_category, build_pairs, write_mask, write_picture

LEVELS = np.array([[0, 1, 128], [129, 254, 255]], np.uint8)


def saved(path, array, mode=None):
    Image.fromarray(array, mode).save(path)
    return path


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("threshold", [[0, 0, 0], [255, 255, 255]]),
        ("nonzero", [[0, 255, 255], [255, 255, 255]]),
        ("grey", LEVELS.tolist()),
    ],
)
def test_rules(tmp_path, rule, expected):
    opened = RuledMask(saved(tmp_path / "mask.png", LEVELS), rule).open()
    assert opened.mode == "L"
    assert np.asarray(opened).tolist() == expected


@given(st.sampled_from(["binary", "threshold", "nonzero", "grey"]), st.integers(0, 2**16))
def test_a_binary_mask_is_the_same_by_every_rule(tmp_path_factory, rule, seed):
    mask = np.random.default_rng(seed).choice([0, 255], (5, 7)).astype(np.uint8)
    path = saved(tmp_path_factory.getbasetemp() / f"binary{seed}.png", mask)
    assert (np.asarray(RuledMask(path, rule).open()) == mask).all()
    path.unlink()


def test_a_mask_that_is_not_binary_is_told_its_levels_and_what_would_accept_it(tmp_path):
    path = saved(tmp_path / "soft.png", np.arange(0, 250, 10, dtype=np.uint8).reshape(5, 5))
    with pytest.raises(
        DataError,
        match=r"soft\.png is not binary: .* 0, 10, 20, 30, 40, 50 and 19 more.*threshold.*nonzero.*masks=grey",
    ):
        RuledMask(path).open()


@pytest.mark.parametrize("top", [1, 255, 65535])
def test_deep_masks_never_lose_their_labels(tmp_path, top):
    """A 16-bit label of 1 is no empty mask."""
    path = saved(tmp_path / "deep.png", np.array([[0, top]], np.uint16))
    assert np.asarray(RuledMask(path, "nonzero").open()).tolist() == [[0, 255]]
    if top == 65535:
        assert np.asarray(RuledMask(path).open()).tolist() == [[0, 255]]
    else:
        with pytest.raises(DataError, match=r"grey levels 0, 1,"):
            RuledMask(path).open()


def test_colours_and_single_bits(tmp_path):
    red = np.zeros((2, 2, 3), np.uint8)
    red[0, 0] = 255, 0, 0
    assert np.asarray(RuledMask(saved(tmp_path / "red.png", red)).open()).tolist() == [[255, 0], [0, 0]]
    bits = np.array([[True, False]])
    assert np.asarray(RuledMask(saved(tmp_path / "bits.png", bits)).open()).tolist() == [[255, 0]]


def test_masks_of_jpeg(tmp_path):
    write_picture(tmp_path / "images" / "a.png", (40, 32))
    write_mask(tmp_path / "gt" / "a.jpg", (40, 32))
    clean = np.asarray(Image.open(write_mask(tmp_path / "clean.png", (40, 32))))

    def sample(rule):
        return open_dataset(f"pairs:{tmp_path}?masks={rule}").category(tmp_path.name).train[0]

    assert (np.asarray(sample("threshold").mask.open()) == clean).all()
    assert np.abs(np.asarray(sample("grey").mask.open()).astype(int) - clean).max() > 0
    with pytest.raises(DataError, match=r"a\.jpg is compressed with losses.*masks=threshold or masks=grey"):
        sample("nonzero")
    with pytest.raises(DataError, match=r"a\.jpg is not binary"):
        sample("binary").mask.open()


@pytest.fixture
def pairs(tmp_path):
    build_pairs(tmp_path / "images", tmp_path / "gt", 6)

    def samples(**options):
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return open_dataset(f"pairs:{tmp_path}?{query}").category(tmp_path.name).train

    return samples


def test_good_pairs_pass_with_progress(pairs):
    seen = []
    check_pairs(pairs(), progress=lambda done, total: seen.append((done, total)), threads=3)
    assert seen == [(done, 6) for done in range(1, 7)]


def test_sizes_are_compared_by_name_and_the_first_pair_wins(pairs, tmp_path):
    write_mask(tmp_path / "gt" / "002.png", (24, 15))
    write_mask(tmp_path / "gt" / "004.png", (23, 16))
    with pytest.raises(DataError, match=r"002\.png is 24 x 15 pixels, .*train/002 is 24 x 16 .*002\.jpg"):
        check_pairs(pairs(), threads=4)


def test_levels_and_damage_are_found(pairs, tmp_path):
    write_mask(tmp_path / "gt" / "003.png", value=7)
    with pytest.raises(DataError, match=r"003\.png is not binary: it holds the grey levels 0, 7,"):
        check_pairs(pairs())
    check_pairs(pairs(masks="nonzero"))
    check_pairs(pairs(), rule="nonzero")
    check_pairs(pairs(masks="threshold"))
    (tmp_path / "gt" / "005.png").write_bytes((tmp_path / "gt" / "001.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"005\.png is damaged or truncated|005\.png is not an image"):
        check_pairs(pairs(masks="nonzero"))


@pytest.mark.parametrize("rule", ["threshold", "grey"])
def test_label_ids_that_no_metric_would_see_are_refused(pairs, tmp_path, rule):
    for path in (tmp_path / "gt").iterdir():
        write_mask(path, value=1)
    with pytest.raises(
        DataError, match=r"no mask has a foreground: of 6, the highest grey level is 1, .*masks=nonzero"
    ):
        check_pairs(pairs(masks=rule))
    check_pairs(pairs(masks="nonzero"))


def test_training_masks_without_any_foreground_are_refused(pairs, tmp_path):
    first, *others = sorted((tmp_path / "gt").iterdir())
    for path in others:
        write_mask(path, value=0)
    check_pairs(pairs())  # good images among them are welcome
    write_mask(first, value=0)
    test = [replace(sample, split="test") for sample in pairs()]
    check_pairs(test)  # images that are only measured may all be good
    with pytest.raises(DataError, match=r"none of the 6 training masks has any foreground \(train/000"):
        check_pairs(pairs())
    build_pairs(tmp_path / "more" / "images", tmp_path / "more" / "gt", 1)
    seen = open_dataset(f"pairs:{tmp_path / 'more'}?split=test").category("more").test
    with pytest.raises(DataError, match="none of the 6 training masks"):
        check_pairs((*pairs(), *seen))


def test_other_families_mark_whatever_is_not_zero(tmp_path):
    build_mvtec_category(tmp_path / "plate", defects=("cut",))
    write_mask(tmp_path / "plate" / "ground_truth" / "cut" / "000_mask.png", value=3)
    test = open_dataset(f"mvtec:{tmp_path / 'plate'}").category("plate").test
    assert set(np.unique(np.asarray(open_mask(next(s for s in test if s.name == "test/cut/000"))))) == {0, 255}
    good = open_mask(next(s for s in test if s.label == 0))
    assert (good.size, good.getextrema()) == ((24, 16), (0, 0))
    check_pairs(test)
    with pytest.raises(DataError, match="test/cut/000 has no mask"):
        check_pairs([type(test[0])("test/cut/000", "test", 1, "cut", test[0].image)])
