"""The gallery of found objects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from subband.data.detection.instances import Detections, Instances, box_of_mask, encode_mask
from subband.errors import DataError
from subband.report import detection_gallery


def objects(height: int, width: int, count: int) -> tuple[Instances, Detections]:
    masks = []
    for number in range(count):
        mask = np.zeros((height, width), bool)
        mask[5 * number : 5 * number + 4, 3:20] = True
        masks.append(mask)
    boxes = [box_of_mask(mask) for mask in masks]
    encoded = tuple(encode_mask(mask) for mask in masks)
    labels = [number % 2 for number in range(count)]
    truth = Instances.of(boxes, labels, encoded, [68.0] * count, [number == 1 for number in range(count)])
    scores = np.linspace(0.9, 0.3, count, dtype=np.float32)
    return truth, Detections(truth.boxes, truth.labels, scores, encoded, (width, height))


def shown(**changes: Any) -> Any:
    sizes = [(40, 30), (30, 50), (20, 20)]
    made = [objects(height, width, count) for (height, width), count in zip(sizes, (2, 3, 0), strict=True)]
    given = {
        "images": [np.zeros((*size, 3), np.uint8) for size in sizes],
        "truths": [truth for truth, _ in made],
        "found": [found for _, found in made],
        "classes": ("disc", "square"),
        "names": ["one", "two", "three"],
        **changes,
    }
    return detection_gallery(**given, title="a title")


def test_marked_and_found_objects_stand_side_by_side() -> None:
    figure = shown()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [
        "one: 2 objects",
        "found: 1",
        "two: 3 objects",
        "found: 2",
        "three: 0 objects",
        "found: 0",
        "",
        "",
    ]
    words = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert words[0] == ["square (crowd)", "disc"]
    assert words[1] == ["disc 0.90"]
    assert words[3] == ["square 0.60", "disc 0.90"]  # the surest one over the others
    assert [len(axes.patches) for axes in figure.axes] == [2, 1, 3, 2, 0, 0, 0, 0]
    box = figure.axes[0].patches[1]
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (2.5, -0.5, 17, 4)
    figure.canvas.draw()


def test_the_lowest_score_is_chosen_and_said() -> None:
    figure = shown(lowest=0.95)
    assert figure.axes[1].get_title(loc="left") == "found: 0"
    assert "at least 0.95" in figure.get_supxlabel()


@pytest.mark.parametrize("changes", [{"names": ["one"]}, {"images": [], "truths": [], "found": [], "names": []}])
def test_counts_must_agree(changes: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="give one of each, of one image or more"):
        shown(**changes)
