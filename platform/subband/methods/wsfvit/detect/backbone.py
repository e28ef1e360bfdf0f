"""WSF-ViT with a feature pyramid: images to maps of one width at five strides."""

from __future__ import annotations

from collections import OrderedDict

import timm
import torch
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from subband.methods.wsfvit import WSFViTFeatures
from subband.methods.wsfvit.detect.params import WSFViTDetectionParams

LEVELS = ("0", "1", "2", "3")
STRIDES = (4, 8, 16, 32)


class Pyramid(nn.Module):
    """Stages of WSF-ViT, each behind a layer normalisation of its own, and a feature pyramid on them (Lin et al., CVPR 2017).

    Args:
        body: gives four maps.
        channels: of the pyramid.

    Attributes:
        out_channels: of the pyramid.
    """

    def __init__(self, body: WSFViTFeatures, channels: int) -> None:
        super().__init__()
        self.body = body
        self.out_channels = channels
        self.fpn = FeaturePyramidNetwork(list(body.architecture.widths), channels, extra_blocks=LastLevelMaxPool())

    def forward(self, images_B3HW: Tensor) -> dict[str, Tensor]:
        """Maps by level: ``0`` to ``3`` at strides 4 to 32, and ``pool``, every second value of the last."""
        maps: dict[str, Tensor] = self.fpn(OrderedDict(zip(LEVELS, self.body(images_B3HW), strict=True)))
        return maps


def make_body(params: WSFViTDetectionParams, seed: int) -> WSFViTFeatures:
    """The backbone with random weights; the global random generators are left as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        body = timm.create_model(
            f"wsfvit_{params.variant}_224",
            features_only=True,
            window=params.window,
            drop_path_rate=params.drop_path,
            output_norms=True,
            frozen_batch_norm=params.frozen_statistics,
        )
    assert isinstance(body, WSFViTFeatures)
    return body
