"""Matching, pooling, masks and losses of the detectors, each beside a small direct computation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection.image_list import ImageList

from subband.methods.wsfvit.detect.matching import ObjectMatcher, mean_over_workers
from subband.methods.wsfvit.detect.pooling import mask_targets, pasted_mask, pooled_regions
from subband.methods.wsfvit.detect.proposals import ProposalNetwork
from subband.methods.wsfvit.detect.roi_heads import CASCADE, SINGLE, Sampled, Stage, _refined, best_detections


def direct_matches(quality: list[list[float]], high: float, low: float, floor: float | None) -> list[int]:
    """The rule of the specification, candidate by candidate."""
    objects, candidates = len(quality), len(quality[0])
    found = []
    for n in range(candidates):
        best = max(range(objects), key=lambda m: (quality[m][n], -m))
        found.append(best if quality[best][n] >= high else -1 if quality[best][n] < low else -2)
    for m in range(objects):
        most = max(quality[m])
        for n in range(candidates):
            if floor is not None and most >= floor and quality[m][n] == most:
                found[n] = m
    return found


qualities = st.integers(1, 4).flatmap(
    lambda objects: st.integers(1, 6).flatmap(
        lambda candidates: st.lists(
            st.lists(st.sampled_from([0.0, 0.2, 0.3, 0.5, 0.7, 0.9]), min_size=candidates, max_size=candidates),
            min_size=objects,
            max_size=objects,
        )
    )
)


@settings(deadline=None)
@given(qualities, st.sampled_from([(0.7, 0.3, 0.3), (0.5, 0.5, 0.5), (0.5, 0.5, None)]))
def test_matching(quality: list[list[float]], rule: tuple[float, float, float | None]) -> None:
    expected = direct_matches(quality, *rule)
    assert ObjectMatcher(*rule)(torch.tensor(quality)).tolist() == expected


def test_an_object_that_nothing_overlaps_gets_nothing() -> None:
    """torchvision's rule gives it every candidate."""
    assert ObjectMatcher(0.7, 0.3, 0.3)(torch.zeros(1, 5)).tolist() == [-1] * 5


@pytest.mark.parametrize("side", [7, 14])
@pytest.mark.parametrize(("size", "level"), [(40.0, 0), (130.0, 1), (250.0, 2), (460.0, 3)])
def test_regions_are_aligned_by_half_a_pixel(side: int, size: float, level: int) -> None:
    """Maps that hold their own coordinates give those of the grid's cells; other levels hold something else."""
    maps = {}
    for number, stride in enumerate((4, 8, 16, 32)):
        centres = (torch.arange(640 // stride) + 0.5) * stride
        down, across = torch.meshgrid(centres, centres, indexing="ij")
        maps[str(number)] = torch.stack([across, down])[None] if number == level else torch.full((1, 2, 1, 1), 1e6)
    box = torch.tensor([[50.3, 70.9, 50.3 + size, 70.9 + size]])
    found = pooled_regions(maps, [box], side)[0]
    cells = (torch.arange(side) + 0.5) / side * size
    torch.testing.assert_close(found[0], (50.3 + cells).expand(side, side), rtol=0, atol=1e-2)
    torch.testing.assert_close(found[1], (70.9 + cells)[:, None].expand(side, side), rtol=0, atol=1e-2)


def test_regions_come_in_the_order_of_their_boxes() -> None:
    maps = {str(n): torch.full((2, 1, 8, 8), float(n)) + torch.tensor([0.0, 10.0]).view(2, 1, 1, 1) for n in range(4)}
    boxes = [torch.tensor([[0, 0, 500, 500], [0, 0, 30.0, 30]]), torch.tensor([[0, 0, 30.0, 30], [0, 0, 120, 120]])]
    inside = pooled_regions(maps, boxes, 7)[:, 0, 0, 0]
    assert inside.tolist() == [3, 0, 10, 11]
    assert pooled_regions(maps, [torch.zeros(0, 4)] * 2, 7).shape == (0, 1, 7, 7)


def test_a_mask_that_is_cut_out_and_put_back_is_nearly_the_same() -> None:
    rows, columns = np.mgrid[:90, :120]
    mask = torch.from_numpy((((columns - 60) / 41.0) ** 2 + ((rows - 40) / 29.0) ** 2) <= 1)
    box = torch.tensor([[17.5, 9.25, 104.0, 72.75]])
    grid = mask_targets([mask[None]], [box], [torch.zeros(1, dtype=torch.int64)], 28)
    again = pasted_mask(grid[0], box[0].tolist(), 120, 90)
    assert (again & mask).sum() / (again | mask).sum() > 0.96
    # What is symmetric stays so: half a pixel of shift would show.
    even = mask_targets([mask[None]], [torch.tensor([[19.0, 11, 102, 70]])], [torch.zeros(1, dtype=torch.int64)], 28)[0]
    assert torch.equal(even, even.flip(0))
    assert torch.equal(even, even.flip(1))


@pytest.mark.parametrize("box", [(10, 20, 30, 45), (-5, -3, 8, 9), (100, 80, 130, 99)])
def test_a_full_mask_covers_the_pixels_whose_centre_is_in_its_box(box: tuple[int, int, int, int]) -> None:
    expected = torch.zeros(90, 120, dtype=torch.bool)
    expected[max(0, box[1]) : box[3], max(0, box[0]) : box[2]] = True
    assert torch.equal(pasted_mask(torch.ones(28, 28), box, 120, 90), expected)


def test_each_region_is_compared_with_its_own_object() -> None:
    masks = torch.zeros(2, 20, 20, dtype=torch.bool)
    masks[1] = True
    boxes = torch.tensor([[2.0, 2, 12, 12], [2.0, 2, 12, 12]])
    found = mask_targets(
        [masks, masks[:0]], [boxes, boxes[:0]], [torch.tensor([1, 0]), torch.tensor([], dtype=torch.int64)], 4
    )
    assert found.mean(dim=(1, 2)).tolist() == [1, 0]
    assert mask_targets([masks], [boxes[:0]], [torch.tensor([], dtype=torch.int64)], 4).shape == (0, 4, 4)


def direct_giou(one: list[float], other: list[float]) -> float:
    def area(box: list[float]) -> float:
        return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])

    common = area([max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])])
    around = area([min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])])
    union = area(one) + area(other) - common
    return common / union - (around - union) / around


def direct_decoding(box: list[float], deltas: list[float], spread: tuple[float, ...]) -> list[float]:
    width, height = box[2] - box[0], box[3] - box[1]
    dx, dy, dw, dh = (delta * each for delta, each in zip(deltas, spread, strict=True))
    x, y = (box[0] + box[2]) / 2 + dx * width, (box[1] + box[3]) / 2 + dy * height
    width, height = width * math.exp(dw), height * math.exp(dh)
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


LABELS = torch.tensor([2, 0, 1, 2])
BOXES = torch.tensor([[10.0, 10, 40, 50], [0, 0, 9, 9], [5, 30, 25, 60], [50, 50, 90, 70]])
OBJECTS = torch.tensor([[12.0, 8, 44, 49], [0, 0, 0, 0], [5, 30, 25, 60], [60, 40, 90, 80]])


def made(cascade: bool, number: int = 0) -> tuple[Stage, Tensor, Tensor, list[Sampled]]:
    generator = torch.Generator().manual_seed(0)
    stage = Stage(
        (CASCADE if cascade else SINGLE)[number], channels=8, hidden=8, classes=2, cascade=cascade, mmdet_boxes=False
    )
    logits, deltas = torch.randn(4, 3, generator=generator), torch.randn(4, 2, 4, generator=generator)
    matched = torch.tensor([0, 0, 1, 2])
    marked = torch.tensor([False, False, True, False])
    parts = [slice(0, 1), slice(1, 4)]
    return stage, logits, deltas, [Sampled(BOXES[p], LABELS[p], matched[p], OBJECTS[p], marked[p]) for p in parts]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_box_loss_of_a_cascade_is_giou_of_decoded_boxes(number: int) -> None:
    stage, logits, deltas, sampled = made(cascade=True, number=number)
    found_class, found_box = stage.box_losses(logits, deltas, sampled)
    spread = CASCADE[number].spread
    losses = [
        1
        - direct_giou(
            direct_decoding(BOXES[r].tolist(), deltas[r, LABELS[r] - 1].tolist(), spread), OBJECTS[r].tolist()
        )
        for r in (0, 2, 3)
    ]
    assert float(found_box) == pytest.approx(10 * sum(losses) / 4, rel=1e-4)  # a mean over all four regions
    assert float(found_class) == pytest.approx(float(functional.cross_entropy(logits, LABELS)), rel=1e-5)


def test_the_box_loss_of_mask_rcnn_is_l1_of_deltas() -> None:
    stage, logits, deltas, sampled = made(cascade=False)
    losses = 0.0
    for r in (0, 2, 3):
        box, wanted = BOXES[r].tolist(), OBJECTS[r].tolist()
        width, height = box[2] - box[0], box[3] - box[1]
        wide, high = wanted[2] - wanted[0], wanted[3] - wanted[1]
        target = [
            ((wanted[0] + wanted[2]) - (box[0] + box[2])) / 2 / width / 0.1,
            ((wanted[1] + wanted[3]) - (box[1] + box[3])) / 2 / height / 0.1,
            math.log(wide / width) / 0.2,
            math.log(high / height) / 0.2,
        ]
        losses += sum(abs(a - b) for a, b in zip(deltas[r, LABELS[r] - 1].tolist(), target, strict=True))
    assert float(stage.box_losses(logits, deltas, sampled)[1]) == pytest.approx(losses / 4, rel=1e-4)


def test_between_stages_regions_move_by_their_class_and_marked_boxes_go() -> None:
    stage, logits, deltas, sampled = made(cascade=True)
    first, second = _refined(stage, logits, deltas, sampled, [(60, 60), (90, 90)])
    likeliest = int(logits[1, 1:].argmax())
    expected = [(0, int(LABELS[0]) - 1, 60), (1, likeliest, 90), (3, int(LABELS[3]) - 1, 90)]
    for found, (r, label, side) in zip(torch.cat([first, second]), expected, strict=True):
        moved = direct_decoding(BOXES[r].tolist(), deltas[r, label].tolist(), CASCADE[0].spread)
        assert found.tolist() == pytest.approx([min(max(edge, 0), side) for edge in moved], abs=1e-3)


@pytest.mark.parametrize(("number", "positive"), [(0, [0, 1, 2, 4]), (1, [0, 1, 4]), (2, [0, 4])])
def test_every_stage_asks_for_more_overlap_and_sees_the_marked_boxes(number: int, positive: list[int]) -> None:
    """Overlaps of .81, .61 and .51 with the object, one region elsewhere, and the object's own box behind them."""
    stage = made(cascade=True, number=number)[0]
    regions = torch.tensor([[0.0, 0, 100, 81], [0, 0, 100, 61], [0, 0, 100, 51], [200, 200, 250, 250]])
    target = {"boxes": torch.tensor([[0.0, 0, 100, 100]]), "labels": torch.tensor([2])}
    (sampled,) = stage.sample([regions], [target], 100)
    assert torch.where(sampled.labels == 2)[0].tolist() == positive
    assert sampled.marked.tolist() == [False] * 4 + [True]
    assert sampled.boxes.tolist() == [*regions.tolist(), [0, 0, 100, 100]]


def test_a_quarter_at_most_is_drawn_with_an_object() -> None:
    stage = made(cascade=False)[0]
    regions = torch.tensor([[0.0, 0, 10, 10]]).repeat(50, 1)
    regions[25:] += 100
    target = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([1])}
    (sampled,) = stage.sample([regions], [target], 16)
    assert sampled.labels.sum() == 4
    assert len(sampled.labels) == 16
    (without,) = stage.sample(
        [regions], [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}], 16
    )
    assert without.labels.tolist() == [0] * 16


def rpn(inside: bool, beta: float = 0.0) -> ProposalNetwork:
    return ProposalNetwork(8, 8.0, 100, 100, 50, beta=beta, inside=inside, mmdet_boxes=False)


def test_a_cascade_learns_from_anchors_inside_the_picture_alone() -> None:
    anchors = torch.tensor([[0.0, 0, 20, 20], [-1, 0, 19, 20], [30, 30, 50, 50], [40, 20, 61, 40], [0, 25, 20, 40.5]])
    target: dict[str, Any] = {"boxes": torch.tensor([[0.0, 0, 20, 20]]), "size": torch.tensor([40, 60])}
    (labels,), (boxes,) = rpn(inside=True).assign_targets_to_anchors([anchors], [target])
    assert labels.tolist() == [1, -1, -1, -1, -1]
    assert boxes[0].tolist() == [0, 0, 20, 20]
    (labels,), _ = rpn(inside=False).assign_targets_to_anchors([anchors], [target])
    assert labels.tolist() == [1, 1, 0, 0, 0]
    nothing = {"boxes": torch.zeros(0, 4), "size": torch.tensor([1, 1])}
    (labels,), _ = rpn(inside=True).assign_targets_to_anchors([anchors], [nothing])
    assert labels.tolist() == [-1] * 5


@pytest.mark.parametrize("beta", [0.0, 1 / 9])
def test_losses_of_proposals_are_means_over_the_sampled_anchors(beta: float) -> None:
    generator = torch.Generator().manual_seed(1)
    objectness, deltas = torch.randn(6, 1, generator=generator), torch.randn(6, 4, generator=generator)
    labels, targets = torch.tensor([1.0, 0, -1, 1, 0, 0]), torch.randn(6, 4, generator=generator)
    found = rpn(inside=False, beta=beta).compute_loss(
        objectness, deltas, [labels[:3], labels[3:]], [targets[:3], targets[3:]]
    )
    kept = labels >= 0
    cross = functional.binary_cross_entropy_with_logits(objectness[kept, 0], labels[kept])
    gaps = (deltas - targets)[labels == 1].abs()
    boxes = gaps.sum() if beta == 0 else torch.where(gaps < beta, gaps**2 / 2 / beta, gaps - beta / 2).sum()
    assert float(found[0]) == pytest.approx(float(cross), rel=1e-5)
    assert float(found[1]) == pytest.approx(float(boxes) / 5, rel=1e-5)


def test_repetitions_and_unlikely_classes_are_left_out() -> None:
    boxes = torch.tensor([[0.0, 0, 20, 20], [1, 0, 21, 20], [50, 50, 70, 70], [5, 5, 5, 9]])[:, None].repeat(1, 2, 1)
    scores = torch.tensor([[0.9, 0.06], [0.8, 0.04], [0.3, 0.6], [0.7, 0.1]])
    found = best_detections(boxes, scores, (60, 65))
    assert found["scores"].tolist() == pytest.approx([0.9, 0.6, 0.3, 0.06])
    assert found["labels"].tolist() == [1, 2, 1, 2]
    assert found["boxes"].tolist()[1] == [50, 50, 65, 60]
    corners = torch.arange(300.0).view(-1, 1) * 2
    apart = torch.cat([corners, corners, corners + 1, corners + 1], dim=1)[:, None]
    many = best_detections(apart, torch.full((300, 1), 0.5), (700, 700))
    assert len(many["scores"]) == 100


def test_a_count_is_never_zero() -> None:
    assert mean_over_workers(7, torch.device("cpu")) == 7
    assert mean_over_workers(0, torch.device("cpu")) == 1


def test_anchors_stand_at_their_levels_strides_though_the_coarsest_map_is_rounded_up() -> None:
    proposals = ProposalNetwork(8, 8.0, candidates=20, trained=10, tested=10, beta=0.0, inside=False, mmdet_boxes=False)
    sides = (56, 28, 14, 7, 4)  # of an image of 224 pixels
    maps = [torch.zeros(1, 8, side, side) for side in sides]
    (anchors,) = proposals.anchor_generator(ImageList(torch.zeros(1, 3, 224, 224), [(224, 224)]), maps)
    coarsest = anchors.split([3 * side**2 for side in sides])[-1]
    centres = (coarsest[:, :2] + coarsest[:, 2:]) / 2
    assert centres[:, 0].unique().tolist() == centres[:, 1].unique().tolist() == [0, 64, 128, 192]
