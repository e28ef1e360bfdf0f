"""The second part of a detector: stages that classify, move and mask regions (Cai and Vasconcelos, CVPR 2018).

Mask R-CNN is a cascade of one stage. Labels are 0 for background and 1 to K for the classes.
Shapes: B images, R regions, M objects, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image, generalized_box_iou_loss

from subband.methods.wsfvit.detect.box_coding import SymmetricCoder
from subband.methods.wsfvit.detect.heads import BOX_SIDE, MASK_SIDE, BoxHead, mask_head
from subband.methods.wsfvit.detect.matching import ObjectMatcher, mean_over_workers
from subband.methods.wsfvit.detect.pooling import mask_targets, pooled_regions

SUPPRESSION_IOU, LOWEST_SCORE, MOST_DETECTIONS = 0.5, 0.05, 100
POSITIVE_SHARE = 0.25
GIOU_WEIGHT = 10.0

Maps = Mapping[str, Tensor]
Targets = Sequence[Mapping[str, Tensor]]


@dataclass(frozen=True)
class StageKind:
    """What tells one stage from another.

    Attributes:
        iou: from which a region belongs to an object.
        spread: standard deviations that box deltas are divided by.
        weight: of its losses.
        low_quality: whether an object also gets the region that overlaps it most, if by `iou`.
    """

    iou: float
    spread: tuple[float, float, float, float]
    weight: float
    low_quality: bool


SINGLE = (StageKind(0.5, (0.1, 0.1, 0.2, 0.2), 1.0, True),)
CASCADE = (
    StageKind(0.5, (0.1, 0.1, 0.2, 0.2), 1.0, False),
    StageKind(0.6, (0.05, 0.05, 0.1, 0.1), 0.5, False),
    StageKind(0.7, (0.033, 0.033, 0.067, 0.067), 0.25, False),
)


@dataclass(frozen=True)
class Sampled:
    """Regions of one image that a stage learns from.

    Attributes:
        boxes: (R, 4).
        labels: (R,), 0 for background.
        matched: (R,) place of each region's object; 0 for background.
        objects: (R, 4) box of that object; zeros where the image has none.
        marked: (R,) whether a region is an object's own box.
    """

    boxes: Tensor
    labels: Tensor
    matched: Tensor
    objects: Tensor
    marked: Tensor


class Stage(nn.Module):
    """One stage with its heads.

    Args:
        kind: of stage.
        channels: of the pyramid.
        hidden: width of the box head.
        classes: K.
        cascade: whether its box head is convolutional and its box loss GIoU, instead of linear and L1.
        mmdet_boxes: whether boxes are decoded as in mmdetection.
    """

    def __init__(
        self, kind: StageKind, channels: int, hidden: int, classes: int, cascade: bool, mmdet_boxes: bool
    ) -> None:
        super().__init__()
        self.kind, self.cascade = kind, cascade
        self.boxes = BoxHead(channels, hidden, classes, convolutional=cascade)
        self.masks = mask_head(channels, classes)
        a, b, c, d = (1 / spread for spread in kind.spread)
        self.coder = (SymmetricCoder if mmdet_boxes else BoxCoder)((a, b, c, d))
        self.matcher = ObjectMatcher(kind.iou, kind.iou, floor=kind.iou if kind.low_quality else None)

    def sample(self, proposals: Sequence[Tensor], targets: Targets, regions: int) -> list[Sampled]:
        """Match regions and the objects' own boxes with objects, and draw some of each kind.

        Args:
            proposals: of each image, (R, 4).
            targets: ``boxes`` (M, 4) and ``labels`` (M,), from 1.
            regions: number that is drawn from each image, at most.
        """
        sampler = BalancedPositiveNegativeSampler(regions, POSITIVE_SHARE)
        drawn = []
        for proposals_R4, target in zip(proposals, targets, strict=True):
            objects_M4 = target["boxes"]
            boxes = torch.cat([proposals_R4, objects_M4])
            marked = torch.arange(len(boxes), device=boxes.device) >= len(proposals_R4)
            if len(objects_M4):
                found = self.matcher(box_iou(objects_M4, boxes))
                matched = found.clamp(min=0)
                labels = torch.where(found >= 0, target["labels"][matched], 0)
                objects = objects_M4[matched]
            else:
                matched = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
                labels, objects = torch.zeros_like(matched), torch.zeros_like(boxes)
            (positive,), (negative,) = sampler([labels])
            kept = torch.where(positive | negative)[0]
            drawn.append(Sampled(boxes[kept], labels[kept], matched[kept], objects[kept], marked[kept]))
        return drawn

    def box_losses(self, logits: Tensor, deltas: Tensor, sampled: Sequence[Sampled]) -> tuple[Tensor, Tensor]:
        """Cross-entropy of classes and the box loss, both a mean over the sampled regions of all workers.

        Args:
            logits: (R, 1 + K), all images one after the other.
            deltas: (R, K, 4).
            sampled: of each image.
        """
        labels = torch.cat([each.labels for each in sampled])
        count = mean_over_workers(len(labels), logits.device)
        class_loss = functional.cross_entropy(logits, labels, reduction="sum") / count
        positive = torch.where(labels > 0)[0]
        own = deltas[positive, labels[positive] - 1]
        boxes = torch.cat([each.boxes for each in sampled])[positive]
        objects = torch.cat([each.objects for each in sampled])[positive]
        if self.cascade:
            decoded = self.coder.decode_single(own, boxes).reshape(-1, 4)
            box_loss = GIOU_WEIGHT * generalized_box_iou_loss(decoded, objects, reduction="sum")
        else:
            box_loss = functional.l1_loss(own, self.coder.encode_single(objects, boxes), reduction="sum")
        return class_loss, box_loss / count

    def mask_loss(self, maps: Maps, sampled: Sequence[Sampled], targets: Targets) -> Tensor:
        """Cross-entropy of the masks of regions with an object, a mean over those of all workers."""
        positive = [torch.where(each.labels > 0)[0] for each in sampled]
        boxes = [each.boxes[chosen] for each, chosen in zip(sampled, positive, strict=True)]
        logits = self.masks(pooled_regions(maps, boxes, MASK_SIDE)).float()
        labels = torch.cat([each.labels[chosen] for each, chosen in zip(sampled, positive, strict=True)])
        matched = [each.matched[chosen] for each, chosen in zip(sampled, positive, strict=True)]
        wanted = mask_targets([target["masks"] for target in targets], boxes, matched, logits.shape[-1])
        own = logits[torch.arange(len(labels), device=labels.device), labels - 1]
        count = mean_over_workers(len(labels), logits.device) * logits.shape[-1] ** 2
        loss: Tensor = functional.binary_cross_entropy_with_logits(own, wanted, reduction="sum") / count
        return loss

    def moved(self, deltas: Tensor, classes: Tensor, boxes: Tensor) -> Tensor:
        """Regions (R, 4) moved by the deltas (R, K, 4) of their classes (R,), from 0."""
        own = deltas[torch.arange(len(classes), device=classes.device), classes]
        moved: Tensor = self.coder.decode_single(own, boxes).reshape(-1, 4)
        return moved


class RegionHeads(nn.Module):
    """All stages.

    Args:
        kinds: of the stages, in order.
        channels: of the pyramid.
        hidden: width of the box heads.
        classes: K.
        regions: of an image that each stage learns from.
        mmdet_boxes: whether boxes are decoded as in mmdetection.
    """

    def __init__(
        self, kinds: Sequence[StageKind], channels: int, hidden: int, classes: int, regions: int, mmdet_boxes: bool
    ) -> None:
        super().__init__()
        self.regions = regions
        self.stages = nn.ModuleList(
            Stage(kind, channels, hidden, classes, len(kinds) > 1, mmdet_boxes) for kind in kinds
        )

    def losses(
        self, maps: Maps, proposals: Sequence[Tensor], sizes: Sequence[tuple[int, int]], targets: Targets
    ) -> dict[str, Tensor]:
        """Weighted losses by name.

        Args:
            maps: of the pyramid.
            proposals: of each image, (R, 4).
            sizes: height and width of each image without its padding.
            targets: ``boxes`` (M, 4), ``labels`` (M,) from 1 and ``masks`` (M, H, W) of each image.
        """
        losses: dict[str, Tensor] = {}
        for number, stage in enumerate(cast("Sequence[Stage]", self.stages), 1):
            with torch.no_grad():
                sampled = stage.sample(proposals, targets, self.regions)
            logits, deltas = stage.boxes(pooled_regions(maps, [each.boxes for each in sampled], BOX_SIDE))
            classes, boxes = stage.box_losses(logits, deltas, sampled)
            masks = stage.mask_loss(maps, sampled, targets)
            for name, loss in (("class", classes), ("box", boxes), ("mask", masks)):
                losses[f"{name}_{number}"] = stage.kind.weight * loss
            if number < len(self.stages):
                with torch.no_grad():
                    proposals = _refined(stage, logits, deltas, sampled, sizes)
        return losses

    def detect(
        self, maps: Maps, proposals: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        """Detections of each image: ``boxes`` (N, 4), ``labels`` (N,) from 1, ``scores`` (N,), ``masks`` (N, 28, 28); best first.

        Logits of classes and probabilities of masks are means over the stages, boxes are of the last one.
        """
        boxes, all_logits = list(proposals), []
        counts = [len(each) for each in proposals]
        for number, stage in enumerate(cast("Sequence[Stage]", self.stages), 1):
            logits, deltas = stage.boxes(pooled_regions(maps, boxes, BOX_SIDE))
            all_logits.append(logits)
            if number < len(self.stages):
                moved = stage.moved(deltas, logits[:, 1:].argmax(dim=1), torch.cat(boxes))
                boxes = [clip_boxes_to_image(each, size) for each, size in zip(moved.split(counts), sizes, strict=True)]
        # A region has one box for every class.
        regions = torch.cat(boxes)
        spread = regions[:, None].expand(-1, deltas.shape[1], -1).reshape(-1, 4)
        moved_RK4 = stage.coder.decode_single(deltas.reshape(-1, 4), spread).reshape(deltas.shape)
        scores_RK = torch.stack(all_logits).mean(dim=0).softmax(dim=1)[:, 1:]
        found = [
            best_detections(moved, scores, size)
            for moved, scores, size in zip(moved_RK4.split(counts), scores_RK.split(counts), sizes, strict=True)
        ]
        self._add_masks(maps, found)
        return found

    def _add_masks(self, maps: Maps, found: list[dict[str, Tensor]]) -> None:
        regions = pooled_regions(maps, [each["boxes"] for each in found], MASK_SIDE)
        labels = torch.cat([each["labels"] for each in found])
        rows = torch.arange(len(labels), device=labels.device)
        stages = cast("Sequence[Stage]", self.stages)
        masks = torch.stack([stage.masks(regions).float().sigmoid()[rows, labels - 1] for stage in stages])
        counts = [len(each["labels"]) for each in found]
        for each, own in zip(found, masks.mean(dim=0).split(counts), strict=True):
            each["masks"] = own


def best_detections(boxes_RK4: Tensor, scores_RK: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    """Of all regions and classes of an image, what is likely enough and no repetition of something likelier.

    Args:
        boxes_RK4: one box of each region for each class.
        scores_RK: probabilities.
        size: height and width of the image.

    Returns:
        ``boxes`` (N, 4), ``labels`` (N,) from 1 and ``scores`` (N,), best first, at most 100.
    """
    rows, classes = torch.where(scores_RK > LOWEST_SCORE)
    boxes, scores = clip_boxes_to_image(boxes_RK4[rows, classes], size), scores_RK[rows, classes]
    solid = torch.where((boxes[:, 2:] - boxes[:, :2] > 1e-2).all(dim=1))[0]
    boxes, scores, labels = boxes[solid], scores[solid], classes[solid] + 1
    kept = batched_nms(boxes, scores, labels, SUPPRESSION_IOU)[:MOST_DETECTIONS]
    return {"boxes": boxes[kept], "labels": labels[kept], "scores": scores[kept]}


def _refined(
    stage: Stage, logits: Tensor, deltas: Tensor, sampled: Sequence[Sampled], sizes: Sequence[tuple[int, int]]
) -> list[Tensor]:
    """Regions for the next stage: moved by their object's class, or the likeliest one; objects' own boxes are gone."""
    labels = torch.cat([each.labels for each in sampled])
    classes = torch.where(labels > 0, labels - 1, logits[:, 1:].argmax(dim=1))
    moved = stage.moved(deltas, classes, torch.cat([each.boxes for each in sampled]))
    parts = moved.split([len(each.labels) for each in sampled])
    return [
        clip_boxes_to_image(part, size)[~each.marked] for part, each, size in zip(parts, sampled, sizes, strict=True)
    ]
