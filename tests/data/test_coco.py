"""COCO files: what is read of them, beside pycocotools, and what is refused with its id."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as runs
from pycocotools.coco import COCO

from subband.data import open_dataset
from subband.data.detection.coco import CocoData
from subband.data.detection.coco_annotations import _run_lengths
from subband.data.detection.coco_writing import write_coco
from subband.data.detection.instances import DetectionData, Instances, decode_masks
from subband.errors import DataError

CROWD = np.zeros((40, 60), bool)
CROWD[30:, 20:50] = True


def uncompressed(mask: np.ndarray) -> list[int]:
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]]).astype(int)))
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return counts if counts[-1] else counts[:-1]


CONTENT: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "a.png", "width": 60, "height": 40},
        {"id": 3, "file_name": "deep/b.png", "width": 30, "height": 30},
        {"id": 9, "file_name": "empty.png", "width": 20, "height": 10},
    ],
    "categories": [{"id": 90, "name": "hole"}, {"id": 4, "name": "scratch"}],
    "annotations": [
        {
            "id": 11,
            "image_id": 7,
            "category_id": 90,
            "bbox": [5, 5, 20, 10],
            "area": 150.0,
            "iscrowd": 0,
            "segmentation": [[5, 5, 25, 5, 25, 15, 5, 15], [5, 15, 8, 15, 8, 20]],
        },
        {
            "id": 12,
            "image_id": 7,
            "category_id": 4,
            "bbox": [20, 30, 30, 10],
            "area": 300,
            "iscrowd": 1,
            "segmentation": {"size": [40, 60], "counts": uncompressed(CROWD)},
        },
        {
            "id": 13,
            "image_id": 3,
            "category_id": 4,
            "bbox": [-0.4, 2, 10.4, 28.3],
            "area": 40,
            "iscrowd": 0,
            "segmentation": [[0, 2, 10, 2, 10, 30]],
        },
    ],
}


def made(folder: Path, content: Any = CONTENT) -> Path:
    for image in CONTENT["images"]:
        file = folder / "train" / image["file_name"]
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (image["width"], image["height"]), (image["id"], 0, 0)).save(file)
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / "instances_train.json").write_text(json.dumps(content))
    return folder


def opened(uri: str) -> CocoData:
    data = open_dataset(uri)
    assert isinstance(data, CocoData)
    return data


def test_masks_and_boxes_are_those_of_pycocotools(tmp_path: Path) -> None:
    data = opened(f"coco:{made(tmp_path)}")
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(str(tmp_path / "annotations" / "instances_train.json"))
    assert data.classes == ("scratch", "hole")  # by id, without the gap between 4 and 90
    for picture, image in zip(data.split("train"), CONTENT["images"], strict=True):
        objects = picture.instances()
        expected = reference.loadAnns(reference.getAnnIds(image["id"]))
        masks = decode_masks(objects.masks, image["height"], image["width"])
        assert len(objects) == len(expected)
        for mask, annotation in zip(masks, expected, strict=True):
            np.testing.assert_array_equal(mask, reference.annToMask(annotation))
    first, second, empty = (picture.instances() for picture in data.split("train"))
    assert first.labels.tolist() == [1, 0]
    assert first.crowd.tolist() == [False, True]
    assert first.areas.tolist() == [150, 300]
    np.testing.assert_array_equal(decode_masks(first.masks, 40, 60)[1], CROWD)
    assert first.boxes.tolist() == [[5, 5, 25, 15], [20, 30, 50, 40]]
    assert second.boxes.tolist() == [[0, 2, 10, 30]]  # cut at the border
    assert len(empty) == 0
    assert empty.boxes.shape == (0, 4)


def test_what_is_packed_is_unpacked(tmp_path: Path) -> None:
    for picture in opened(f"coco:{made(tmp_path)}").split("train"):
        objects = picture.instances()
        again = Instances.unpacked(objects.packed())
        assert again.packed() == objects.packed()
        np.testing.assert_array_equal(again.boxes, objects.boxes)
        assert again.boxes.dtype == np.float32


def broken(place: int, **values: Any) -> Any:
    content = copy.deepcopy(CONTENT)
    content["annotations"][place] |= values
    return content


SHORT = {"size": [40, 60], "counts": [100, 2000]}
NOTHING = {"size": [40, 60], "counts": [2400]}
NOISE = {"size": [40, 60], "counts": "~~~"}
OTHER = {"size": [60, 40], "counts": uncompressed(CROWD)}


@pytest.mark.parametrize(
    ("place", "values", "words"),
    [
        (0, {"image_id": 8}, "annotation 11 is of image 8"),
        (0, {"image_id": [7]}, r"annotation 11 is of image \[7\]"),
        (0, {"category_id": 5}, "annotation 11 is of category 5"),
        (0, {"category_id": [3]}, r"annotation 11 is of category \[3\]"),
        (2, {"bbox": [0, 0, 0, 5]}, "annotation 13 .*area is 0"),
        (2, {"bbox": [3, 3, 5, -1]}, "annotation 13 .*area is 0"),
        (2, {"bbox": [25, 3, 10, 5]}, "annotation 13 .*outside its image of 30 x 30"),
        (2, {"bbox": [30.5, 3, 0.4, 5]}, "annotation 13 .*outside"),
        (2, {"bbox": [29.9999999, 5, 1, 10]}, "annotation 13 .*nothing is left inside its image"),
        (2, {"bbox": [-0.9, 5, 0.5, 10]}, "annotation 13 .*nothing is left inside its image"),
        (2, {"bbox": [1, 2, 3]}, "annotation 13 .*x, y, width, height"),
        (2, {"bbox": [1, 2, 3, float("nan")]}, "annotation 13 .*x, y, width, height"),
        (0, {"segmentation": [[1, 1, 5, 5]]}, "annotation 11 has a polygon of 4 coordinates"),
        (0, {"segmentation": [[1, 1, 5, 5, 5, 1, 1]]}, "annotation 11 has a polygon of 7 coordinates"),
        (0, {"segmentation": [[900, 1, 950, 1, 950, 9]]}, "annotation 11 has polygons that lie outside its image"),
        (0, {"segmentation": []}, "annotation 11 has no segmentation"),
        (1, {"segmentation": SHORT}, "annotation 12 has run lengths of 2100 pixels; its image has 2400"),
        (1, {"segmentation": NOTHING}, "annotation 12 has run lengths without a pixel"),
        (1, {"segmentation": NOISE}, "annotation 12 has run lengths that cannot be read"),
        (1, {"segmentation": OTHER}, r"annotation 12 has run lengths of size \[60, 40\]"),
        (1, {"iscrowd": 2}, "annotation 12 has iscrowd 2"),
        (1, {"area": "large"}, "annotation 12 has the area 'large'"),
    ],
)
def test_a_broken_annotation_is_named_by_its_id_and_can_be_left_out(
    tmp_path: Path, place: int, values: dict[str, Any], words: str
) -> None:
    made(tmp_path, broken(place, **values))
    with pytest.raises(DataError, match=words):
        opened(f"coco:{tmp_path}")
    rest = opened(f"coco:{tmp_path}?broken=skip")
    assert len(rest.skipped) == 1
    assert sum(len(picture.instances()) for picture in rest.split("train")) == 2
    assert opened(rest.uri).skipped == rest.skipped


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content["annotations"][1].update(id=11), "id 11 occurs twice in annotations"),
        (lambda content: content["images"][1].update(id=7), "id 7 occurs twice in images"),
        (lambda content: content["categories"][1].update(name="hole"), "two categories are named 'hole'"),
        (lambda content: content["categories"].clear(), "no categories"),
        (lambda content: content.pop("images"), "no list named images"),
        (lambda content: content["images"][0].update(width=0), "image 7 needs a file_name, and width"),
        (lambda content: content["annotations"][0].pop("id"), "no whole number as id"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, change: Any, words: str) -> None:
    content = copy.deepcopy(CONTENT)
    change(content)
    with pytest.raises(DataError, match=words):
        opened(f"coco:{made(tmp_path, content)}?broken=skip")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?tran=x.json", "'tran' is not an option.*train"),
        ("?train=x.json", "there is no file"),
        ("?train_images=train", "train_images needs train"),
        ("?broken=maybe", "must be error or skip"),
        ("?train=annotations/instances_train.json&train_images=nowhere", "there is no folder"),
    ],
)
def test_options_are_checked(tmp_path: Path, query: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        opened(f"coco:{made(tmp_path)}{query}")


def test_splits_must_have_the_same_categories(tmp_path: Path) -> None:
    made(tmp_path)
    other = copy.deepcopy(CONTENT)
    other["categories"][0]["name"] = "dent"
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(DataError, match="other categories than the train split: 90 'dent', 90 'hole'"):
        opened(
            f"coco:{tmp_path}?train=annotations/instances_train.json&train_images=train&test=other.json&test_images=train"
        )


def test_a_folder_alone_is_recognised(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder; say which layout it has: coco:"):
        open_dataset(str(made(tmp_path)))


def test_a_folder_without_annotations_says_where_they_are_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"instances_train2017\.json"):
        opened(f"coco:{tmp_path}")


def test_any_data_can_be_written_as_files_and_read_again(tmp_path: Path) -> None:
    drawn = open_dataset("synthetic-coco:?train=3&validation=2&test=0&size=48&objects=3")
    assert isinstance(drawn, DetectionData)
    read = opened(f"coco:{write_coco(drawn, tmp_path / 'files')}")
    assert read.classes == drawn.classes
    assert list(read.splits) == ["train", "validation"]
    for split in drawn.splits:
        for one, other in zip(drawn.split(split), read.split(split), strict=True):
            assert one.instances().packed() == other.instances().packed()
            np.testing.assert_array_equal(np.asarray(one.image.open()), np.asarray(other.image.open()))
    with pytest.raises(DataError, match="exists already"):
        write_coco(drawn, tmp_path / "files")


def test_the_digest_is_of_content_and_not_of_the_place(tmp_path: Path) -> None:
    first, second = (opened(f"coco:{made(tmp_path / name)}") for name in ("one", "two"))
    assert first.digest() == second.digest()
    Image.new("RGB", (60, 40), (1, 2, 3)).save(tmp_path / "two" / "train" / "a.png")
    assert opened(second.uri).digest() != first.digest()
    moved = opened(f"coco:{made(tmp_path / 'three', broken(0, bbox=[5, 5, 21, 10]))}")
    assert moved.digest() != first.digest()


@given(arrays(np.bool_, st.tuples(st.integers(1, 30), st.integers(1, 30))))
def test_compressed_run_lengths_are_decoded_as_they_were_encoded(mask: np.ndarray) -> None:
    text = runs.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
    lengths = _run_lengths(text)
    assert lengths is not None
    values = np.repeat(np.arange(len(lengths)) % 2, lengths)
    np.testing.assert_array_equal(values.reshape(mask.shape, order="F").astype(bool), mask)
