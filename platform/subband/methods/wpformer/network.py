"""WPFormer (Yan et al., CVPR 2025, pp. 23860-23869): images to maps of logits.

Everything that the published model builds and never uses is left out; `checkpoint` reads its weights all the same.

Shapes: B images of H x W pixels, Q queries, C channels; P = 5 predictions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from subband.errors import DataError
from subband.methods.wpformer.dual_domain import DualDomainStage
from subband.methods.wpformer.heads import SegmentationHead
from subband.methods.wpformer.pyramid import Pyramid
from subband.methods.wpformer.query_decoder import QueryDecoder
from subband.nn.backbone_specs import IMAGENET_MEAN, IMAGENET_STD

QUERIES = 16
STAGES = 3
PREDICTIONS = 5
SMALLEST_SIDE = 33  # two cells of the map at stride 32, which the wavelet step halves


class WPFormer(nn.Module):
    """The network.

    Args:
        backbone: timm's PVTv2 without classifier.
        channels: C, a multiple of 8; published are 64 and 128.
        wavelet: whether the stages have wavelet attention (ablation).
        prototypes: whether the stages have prototype attention (ablation).
        dropout: in the initial query decoder, in training.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: Any, channels: int, wavelet: bool = True, prototypes: bool = True, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pyramid = Pyramid([stage["num_chs"] for stage in backbone.feature_info], channels)
        self.queries = nn.Parameter(torch.randn(QUERIES, channels))
        reads_levels = wavelet or prototypes
        self.levels = nn.Parameter(torch.randn(STAGES, channels)) if reads_levels else None
        self.decoder = QueryDecoder(channels, dropout)
        self.stages = nn.ModuleList(DualDomainStage(channels, QUERIES, wavelet, prototypes) for _ in range(STAGES))
        self.heads = nn.ModuleList(SegmentationHead(channels) for _ in range(STAGES + 1))
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute the activations of the backbone's blocks again in the backward pass, or keep them."""
        self.backbone.set_grad_checkpointing(enable)

    def forward(self, images: Tensor, final_only: bool = False) -> Tensor:
        """Logits of images.

        Args:
            images: (B, 3, H, W) in [0, 1], each side at least 33 pixels; they need not be square.
            final_only: compute the last prediction alone.

        Returns:
            (B, 5, H, W), or (B, 1, H, W), float32: the predictions of the initial queries and of the three stages, and the sum
            of the stages' predictions, which is the final mask's.

        Raises:
            DataError: a side below 33 pixels.
        """
        return self.logits((images - self.mean) / self.std, final_only)

    def logits(self, normalised_B3HW: Tensor, final_only: bool = False) -> Tensor:
        """As `forward`, of images that are normalised already."""
        height, width = normalised_B3HW.shape[2:]
        if min(height, width) < SMALLEST_SIDE:
            raise DataError(
                f"images of {height} x {width} pixels are too small: each side must have at least {SMALLEST_SIDE} pixels"
            )
        maps = self.backbone.forward_intermediates(normalised_B3HW, intermediates_only=True)
        levels, pixels = self.pyramid(maps)
        queries = self.decoder(pixels, self.queries)
        predictions = [] if final_only else [self.heads[0](queries, pixels)]
        embeddings = (None,) * STAGES if self.levels is None else self.levels.unbind()
        for stage, head, level, embedding in zip(self.stages, self.heads[1:], levels, embeddings, strict=True):
            queries = stage(queries, self.queries, level, embedding)
            predictions.append(head(queries, pixels))
        final = predictions[-3] + predictions[-2] + predictions[-1]
        joined = final[:, None] if final_only else torch.stack([*predictions, final], dim=1)
        return functional.interpolate(joined, (height, width), mode="bilinear", align_corners=False)
