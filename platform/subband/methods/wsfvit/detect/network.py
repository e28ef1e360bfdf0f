"""The whole detector: images of any sizes to losses or detections."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from subband.methods.wsfvit import WSFViTFeatures
from subband.methods.wsfvit.detect.backbone import Pyramid
from subband.methods.wsfvit.detect.params import WSFViTDetectionParams
from subband.methods.wsfvit.detect.proposals import ProposalNetwork
from subband.methods.wsfvit.detect.roi_heads import CASCADE, SINGLE, RegionHeads
from subband.nn.backbone_specs import IMAGENET_MEAN, IMAGENET_STD

SMOOTH_L1 = 1 / 9


class DetectionNetwork(nn.Module):
    """Mask R-CNN (He et al., ICCV 2017) or Cascade Mask R-CNN (Cai and Vasconcelos, TPAMI 2019), as published with WSF-ViT.

    Args:
        params: of the method.
        body: the backbone, whose modules it takes over.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, params: WSFViTDetectionParams, body: WSFViTFeatures) -> None:
        super().__init__()
        cascade = params.kind == "cascade"
        self.unit = params.unit
        self.backbone = Pyramid(body, params.channels)
        self.rpn = ProposalNetwork(
            params.channels,
            params.anchor_scale,
            params.candidates,
            trained=params.proposals * (2 if cascade else 1),
            tested=params.proposals,
            beta=SMOOTH_L1 if cascade else 0.0,
            inside=cascade,
            mmdet_boxes=params.mmdet_boxes,
        )
        kinds = CASCADE if cascade else SINGLE
        self.heads = RegionHeads(
            kinds, params.channels, params.hidden, len(params.classes), params.sampled_regions, params.mmdet_boxes
        )
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute the backbone's activations again in the backward pass, or keep them."""
        self.backbone.body.set_grad_checkpointing(enable)

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training, detections in evaluation.

        Args:
            images: of each image uint8 (3, H, W), on the network's device.
            targets: in training, of each image ``boxes`` float32 (M, 4), ``labels`` int64 (M,) from 0, and ``masks`` bool
                (M, H, W).

        Returns:
            In training weighted losses by name, each a float32 scalar, whose sum is to be minimised. In evaluation, for each
            image ``boxes`` (N, 4) in its pixels, ``labels`` (N,) from 0, ``scores`` (N,) and ``masks`` (N, 28, 28),
            probabilities in the box; best first, at most 100, with scores above 0.05.
        """
        batch = self._batched(images)
        maps = self.backbone(batch.tensors)
        if targets is None:
            proposals, _ = self.rpn(batch, maps)
            found = self.heads.detect(maps, proposals, batch.image_sizes)
            return [{**each, "labels": each["labels"] - 1} for each in found]
        prepared = [
            {**target, "labels": target["labels"] + 1, "size": torch.tensor(size)}
            for target, size in zip(targets, batch.image_sizes, strict=True)
        ]
        proposals, losses = self.rpn(batch, maps, prepared)
        named = {"objectness": losses["loss_objectness"], "proposal_box": losses["loss_rpn_box_reg"]}
        return named | self.heads.losses(maps, proposals, batch.image_sizes, prepared)

    def padded_size(self, images: Sequence[Tensor]) -> tuple[int, int]:
        """Height and width to which images (3, H, W) are padded together: the next that the backbone's windows divide."""
        height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
        return math.ceil(height / self.unit) * self.unit, math.ceil(width / self.unit) * self.unit

    def _batched(self, images: Sequence[Tensor]) -> ImageList:
        """Normalised and padded with zeros, right and below."""
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        height, width = self.padded_size(images)
        batch = torch.zeros((len(images), 3, height, width), device=self.mean.device)
        for place, image in enumerate(images):
            batch[place, :, : image.shape[1], : image.shape[2]] = (image.float() / 255 - self.mean) / self.std
        return ImageList(batch, sizes)
