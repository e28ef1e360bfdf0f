"""Examples of object detection: augmentation keeps image, boxes and masks together."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from subband.data import ExampleKey, open_dataset
from subband.data.detection.augment import Framed, Sizes, augment, cropped, fitting_size, flipped, resized
from subband.data.detection.examples import (
    DetectionEvaluation,
    DetectionTraining,
    check_pictures,
    detection_data,
    detection_split,
)
from subband.data.detection.instances import DetectionData, Instances, box_of_mask, encode_mask
from subband.errors import DataError, ParamsError

COLOURS = np.array([[220, 30, 30], [30, 220, 30], [30, 30, 220]], np.uint8)


def framed(width: int, height: int, boxes: list[tuple[int, int, int, int]]) -> Framed:
    """Rectangles, each of its own colour on black."""
    pixels = np.zeros((height, width, 3), np.uint8)
    masks = np.zeros((len(boxes), height, width), bool)
    for number, (x0, y0, x1, y1) in enumerate(boxes):
        pixels[y0:y1, x0:x1] = COLOURS[number]
        masks[:, y0:y1, x0:x1] = False
        masks[number, y0:y1, x0:x1] = True
    kept = [number for number in range(len(boxes)) if masks[number].any()]
    masks = masks[kept]
    return Framed(
        Image.fromarray(pixels),
        np.array([box_of_mask(mask) for mask in masks], np.float32).reshape(-1, 4),
        np.array(kept, np.int64),
        masks,
    )


@st.composite
def scenes(draw: Any) -> Framed:
    width, height = draw(st.integers(24, 90)), draw(st.integers(24, 90))
    boxes = []
    for _ in range(draw(st.integers(0, 3))):
        x0, y0 = draw(st.integers(0, width - 4)), draw(st.integers(0, height - 4))
        boxes.append((x0, y0, draw(st.integers(x0 + 3, width)), draw(st.integers(y0 + 3, height))))
    return framed(width, height, boxes)


def assert_together(scene: Framed, slack: float) -> None:
    """Masks lie in their boxes, and where one that is no sliver is, most of the image has its object's colour."""
    pixels = np.asarray(scene.image).astype(int)
    height, width = pixels.shape[:2]
    assert scene.masks.shape == (len(scene.labels), height, width)
    assert scene.boxes.shape == (len(scene.labels), 4)
    for box, label, mask in zip(scene.boxes, scene.labels, scene.masks, strict=True):
        x0, y0, x1, y1 = box
        assert 0 <= x0 < x1 <= width + 1e-3
        assert 0 <= y0 < y1 <= height + 1e-3
        if mask.any():
            a, b, c, d = box_of_mask(mask)
            assert a >= x0 - slack
            assert b >= y0 - slack
            assert c <= x1 + slack
            assert d <= y1 + slack
        if mask.sum() > 0.05 * mask.size:
            strongest = np.bincount(pixels[mask].argmax(axis=1), minlength=3).argmax()
            assert strongest == label


@settings(max_examples=60, deadline=None)
@given(scenes(), st.sampled_from(["none", "flip", "flip-resize-crop"]), st.integers(0, 10**6))
def test_augmentation_keeps_picture_boxes_and_masks_together(scene: Framed, policy: Any, seed: int) -> None:
    sizes = Sizes((32, 48, 64), 96, (28, 40), (20, 36))
    out = augment(scene, policy, sizes, np.random.default_rng(seed))
    assert_together(out, slack=4.0)  # a pixel of a small crop becomes more than three
    width, height = out.image.size
    assert max(width, height) <= 96
    assert min(width, height) in sizes.short_sides or max(width, height) == 96
    if policy == "none":
        assert (width, height) == fitting_size(*scene.image.size, 32, 96)
        assert len(out.labels) == len(scene.labels)
    again = augment(scene, policy, sizes, np.random.default_rng(seed))
    np.testing.assert_array_equal(out.boxes, again.boxes)
    np.testing.assert_array_equal(np.asarray(out.image), np.asarray(again.image))


@settings(max_examples=30, deadline=None)
@given(scenes())
def test_a_flip_is_exact_and_undone_by_another(scene: Framed) -> None:
    mirrored = flipped(scene)
    for box, mask in zip(mirrored.boxes, mirrored.masks, strict=True):
        a, b, c, d = box_of_mask(mask)
        assert a >= box[0]
        assert (b, d) == (box[1], box[3])
        assert c <= box[2]
    back = flipped(mirrored)
    np.testing.assert_array_equal(back.boxes, scene.boxes)
    np.testing.assert_array_equal(back.masks, scene.masks)
    np.testing.assert_array_equal(np.asarray(back.image), np.asarray(scene.image))


def test_a_crop_cuts_boxes_and_takes_objects_out_that_it_does_not_show() -> None:
    scene = framed(50, 40, [(2, 2, 10, 10), (20, 10, 45, 30), (40, 0, 50, 5)])
    part = cropped(scene, 15, 5, 20, 20)
    assert part.image.size == (20, 20)
    assert part.labels.tolist() == [1]
    assert part.boxes.tolist() == [[5, 5, 20, 20]]
    assert box_of_mask(part.masks[0]) == (5, 5, 20, 20)
    nothing = cropped(scene, 0, 31, 10, 9)
    assert len(nothing.labels) == 0
    assert nothing.masks.shape == (0, 9, 10)


def test_twice_the_size_doubles_boxes_and_repeats_mask_pixels() -> None:
    scene = framed(30, 20, [(3, 4, 10, 12)])
    large = resized(scene, 60, 40)
    assert large.boxes.tolist() == [[6, 8, 20, 24]]
    np.testing.assert_array_equal(large.masks[0], np.kron(scene.masks[0], np.ones((2, 2), bool)))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((640, 480), (1120, 840)), ((480, 640), (840, 1120)), ((500, 500), (896, 896)), ((2000, 100), (1120, 56))],
)
def test_the_shorter_side_is_set_unless_the_longer_one_would_be_too_long(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert fitting_size(*size, 896, 1120) == expected


@pytest.mark.parametrize("values", [((), 100), ((64,), 32), ((0,), 32), ((32,), 64, (), (9, 8))])
def test_sizes_that_contradict_each_other_are_refused(values: Any) -> None:
    with pytest.raises(ParamsError, match="image sizes"):
        Sizes(*values)


class Still:
    """An image in memory."""

    def __init__(self, image: Image.Image) -> None:
        self.picture = image

    def open(self) -> Image.Image:
        return self.picture

    def digest(self) -> str:
        return hashlib.sha256(self.picture.tobytes()).hexdigest()


class Made:
    """An annotated image from arrays."""

    def __init__(self, scene: Framed, crowd: list[bool], size: tuple[int, int] | None = None) -> None:
        self.scene, self.crowd = scene, crowd
        self.name, self.image, self.size = "made", Still(scene.image), size or scene.image.size

    def instances(self) -> Instances:
        masks = [encode_mask(mask) for mask in self.scene.masks]
        areas = [float(mask.sum()) for mask in self.scene.masks]
        return Instances.of(self.scene.boxes.tolist(), self.scene.labels.tolist(), masks, areas, self.crowd)


SCENE = framed(50, 40, [(2, 2, 10, 10), (20, 10, 45, 30)])


def test_crowds_are_not_learnt_from_but_evaluated_on() -> None:
    pictures = [Made(SCENE, [True, False])]
    example = DetectionTraining(pictures, "none", Sizes((40,), 64), 0)[ExampleKey(0)]
    assert example["labels"].tolist() == [1]
    assert example["boxes"].tolist() == [[20, 10, 45, 30]]
    assert example["masks"].dtype == torch.bool
    assert example["images"].shape == (3, 40, 50)
    evaluated = DetectionEvaluation(pictures, 20, 64)[ExampleKey(0)]
    assert evaluated["images"].shape == (3, 20, 25)
    assert evaluated["size"].tolist() == [50, 40]
    truth = Instances.unpacked(bytes(evaluated["truth"].numpy()))
    assert truth.crowd.tolist() == [True, False]
    assert truth.boxes.tolist() == SCENE.boxes.tolist()


def test_what_is_drawn_is_a_function_of_seed_epoch_and_index() -> None:
    data = open_dataset("synthetic-coco:?train=4&size=64")
    assert isinstance(data, DetectionData)
    sizes = Sizes((32, 48, 64), 96, (28, 40), (20, 36))

    def seen(seed: int, epoch: int) -> list[tuple[int, ...]]:
        examples = DetectionTraining(data.split("train"), "flip-resize-crop", sizes, seed)
        return [tuple(examples[ExampleKey(index, epoch)]["images"].flatten().tolist()) for index in range(4)]

    assert seen(0, 1) == seen(0, 1)
    assert seen(0, 1) != seen(0, 2)
    assert seen(0, 1) != seen(1, 1)


def test_a_picture_of_another_size_than_its_annotations_is_named() -> None:
    wrong = Made(SCENE, [False, False], size=(40, 50))
    with pytest.raises(DataError, match="made has 50 x 40 pixels, but its annotations are of 40 x 50"):
        DetectionTraining([wrong], "none", Sizes((40,), 64), 0)[ExampleKey(0)]
    told: list[tuple[int, int]] = []
    with pytest.raises(DataError, match="made has 50 x 40"):
        check_pictures([Made(SCENE, []), wrong], lambda done, of: told.append((done, of)))
    assert told == [(1, 2)]


def test_what_chooses_is_the_validation_split_or_held_out_by_the_seed() -> None:
    with_split = detection_data(open_dataset("synthetic-coco:?train=10&validation=3&test=2"))
    train, validation, test, divided = detection_split(with_split, 0.2, 0)
    assert (len(train), len(validation), len(test), divided) == (10, 3, 2, False)
    without = detection_data(open_dataset("synthetic-coco:?train=10&validation=0&test=2"))
    train, validation, test, divided = detection_split(without, 0.2, 0)
    assert (len(train), len(validation), len(test), divided) == (8, 2, 2, True)
    assert not set(train) & set(validation)
    assert detection_split(without, 0.2, 1)[1] != validation
    with pytest.raises(DataError, match="none would be left"):
        detection_split(detection_data(open_dataset("synthetic-coco:?train=1&validation=0")), 0.2, 0)
    with pytest.raises(DataError, match="holds no boxes"):
        detection_data(open_dataset("synthetic:"))
