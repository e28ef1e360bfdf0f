"""The folder layout of MVTec AD, and what can be wrong with it."""

import shutil

import pytest
from PIL import Image

from subband.data import Preprocess, load_masks, open_dataset
from subband.errors import DataError
from tests.data.conftest import build_mvtec_category, write_mask, write_picture


def bottle(root):
    return open_dataset(f"mvtec:{root}").category("bottle")


def test_reading_a_dataset(mvtec_root):
    dataset = open_dataset(f"mvtec:{mvtec_root}")
    assert dataset.categories == ("bottle", "cable")
    assert dataset.name == "mvtec-products"
    assert open_dataset(dataset.uri).categories == dataset.categories
    category = dataset.category("cable")
    assert [sample.name for sample in category.train] == [f"train/good/00{index}" for index in range(3)]
    assert [(sample.name, sample.label, sample.defect) for sample in category.test] == [
        ("test/cut/000", 1, "cut"),
        ("test/cut/001", 1, "cut"),
        ("test/good/000", 0, "good"),
        ("test/good/001", 0, "good"),
        ("test/hole/000", 1, "hole"),
        ("test/hole/001", 1, "hole"),
    ]
    assert [sample.mask is None for sample in category.test] == [False, False, True, True, False, False]
    assert category.test[0].image.open().size == category.test[0].mask.open().size == (24, 16)


def test_the_root_may_be_a_category(mvtec_root):
    dataset = open_dataset(f"mvtec:{mvtec_root / 'bottle'}")
    assert dataset.categories == ("bottle",)
    assert len(dataset.category("bottle").train) == 3


def test_relative_paths_and_chosen_categories(mvtec_root, monkeypatch):
    monkeypatch.chdir(mvtec_root.parent)
    dataset = open_dataset("mvtec:products?categories=cable")
    assert dataset.categories == ("cable",)
    assert dataset.uri == f"mvtec:{mvtec_root}?categories=cable"
    monkeypatch.chdir(mvtec_root / "cable")
    assert open_dataset("mvtec:../bottle").uri == f"mvtec:{mvtec_root / 'bottle'}"
    assert open_dataset(dataset.uri).categories == ("cable",)


def test_other_suffixes_in_any_case_and_other_files(mvtec_root):
    folder = mvtec_root / "bottle"
    for index, suffix in enumerate(["JPG", "jpeg", "Bmp", "tif", "TIFF", "webp"]):
        write_picture(folder / "test" / "scratch" / f"s{index}.{suffix}")
        write_mask(folder / "ground_truth" / "scratch" / f"s{index}.png")
    (folder / "train" / "good" / "Thumbs.db").write_bytes(b"x")
    (folder / "train" / "good" / ".hidden.png").write_bytes(b"x")
    (folder / "train" / "good" / "notes.txt").write_text("x")
    category = bottle(mvtec_root)
    assert len(category.train) == 3
    assert [sample.image.open().mode for sample in category.test if sample.defect == "scratch"] == ["RGB"] * 6


def test_missing_and_wrong_folders(tmp_path):
    with pytest.raises(DataError, match=r"no/such/place does not exist \(of its path, .* does\)"):
        open_dataset(f"mvtec:{tmp_path / 'no' / 'such' / 'place'}")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="is a file"):
        open_dataset(f"mvtec:{tmp_path / 'file'}")
    with pytest.raises(DataError, match="names no folder; write for instance mvtec:/data/products"):
        open_dataset("mvtec:")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no category; expected .*train/good"):
        open_dataset(f"mvtec:{tmp_path / 'empty'}")


def test_unknown_category_names_near_matches(mvtec_root):
    with pytest.raises(DataError, match="did you mean 'bottle'"):
        open_dataset(f"mvtec:{mvtec_root}").category("botle")
    with pytest.raises(DataError, match="did you mean 'cable'"):
        open_dataset(f"mvtec:{mvtec_root}?categories=bottle,cabel")


def test_empty_category_and_no_good_pictures(mvtec_root):
    shutil.rmtree(mvtec_root / "bottle" / "train" / "good")
    with pytest.raises(DataError, match=r"category bottle: .*train/good does not exist"):
        bottle(mvtec_root)
    (mvtec_root / "bottle" / "train" / "good").mkdir()
    with pytest.raises(DataError, match=r"category bottle: .*train/good holds no images"):
        bottle(mvtec_root)
    shutil.rmtree(mvtec_root / "bottle" / "train")
    with pytest.raises(DataError, match=r"category bottle: .*train/good does not exist"):
        bottle(mvtec_root)


def test_defective_training_pictures_are_refused(mvtec_root):
    write_picture(mvtec_root / "bottle" / "train" / "cut" / "000.png")
    with pytest.raises(DataError, match=r"train/cut holds images, but only good images are learnt from"):
        bottle(mvtec_root)


@pytest.mark.parametrize("split", ["train", "test"])
def test_pictures_beside_the_folders_are_refused(mvtec_root, split):
    write_picture(mvtec_root / "bottle" / split / "stray.png")
    with pytest.raises(DataError, match=r"stray\.png lies outside the folders of a kind"):
        bottle(mvtec_root)


def test_no_test_defects_and_no_test_at_all_are_legal(tmp_path):
    build_mvtec_category(tmp_path / "a" / "good_only", defects=())
    assert {sample.label for sample in open_dataset(f"mvtec:{tmp_path / 'a'}").category("good_only").test} == {0}
    build_mvtec_category(tmp_path / "a" / "train_only", good=0, defects=())
    assert open_dataset(f"mvtec:{tmp_path / 'a'}").category("train_only").test == ()


def test_missing_mask_names_the_expected_path(mvtec_root):
    expected = mvtec_root / "bottle" / "ground_truth" / "cut" / "001_mask.png"
    expected.unlink()
    with pytest.raises(DataError, match=f"has no mask; expected {expected}"):
        bottle(mvtec_root)
    Image.new("L", (24, 16), 9).save(expected.with_suffix(".jpg"))
    with pytest.raises(DataError, match="JPEG blurs them"):
        bottle(mvtec_root)


def test_without_ground_truth_the_places_are_unknown(mvtec_root):
    shutil.rmtree(mvtec_root / "bottle" / "ground_truth")
    test = bottle(mvtec_root).test
    masks = load_masks(test, Preprocess())
    assert masks.known.tolist() == [sample.label == 0 for sample in test]
    assert not masks.values.any()
    assert masks.vanished == ()


def test_names_that_are_not_unique(mvtec_root):
    write_mask(mvtec_root / "bottle" / "ground_truth" / "cut" / "000.bmp")
    with pytest.raises(DataError, match=r"has two masks, .*000_mask\.png and 000\.bmp"):
        bottle(mvtec_root)
    write_picture(mvtec_root / "cable" / "train" / "good" / "001.jpg")
    with pytest.raises(DataError, match=r"001\.jpg and 001\.png have the same name but for the suffix"):
        open_dataset(f"mvtec:{mvtec_root}").category("cable")
