"""The frequency encoder: a random, never trained network that turns the guidance into gates (specification 2.3).

Shapes: N images, a feature grid of h x w cells, C2 and C3 channels of the backbone's layer2 and layer3.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from subband.errors import ParamsError

LAYER2_CHANNELS, LAYER3_CHANNELS = 512, 1024  # of resnet50, the published backbone
HIDDEN_CHANNELS = 64


class Gates(NamedTuple):
    """Factors of the two feature levels on one grid.

    Attributes:
        layer2: (N, C2, h, w) in [1.5, 2).
        layer3: (N, C3, h, w) in (1, 2).
    """

    layer2: Tensor
    layer3: Tensor


class FrequencyEncoder(nn.Module):
    """Two convolutions and a projection, under the published parameter names; frozen, in eval mode.

    Args:
        layer2_channels: C2.
        layer3_channels: C3.
    """

    def __init__(self, layer2_channels: int = LAYER2_CHANNELS, layer3_channels: int = LAYER3_CHANNELS) -> None:
        super().__init__()
        self.channels = (layer2_channels, layer3_channels)
        self.freq_encoder = nn.Sequential(
            nn.Conv2d(1, HIDDEN_CHANNELS, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(HIDDEN_CHANNELS, layer2_channels, 3, padding=1),
            nn.ReLU(),
        )
        self.proj_to_f3 = nn.Conv2d(layer2_channels, layer3_channels, 1, bias=False)
        self.eval().requires_grad_(False)

    def forward(self, guidance_N1hw: Tensor) -> Gates:
        """Gates of the guidance (N, 1, h, w)."""
        hidden = self.freq_encoder[:2](guidance_N1hw)
        # The gates follow the layout of their input; with channels last all that uses them is several times faster.
        answers = self.freq_encoder[2:](hidden.contiguous(memory_format=torch.channels_last))
        return Gates(1 + answers.sigmoid(), 1 + self.proj_to_f3(answers).sigmoid())


def make_encoder(
    seed: int,
    layer2_channels: int = LAYER2_CHANNELS,
    layer3_channels: int = LAYER3_CHANNELS,
    reference: bool = False,
) -> FrequencyEncoder:
    """The encoder of a seed, with torch's default convolution initialisation; the global generator is left as it was.

    Args:
        seed: a whole number from 0 to 2^63 - 1.
        layer2_channels: C2.
        layer3_channels: C3.
        reference: draw the generator as the published code does after ``torch.manual_seed(seed)``: a gray convolution and a
            whole ResNet-50 come first. The bits are then those of the published network.

    Raises:
        ParamsError: seed out of range.
    """
    if not 0 <= seed < 2**63:
        raise ParamsError(f"encoder seed is {seed}; it must be a whole number from 0 to 2^63 - 1")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if reference:
            _draw_what_comes_before()
        return FrequencyEncoder(layer2_channels, layer3_channels)


def _draw_what_comes_before() -> None:
    from torchvision.models import resnet50

    nn.Conv2d(3, 1, 1, bias=False)
    resnet50(weights=None)
