"""Region proposals (Ren et al., NeurIPS 2015): torchvision's network, with the losses and anchors of the published detectors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

from subband.methods.wsfvit.detect.backbone import STRIDES
from subband.methods.wsfvit.detect.box_coding import SymmetricCoder
from subband.methods.wsfvit.detect.matching import ObjectMatcher, mean_over_workers

RATIOS = (0.5, 1.0, 2.0)
SAMPLED_ANCHORS = 256
LEVEL_STRIDES = (*STRIDES, 2 * STRIDES[-1])


class PreciseAnchors(AnchorGenerator):  # type: ignore[misc]  # torchvision has no types
    """Anchors at the pyramid's strides and in float32, also for maps of half precision, whose dtype torchvision's would have.

    torchvision divides the image's side by the map's: of the coarsest map, whose side is rounded up, that gives 62 instead of 64
    for 1120 pixels, so that anchors and what the map sees would drift apart.
    """

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """(A, 4) of each image; of the maps only their sizes matter."""
        return super().forward(image_list, [maps[:1, :1].float() for maps in feature_maps])  # type: ignore[no-any-return]

    def grid_anchors(self, grid_sizes: list[list[int]], strides: list[list[Tensor]]) -> list[Tensor]:
        """(A, 4) of each level; the strides that were guessed are left aside."""
        return super().grid_anchors(grid_sizes, [[stride, stride] for stride in LEVEL_STRIDES])  # type: ignore[no-any-return]


def exact_anchors(side: float) -> Tensor:
    """Boxes (3, 4) around the origin, of area `side` squared and the heights per width in `RATIOS`, unrounded as in mmdetection."""
    roots_A = torch.tensor(RATIOS).sqrt()
    halves_A2 = torch.stack([side / roots_A, side * roots_A], dim=1) / 2
    return torch.cat([-halves_A2, halves_A2], dim=1)


class PreciseHead(RPNHead):  # type: ignore[misc]
    """torchvision's head with float32 answers: in bfloat16 a box of 1000 pixels could only move in steps of four."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Objectness (B, 3, H, W) and box deltas (B, 12, H, W) of each level."""
        objectness, deltas = super().forward(x)
        return [each.float() for each in objectness], [each.float() for each in deltas]


class ProposalNetwork(RegionProposalNetwork):  # type: ignore[misc]  # torchvision has no types
    """Objectness and boxes at every place of a pyramid.

    Args:
        channels: of the pyramid.
        anchor_scale: side of the anchors in units of their level's stride.
        candidates: regions of each level that are left before suppression in training; in evaluation as many as are given.
        trained: regions of an image that are given in training.
        tested: the same in evaluation.
        beta: of the smooth L1 loss of boxes; 0 is L1.
        inside: whether only anchors that lie in their image are learnt from.
        mmdet_boxes: whether anchors are not rounded, and boxes are decoded, as in mmdetection.
    """

    def __init__(
        self,
        channels: int,
        anchor_scale: float,
        candidates: int,
        trained: int,
        tested: int,
        beta: float,
        inside: bool,
        mmdet_boxes: bool,
    ) -> None:
        sides = tuple((round(anchor_scale * stride),) for stride in LEVEL_STRIDES)
        anchors = PreciseAnchors(sides, (RATIOS,) * len(sides))
        if mmdet_boxes:
            anchors.cell_anchors = [exact_anchors(anchor_scale * stride) for stride in LEVEL_STRIDES]
        super().__init__(
            anchors,
            PreciseHead(channels, len(RATIOS)),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=SAMPLED_ANCHORS,
            positive_fraction=0.5,
            pre_nms_top_n={"training": candidates, "testing": tested},
            post_nms_top_n={"training": trained, "testing": tested},
            nms_thresh=0.7,
        )
        if mmdet_boxes:
            self.box_coder = SymmetricCoder((1.0, 1.0, 1.0, 1.0))
        self.proposal_matcher = ObjectMatcher(0.7, 0.3, floor=0.3)
        self.beta, self.inside = beta, inside

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Labels (A,) of each image's anchors (1 object, 0 background, -1 not learnt from) and boxes (A, 4) of their objects.

        Args:
            anchors: (A, 4) each.
            targets: ``boxes`` (M, 4) and ``size``, height and width of the image without its padding.
        """
        if not self.inside:
            return super().assign_targets_to_anchors(anchors, targets)  # type: ignore[no-any-return]
        labels, boxes = [], []
        for anchors_A4, target in zip(anchors, targets, strict=True):
            height, width = target["size"].tolist()
            limit = anchors_A4.new_tensor([width, height])
            within = ((anchors_A4[:, :2] >= 0) & (anchors_A4[:, 2:] < limit)).all(dim=1)
            labels.append(anchors_A4.new_full((len(anchors_A4),), -1.0))
            boxes.append(torch.zeros_like(anchors_A4))
            if within.any():
                (found,), (matched,) = super().assign_targets_to_anchors([anchors_A4[within]], [target])
                labels[-1][within], boxes[-1][within] = found, matched
        return labels, boxes

    def compute_loss(
        self, objectness: Tensor, pred_bbox_deltas: Tensor, labels: list[Tensor], regression_targets: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy of objectness and (smooth) L1 of boxes, both a mean over the sampled anchors of all workers."""
        positive, negative = (torch.where(torch.cat(masks))[0] for masks in self.fg_bg_sampler(labels))
        sampled = torch.cat([positive, negative])
        count = mean_over_workers(len(sampled), objectness.device)
        box_loss = functional.smooth_l1_loss(
            pred_bbox_deltas[positive], torch.cat(regression_targets)[positive], beta=self.beta, reduction="sum"
        )
        object_loss = functional.binary_cross_entropy_with_logits(
            objectness.flatten()[sampled], torch.cat(labels)[sampled], reduction="sum"
        )
        return object_loss / count, box_loss / count
