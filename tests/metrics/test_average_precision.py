"""Average precision: perfect answers, shifted ones, and what has no precision."""

from __future__ import annotations

import numpy as np
import pytest

from subband.data.detection.instances import Detections, Instances, box_of_mask, encode_mask
from subband.errors import DataError, UndefinedMetricError
from subband.metrics.detection import average_precision

SIDE = 200


def mask_at(x: int, y: int, width: int, height: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def marked(*objects: tuple[np.ndarray, int], crowd: bool = False) -> Instances:
    return Instances.of(
        [box_of_mask(mask) for mask, _ in objects],
        [label for _, label in objects],
        [encode_mask(mask) for mask, _ in objects],
        [float(mask.sum()) for mask, _ in objects],
        [crowd] * len(objects),
    )


def found(*objects: tuple[np.ndarray, int, float]) -> Detections:
    boxes = np.array([box_of_mask(mask) for mask, _, _ in objects], np.float32).reshape(-1, 4)
    labels = np.array([label for _, label, _ in objects], np.int64)
    scores = np.array([score for _, _, score in objects], np.float32)
    return Detections(boxes, labels, scores, tuple(encode_mask(mask) for mask, _, _ in objects), (SIDE, SIDE))


SMALL, LARGE = mask_at(10, 10, 20, 20), mask_at(50, 50, 100, 100)


def test_perfect_answers_have_precision_one() -> None:
    metrics = average_precision(
        [marked((SMALL, 0), (LARGE, 1)), marked()], [found((LARGE, 1, 0.9), (SMALL, 0, 0.2)), found()]
    )
    assert set(metrics) == {
        f"{kind}_{name}" for kind in ("box", "mask") for name in ("ap", "ap50", "ap75", "ap_small", "ap_large")
    }
    assert all(value == pytest.approx(1) for value in metrics.values())


def test_a_shift_counts_up_to_its_overlap() -> None:
    """A shift of 10 of 100 pixels leaves an IoU of 90 / 110 = 0.818: right at .5 to .8, wrong at .85 to .95."""
    metrics = average_precision([marked((LARGE, 0))], [found((mask_at(60, 50, 100, 100), 0, 1.0))])
    for kind in ("box", "mask"):
        assert metrics[f"{kind}_ap"] == pytest.approx(0.7)
        assert metrics[f"{kind}_ap50"] == metrics[f"{kind}_ap75"] == pytest.approx(1)


def test_masks_and_boxes_are_measured_apart() -> None:
    """A triangle in the right box: IoU of boxes 1, of masks one half and a little."""
    half = LARGE & (np.add.outer(np.arange(SIDE), np.arange(SIDE)) >= 199)
    metrics = average_precision([marked((LARGE, 0))], [found((half, 0, 1.0))])
    assert metrics["box_ap"] == pytest.approx(1)
    assert metrics["mask_ap50"] == pytest.approx(1)
    assert metrics["mask_ap75"] == 0


def test_what_is_missed_invented_or_called_by_another_name_costs() -> None:
    truth = [marked((SMALL, 0), (mask_at(100, 10, 20, 20), 0))]
    assert average_precision(truth, [found((SMALL, 0, 1.0))])["box_ap50"] == pytest.approx(51 / 101)
    assert average_precision(truth, [found((SMALL, 1, 1.0))])["box_ap50"] == 0
    assert average_precision(truth, [found()])["box_ap50"] == 0
    invented = [found((mask_at(150, 150, 20, 20), 0, 1.0), (SMALL, 0, 0.5), (mask_at(100, 10, 20, 20), 0, 0.4))]
    assert average_precision(truth, invented)["box_ap50"] == pytest.approx(2 / 3)


def test_what_is_found_in_a_crowd_is_neither_right_nor_wrong() -> None:
    crowd = marked((LARGE, 0), crowd=True)
    truth = [crowd, marked((SMALL, 0))]
    inside = mask_at(60, 60, 30, 30)
    assert average_precision(truth, [found((inside, 0, 1.0)), found((SMALL, 0, 0.5))])["box_ap"] == pytest.approx(1)
    with pytest.raises(UndefinedMetricError, match="no object is marked in these 1 images"):
        average_precision([crowd], [found((inside, 0, 1.0))])


def test_counts_must_agree_and_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="1 images with marked objects, but 2 with found"):
        average_precision([marked((SMALL, 0))], [found(), found()])
    average_precision([marked((SMALL, 0))], [found()])
    assert capsys.readouterr().out == ""
