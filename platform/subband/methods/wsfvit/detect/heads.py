"""What one stage of a detector computes: classes and boxes of regions, and their masks.

Shapes: R regions, K classes, C channels.
"""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

BOX_SIDE, MASK_SIDE = 7, 14
CONVOLUTIONS = 4


class BoxHead(nn.Module):
    """Classes and boxes of regions.

    Args:
        channels: C.
        hidden: width of the linear layers.
        classes: K.
        convolutional: four normalised convolutions and one linear layer (Cascade), instead of two linear layers (Mask R-CNN).
    """

    def __init__(self, channels: int, hidden: int, classes: int, convolutional: bool) -> None:
        super().__init__()
        if convolutional:
            self.features: nn.Module = FastRCNNConvFCHead(
                (channels, BOX_SIDE, BOX_SIDE), [channels] * CONVOLUTIONS, [hidden], norm_layer=nn.BatchNorm2d
            )
        else:
            self.features = TwoMLPHead(channels * BOX_SIDE**2, hidden)
        # The background has a logit, but neither a box nor a mask: torchvision's predictors would give it both.
        self.classify, self.locate = nn.Linear(hidden, 1 + classes), nn.Linear(hidden, 4 * classes)
        for layer in self.features.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        for layer, spread in ((self.classify, 0.01), (self.locate, 0.001)):
            nn.init.normal_(layer.weight, std=spread)
            nn.init.zeros_(layer.bias)

    def forward(self, regions_RCSS: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (R, 1 + K), the background first, and box deltas (R, K, 4); both float32."""
        hidden = self.features(regions_RCSS)
        return self.classify(hidden).float(), self.locate(hidden).float().unflatten(1, (-1, 4))


def mask_head(channels: int, classes: int) -> nn.Sequential:
    """Regions (R, C, 14, 14) to logits of masks (R, K, 28, 28)."""
    return nn.Sequential(
        MaskRCNNHeads(channels, [channels] * CONVOLUTIONS, 1), MaskRCNNPredictor(channels, channels, classes)
    )
