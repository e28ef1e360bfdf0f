"""Folders of real users: what would silently be scored wrongly or left out is refused, with where it belongs."""

import os
import shutil
import unicodedata

import pytest

from subband.data import open_dataset
from subband.data.digests import file_digest
from subband.errors import DataError
from tests.data.conftest import build_mvtec_category, settle, write_mask, write_picture


@pytest.fixture
def nut(tmp_path):
    build_mvtec_category(tmp_path / "nut", train=3, good=2, defects=("cut",), each=2)
    return tmp_path / "nut"


def opened(nut):
    return open_dataset(f"mvtec:{nut}").category("nut")


@pytest.mark.parametrize("name", ["normal", "OK", "Good", "GOOD", "ok_", "Defect_Free"])
def test_a_kind_of_defect_that_is_named_like_good_images_is_refused(nut, name):
    (nut / "test" / "good").rename(nut / "test" / "other")
    (nut / "test" / "other").rename(nut / "test" / name)  # in two steps, for file systems that ignore case
    with pytest.raises(DataError, match=f"{name} would count as a kind of defect.*rename it to .*good"):
        opened(nut)


@pytest.mark.parametrize("end", ["_mask", "_MASK", "-mask", "_gt"])
@pytest.mark.parametrize("part", ["test/cut", "test/good", "train/good"])
def test_masks_beside_their_images_are_refused_with_the_right_place(nut, part, end):
    folder = nut / part
    first = sorted(folder.iterdir())[0]
    write_mask(folder / f"{first.stem}{end}.png")
    with pytest.raises(DataError, match=r"1 masks would be taken for images; move them to .*ground_truth"):
        opened(nut)


def test_an_image_whose_own_name_ends_in_mask_is_an_image(nut):
    write_picture(nut / "train" / "good" / "welding_mask.png", seed=9)
    assert len(opened(nut).train) == 4


@pytest.mark.parametrize("part", ["test/cut", "train/good"])
def test_images_in_sub_folders_are_counted_and_refused(nut, part):
    for index in range(2):
        write_picture(nut / part / "monday" / f"{index}.png", seed=index)
    with pytest.raises(DataError, match=r"2 images lie in sub-folders of .* and would be left out"):
        opened(nut)


def test_a_broken_link_is_refused_by_name(nut):
    (nut / "train" / "good" / "lost.png").symlink_to(nut / "nowhere.png")
    with pytest.raises(DataError, match=r"lost\.png is a link to .*nowhere\.png, which does not exist"):
        opened(nut)


def test_accented_names_are_compared_in_one_form(nut):
    image, mask = (unicodedata.normalize(form, "Lötstelle") for form in ("NFD", "NFC"))
    assert image != mask
    write_picture(nut / "test" / "cut" / f"{image}.png", seed=5)
    write_mask(nut / "ground_truth" / "cut" / f"{mask}_mask.png")
    (sample,) = [sample for sample in opened(nut).test if unicodedata.normalize("NFC", sample.name).endswith(mask)]
    assert sample.mask is not None


def test_a_file_that_takes_anothers_place_with_equal_name_size_and_time_is_read_anew(tmp_path):
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    settle(first, second)
    before = file_digest(first, tmp_path / "cache")
    times = first.stat()
    shutil.copyfile(second, first)  # the same inode
    os.utime(first, ns=(times.st_atime_ns, times.st_mtime_ns))
    copied = file_digest(first, tmp_path / "cache")
    assert copied == file_digest(second, tmp_path / "cache") != before
    second.write_bytes(b"six")
    os.utime(second, ns=(times.st_atime_ns, times.st_mtime_ns))
    second.replace(first)  # another inode
    assert file_digest(first, tmp_path / "cache") not in (before, copied)
