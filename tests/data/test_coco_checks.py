"""COCO files in another convention, and files that are there twice."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from subband.data import dataset_notes, open_dataset
from subband.errors import DataError

WIDTH, HEIGHT = 160, 120


@pytest.fixture
def parts(tmp_path):
    """Eight images with a part each; a function that changes the content before it is written."""

    def write(change=lambda content: None, split="train"):
        rng = np.random.default_rng(len(split))
        content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "bolt"}]}
        (tmp_path / split).mkdir(exist_ok=True)
        (tmp_path / "annotations").mkdir(exist_ok=True)
        for index in range(8):
            Image.fromarray(rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)).save(tmp_path / split / f"{index}.png")
            x, y, w, h = (int(value) for value in rng.integers((4, 4, 12, 8), (90, 70, 60, 40)))
            corners = [x, y, x + w, y, x + w, y + h, x, y + h]
            content["images"].append({"id": index, "file_name": f"{index}.png", "width": WIDTH, "height": HEIGHT})
            content["annotations"].append(
                {"id": index, "image_id": index, "category_id": 1, "bbox": [x, y, w, h], "segmentation": [corners]}
            )
        change(content)
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
        return f"coco:{tmp_path}"

    return write


def each_box(how, every=1):
    def change(content):
        for annotation in content["annotations"][::every]:
            annotation["bbox"] = [float(value) for value in how(*annotation["bbox"])]

    return change


def test_sound_files_have_no_notes(parts):
    assert dataset_notes(open_dataset(parts())) == []
    assert dataset_notes(open_dataset(parts(each_box(lambda x, y, w, h: (x + 0.6, y - 0.4, w + 1, h))))) == []


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        (lambda x, y, w, h: (x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT), "shares of the image's size"),
        (
            lambda x, y, w, h: ((x + w / 2) / WIDTH, (y + h / 2) / HEIGHT, w / WIDTH, h / HEIGHT),
            "shares of the image's size",
        ),
        (lambda x, y, w, h: (x, y, x + w, y + h), r"corners \[x0, y0, x1, y1\]"),
        (lambda x, y, w, h: (x + w / 2, y + h / 2, w, h), "outside its image|centres with width"),
        (lambda x, y, w, h: (y, x, h, w), r"outside its image|\[y, x, height, width\]"),
    ],
    ids=["shares", "shares of YOLO", "corners", "centres", "transposed"],
)
def test_other_conventions_are_refused_with_the_likely_cause(parts, how, cause):
    with pytest.raises(DataError, match=cause):
        open_dataset(parts(each_box(how)))


def test_corners_of_small_objects_near_the_origin_are_seen_by_their_masks(parts):
    def change(content):
        for annotation in content["annotations"]:
            annotation["segmentation"] = [[5, 5, 35, 5, 35, 25, 5, 25]]
            annotation["bbox"] = [5, 5, 35, 25]

    with pytest.raises(DataError, match=r"8 of 8 boxes look like corners"):
        open_dataset(parts(change))


def test_one_box_beside_its_mask_is_a_note_and_many_are_refused(parts):
    def away(x, y, w, h):
        return (100, 80, 20, 20) if x < 60 else (0, 0, 10, 10)

    (note,) = dataset_notes(open_dataset(parts(each_box(away, every=8))))
    assert "1 of 8 boxes do not lie around their masks (the first: the bbox of annotation 0" in note
    with pytest.raises(DataError, match="4 of 8 are so: boxes and segmentations may be of different images"):
        open_dataset(parts(each_box(away, every=2)))


def test_crowds_and_tiny_boxes_are_left_alone(parts):
    def change(content):
        for annotation in content["annotations"][:4]:
            x, y, *_ = annotation["bbox"]
            annotation |= {"iscrowd": 1, "bbox": [x, y, 3, 3]}
        for annotation in content["annotations"][4:]:
            annotation |= {"bbox": [1, 1, 1, 1], "segmentation": [[1, 1, 2, 1, 2, 2, 1, 2]]}

    assert dataset_notes(open_dataset(parts(change))) == []


def test_a_file_under_two_ids_is_refused(parts):
    def change(content):
        content["images"] += [
            {**image, "id": image["id"] + 100, "file_name": f"./{image['file_name']}"} for image in content["images"]
        ]

    with pytest.raises(DataError, match=r"images 0 and 100 are the same file .*8 files are there twice"):
        open_dataset(parts(change))


def test_a_file_of_two_splits_is_refused_and_a_copy_noted(parts, tmp_path):
    parts()
    uri = parts(split="test")
    shutil.copy(tmp_path / "train" / "3.png", tmp_path / "test" / "5.png")
    first, second = dataset_notes(open_dataset(uri))
    assert "1 images are there more than once" in first
    assert "in test and train" in second
    with pytest.raises(DataError, match=r"0\.png is in the train and in the test split \(8 such files\)"):
        open_dataset(
            f"{uri}?train=annotations/instances_train.json&train_images=train&test=annotations/instances_test.json&test_images=train"
        )
