"""Images with class labels in folders and through timm: what is read, in which order, and what is refused."""

import pickle
import shutil
import tarfile

import numpy as np
import pytest

from subband.data import class_data, dataset_notes, fingerprint_dataset, open_dataset
from subband.errors import DataError
from tests.data.conftest import write_picture


def build_classes(root, counts, splits=("train", "val")):
    """Images of noise; `counts` are those of each class."""
    for number, split in enumerate(splits):
        for each, (name, count) in enumerate(counts.items()):
            for index in range(count):
                write_picture(root / split / name / f"{index:02d}.png", seed=100 * number + 10 * each + index)
    return root


@pytest.fixture
def root(tmp_path):
    return build_classes(tmp_path / "images", {"nut": 3, "bolt": 2})


def test_folders_are_classes_and_labels_follow_their_names(root):
    write_picture(root / "train" / "nut" / "inner" / "90.JPEG", seed=9)
    (root / "train" / "nut" / "notes.txt").write_text("no image")
    data = open_dataset(f"imagefolder:{root}")
    assert data.classes == ("bolt", "nut")
    assert (data.name, data.uri) == ("imagefolder-images", f"imagefolder:{root}")
    train = data.split("train")
    assert train.labels.tolist() == [0, 0, 1, 1, 1, 1]
    assert [train.name(i) for i in (0, 5)] == ["train/bolt/00.png", "train/nut/inner/90.JPEG"]
    assert train.image(5).open().size == (24, 16)
    assert list(data.splits) == ["train", "validation"]
    assert pickle.loads(pickle.dumps(train)).image(0).digest() == train.image(0).digest()
    with pytest.raises(DataError, match="'valid' is not a split of this data; did you mean 'validation'"):
        data.split("valid")


def test_a_class_with_a_link_to_its_own_parent_is_read_once(root):
    before = len(open_dataset(f"imagefolder:{root}").split("train").labels)
    name = sorted(each.name for each in (root / "train").iterdir())[0]
    (root / "train" / name / "again").symlink_to(root / "train" / name, target_is_directory=True)
    assert len(open_dataset(f"imagefolder:{root}").split("train").labels) == before


def test_splits_may_have_other_names_and_the_uri_opens_the_same_again(root, monkeypatch):
    (root / "val").rename(root / "held out")
    monkeypatch.chdir(root.parent)
    data = open_dataset("imagefolder:images?test=held out")
    assert list(data.splits) == ["train", "test"]
    again = open_dataset(data.uri)
    assert again.uri == data.uri == f"imagefolder:{root}?test=held out"
    assert fingerprint_dataset(again) == data.digest() == fingerprint_dataset(data)


def test_the_digest_is_of_pictures_labels_and_classes(root):
    before = open_dataset(f"imagefolder:{root}").digest()
    (root / "val" / "nut" / "00.png").rename(root / "val" / "bolt" / "70.png")
    moved = open_dataset(f"imagefolder:{root}").digest()
    for split in ("train", "val"):
        (root / split / "nut").rename(root / split / "screw")
    assert len({before, moved, open_dataset(f"imagefolder:{root}").digest()}) == 3


def test_only_a_validation_split_is_enough_to_look_at(tmp_path):
    data = open_dataset(f"imagefolder:{build_classes(tmp_path, {'a': 1, 'b': 1}, splits=['validation'])}")
    assert list(data.splits) == ["validation"]


def test_a_class_without_pictures_in_a_later_split_is_no_error_but_an_empty_folder_is(root):
    for file in (root / "val" / "nut").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"val/nut holds no image \(.bmp, .jpeg"):
        open_dataset(f"imagefolder:{root}")
    (root / "val" / "nut").rmdir()
    assert set(open_dataset(f"imagefolder:{root}").split("validation").labels.tolist()) == {0}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda root: (root / "val" / "nutt").mkdir(), "'nutt' is not a class of .*train; did you mean 'nut'"),
        (lambda root: (root / "train" / "cap").mkdir(), "class folder .*train/cap holds no image"),
        (lambda root: (root / "validation").mkdir(), r"has both val and validation; say which with \?validation=NAME"),
    ],
)
def test_folders_that_cannot_be_read(root, build, message):
    build(root)
    with pytest.raises(DataError, match=message):
        open_dataset(f"imagefolder:{root}")


def test_other_bad_uris(root, tmp_path):
    build_classes(tmp_path / "one", {"only": 2})
    (tmp_path / "flat" / "nut").mkdir(parents=True)
    for uri, message in {
        f"imagefolder:{tmp_path / 'one'}": "has the class 'only' alone; a classifier tells at least two apart",
        f"imagefolder:{tmp_path / 'flat'}": r"has no split; expected .*train/<class> .* \(found: nut\)",
        f"imagefolder:{root}?tran=x": "'tran' is not an option; did you mean 'train'",
        f"imagefolder:{root}?test=gone": "test is 'gone', but .* is no folder",
        str(root): f"say which layout it has: imagefolder:{root}",
    }.items():
        with pytest.raises(DataError, match=message):
            open_dataset(uri)


def test_a_file_that_is_no_picture_is_named(root):
    (root / "train" / "nut" / "00.png").write_bytes(b"not an image")
    train = open_dataset(f"imagefolder:{root}").split("train")
    with pytest.raises(DataError, match=r"train/nut/00.png is not an image that can be read"):
        train.image(2).size()


def test_only_classification_data_pass_for_it(root):
    data = open_dataset(f"imagefolder:{root}")
    assert class_data(data) is data
    with pytest.raises(DataError, match="holds samples of inspected products or surfaces, not images with class lab"):
        class_data(open_dataset("synthetic:"))
    with pytest.raises(DataError, match="holds images with class labels, not samples of inspected products"):
        data.category("all")


def test_timm_reads_folders_tars_and_torchvisions_sets(root, tmp_path):
    ours = open_dataset(f"imagefolder:{root}")
    theirs = open_dataset(f"timm:folder?root={root}")
    assert (theirs.classes, theirs.name) == (ours.classes, "timm-folder")
    for split in ours.splits:
        assert theirs.split(split).labels.tolist() == ours.split(split).labels.tolist()
        for index in range(len(ours.split(split))):
            one, other = (each.split(split).image(index) for each in (ours, theirs))
            assert one.digest() == other.digest()
            np.testing.assert_array_equal(np.asarray(one.open()), np.asarray(other.open()))
    assert open_dataset(theirs.uri).digest() == theirs.digest() == ours.digest()

    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        tar.add(root / "train", arcname=".")
    packed = open_dataset(f"timm:tar?root={tmp_path / 'train.tar'}&validation=")
    assert packed.classes == ours.classes
    assert sorted(packed.split("train").labels.tolist()) == [0, 0, 1, 1, 1]
    assert packed.split("train").image(0).open().mode == "RGB"

    image_folder = open_dataset(f"timm:torch/image_folder?root={root}")
    assert image_folder.split("validation").labels.tolist() == ours.split("validation").labels.tolist()
    assert image_folder.split("train").image(1).open().size == (24, 16)
    assert open_dataset(image_folder.uri).digest() == image_folder.digest()


def test_splits_of_timms_must_have_the_same_classes(root):
    (root / "val" / "bolt").rename(root / "val" / "screw")
    with pytest.raises(DataError, match=r"the splits train and validation have other classes \(bolt, screw\)"):
        open_dataset(f"timm:folder?root={root}")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("timm:", "names no dataset; write for instance timm:torch/cifar10"),
        ("timm:torch/cifar10?root={empty}", r"timm cannot open its split 'train' \(Dataset not found.*download=1"),
        ("timm:torch/cifar11?root={empty}", "Unknown torchvision dataset cifar11"),
        ("timm:folder?root={empty}/no", "timm cannot open its split 'train'"),
        ("timm:folder?rot={empty}", "'rot' is not an option; did you mean 'root'"),
        ("timm:folder?root={root}/train", "train and validation are the same 5 images; .* leave one out with valida"),
    ],
)
def test_what_timm_cannot_open_is_told(root, tmp_path, uri, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        open_dataset(uri.format(empty=tmp_path / "empty", root=root))


@pytest.mark.parametrize("name", ["valid", "Validation", "dev", "VAL"])
def test_usual_names_of_the_validation_folder_are_known(tmp_path, name):
    for split in ("train", name, "Test"):
        for number, kind in enumerate(("bad", "good")):
            write_picture(tmp_path / split / kind / "0.png", seed=10 * number + len(split))
    assert set(open_dataset(f"imagefolder:{tmp_path}").splits) == {"train", "validation", "test"}
    write_picture(tmp_path / "val2" / "bad" / "0.png")
    (tmp_path / "val2").rename(tmp_path / ("val" if name != "VAL" else "valid"))
    with pytest.raises(DataError, match="say which with"):
        open_dataset(f"imagefolder:{tmp_path}")


def test_an_image_in_two_splits_is_noted_and_under_two_classes_refused(tmp_path):
    for number, (split, kind) in enumerate((s, k) for s in ("train", "val") for k in ("bad", "good")):
        for index in range(2):
            write_picture(tmp_path / split / kind / f"{index}.png", seed=10 * number + index)
    assert dataset_notes(open_dataset(f"imagefolder:{tmp_path}")) == []
    shutil.copy(tmp_path / "train/good/1.png", tmp_path / "val/good/copy.png")
    (note,) = dataset_notes(open_dataset(f"imagefolder:{tmp_path}"))
    assert "1 images are in several splits" in note
    shutil.copy(tmp_path / "train/good/1.png", tmp_path / "train/bad/odd.png")
    with pytest.raises(DataError, match=r"under two classes \(the first: train/bad/odd\.png and train/good/1\.png\)"):
        dataset_notes(open_dataset(f"imagefolder:{tmp_path}"))
    assert len(dataset_notes(open_dataset(f"imagefolder:{tmp_path}?conflicts=keep"))) == 2
