"""What is found in the files of a data set before any work starts."""

import gc
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from subband.data import open_dataset
from subband.data.checks import check_files, survey
from subband.errors import DataError
from tests.data.conftest import build_mvtec_category, write_mask, write_picture


@pytest.fixture
def products(tmp_path):
    """Two categories, and a function that opens them anew."""
    for number, name in enumerate(("bottle", "cable")):
        build_mvtec_category(tmp_path / "products" / name, size=(24, 16 + number))
    return tmp_path / "products"


def opened(root):
    return open_dataset(f"mvtec:{root}")


def truncated(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def test_sound_data_pass(products):
    assert check_files(opened(products)) == []
    assert check_files(opened(products), decode=True) == []
    assert check_files(open_dataset("synthetic:?train=2&test=2&size=32")) == []


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif"])
@pytest.mark.parametrize("decode", [False, True])
def test_what_is_damaged_in_the_last_category_is_refused_by_name(products, suffix, decode):
    file = products / "cable" / "train" / "good" / f"new{suffix}"
    write_picture(file)
    truncated(file)
    with pytest.raises(DataError, match=re.escape(str(file))):
        check_files(opened(products), decode)
    file.write_bytes(b"")
    with pytest.raises(DataError, match=rf"{file.name} is empty.*python jobs/check_data\.py 'mvtec:"):
        check_files(opened(products), decode)


def test_damage_within_a_file_needs_decoding(products):
    file = products / "bottle" / "train" / "good" / "new.png"
    write_picture(file, size=(64, 64))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    assert check_files(opened(products)) == []
    with pytest.raises(DataError, match=r"new\.png is damaged"):
        check_files(opened(products), decode=True)


def test_masks_of_another_size_are_refused_and_counted(products):
    for index in range(2):
        for kind in ("cut", "hole"):
            for category in ("bottle", "cable"):
                write_mask(products / category / "ground_truth" / kind / f"{index:03d}_mask.png", size=(10, 10))
    with pytest.raises(DataError, match=r"is 10 x 10 pixels, but its image .* is 24 x 16.*and 3 more"):
        check_files(opened(products))
    assert len(survey(opened(products)).problems) == 8


def test_damage_is_found_in_data_with_class_labels_too(tmp_path):
    for split in ("train", "val"):
        for kind in ("ok", "ng"):
            for index in range(3):
                write_picture(tmp_path / split / kind / f"{index}.png", seed=len(split) + 10 * ord(kind[0]) + index)
    file = tmp_path / "val" / "ng" / "2.png"
    truncated(file)
    dataset = open_dataset(f"imagefolder:{tmp_path}")
    with pytest.raises(DataError, match=re.escape(str(file))):
        check_files(dataset)
    found = survey(dataset)
    assert [row["images"] for row in found.counts] == [6, 6]
    assert len(found.problems) == 1


def test_copies_and_images_of_several_categories_are_noted(products):
    good = products / "bottle" / "train" / "good"
    shutil.copy(good / "000.png", good / "again.png")
    notes = check_files(opened(products))
    assert any("bottle: 1 of 4 training images are copies" in note for note in notes)
    shutil.copy(good / "001.png", products / "cable" / "train" / "good" / "001.png")
    assert any("1 images of cable are images of bottle too" in note for note in check_files(opened(products)))


def test_a_survey_counts(products):
    (products / "bottle" / "notes.txt").write_text("hello")
    write_picture(products / "bottle" / "spare.png")
    grey = products / "cable" / "train" / "good" / "grey.png"
    Image.fromarray(np.arange(384, dtype=np.uint8).reshape(16, 24)).save(grey)
    found = survey(opened(products))
    assert found.counts[0] == {
        "category": "bottle",
        "train": 3,
        "test good": 2,
        "test defective": 4,
        "masks": 4,
        "kinds": "cut 2, hole 2",
    }
    assert found.sizes == {"24 x 16": 10, "24 x 17": 9}
    assert found.modes == {"RGB": 18, "L": 1}
    assert found.formats == {"PNG": 19}
    assert sum(found.left_out.values()) == 2
    assert found.problems == []


def test_names_that_speak_of_defects_among_good_images(products):
    good = products / "bottle" / "train" / "good"
    write_picture(good / "scratch_04.png", seed=77)
    write_picture(good / "x (2).png", seed=78)
    notes = "\n".join(survey(opened(products)).notes)
    assert "bottle: 1 good images have a name of a defect" in notes
    assert "bottle: 1 images are called copies" in notes


def test_the_second_look_reads_nothing_anew(products, monkeypatch):
    files = list(products.rglob("*.png"))
    for file in files:  # not changed just now, so that their digests are remembered
        import os

        os.utime(file, (1_000_000_000, 1_000_000_000))
    first = survey(opened(products))
    gc.collect()
    monkeypatch.setattr("subband.data.headers._facts", lambda *_: pytest.fail("a header was read again"))
    assert survey(opened(products)) == first


def test_progress_is_told(products):
    seen = []
    check_files(opened(products), progress=lambda done, count: seen.append((done, count)))
    assert seen[-1] == (26, 26)
