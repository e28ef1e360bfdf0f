"""MBConv of WSF-ViT: a pre-normalised inverted bottleneck with squeeze-and-excitation (section 4.1 of the specification).

Shapes: B pictures, C channels, H x W cells; maps are NCHW, channels last in memory.
"""

from __future__ import annotations

from typing import Literal

from timm.layers import DropPath, SqueezeExcite
from torch import Tensor, nn
from torch.nn import functional

Gelu = Literal["tanh", "none"]
"""GELU by torch's names: ``tanh`` its approximation, ``none`` the exact function."""

Padding = Literal["same", "symmetric"]
"""Where a strided 3x3 convolution is padded: as TensorFlow does (0 before and 1 after an even side), or 1 at both ends."""


def same_conv(maps: Tensor, conv: nn.Conv2d) -> Tensor:
    """A 3x3 convolution of stride 1 or 2 with TensorFlow's "same" padding; the layer's own padding is not read.

    With stride 2 an even side is padded by 0 before and 1 after it. Instead of copying the map into a larger one, the convolution
    pads 2 at both ends, which shifts its grid by one cell, and the first row or column is left out of the (smaller) result.
    """
    even = [conv.stride[0] == 2 and side % 2 == 0 for side in maps.shape[2:]]
    pads = [2 if each else 1 for each in even]
    out = functional.conv2d(maps, conv.weight, conv.bias, conv.stride, pads, conv.dilation, conv.groups)
    return out[:, :, int(even[0]) :, int(even[1]) :]


class Shortcut(nn.Module):
    """The residual path of a block that changes size: 2x2 mean, and a 1x1 convolution if the channels change.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        stride: 1 or 2.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.expand = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        pooled = functional.avg_pool2d(maps, 2, ceil_mode=True) if self.stride == 2 else maps
        out: Tensor = self.expand(pooled)
        return out


class MBConv(nn.Module):
    """Inverted bottleneck: norm, expand, depthwise 3x3, squeeze-and-excitation, project; added to the shortcut.

    Args:
        inputs: channels that come in.
        outputs: channels that go out; the bottleneck is four times as wide, the squeeze a quarter.
        stride: 1 or 2.
        gelu: which GELU.
        eps: of the batch normalisations.
        padding: of the depthwise convolution.
        drop_path: rate of stochastic depth.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int = 1,
        gelu: Gelu = "tanh",
        eps: float = 1e-3,
        padding: Padding = "same",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        middle = 4 * outputs
        self.gelu: Gelu = gelu
        self.padding: Padding = padding
        identity = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if identity else Shortcut(inputs, outputs, stride)
        self.pre_norm = nn.BatchNorm2d(inputs, eps)
        self.conv1_1x1 = nn.Conv2d(inputs, middle, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(middle, eps)
        self.conv2_kxk = nn.Conv2d(middle, middle, 3, stride, padding=1, groups=middle, bias=False)
        self.norm2 = nn.BatchNorm2d(middle, eps)
        self.se = SqueezeExcite(middle, rd_channels=outputs // 4, act_layer=nn.SiLU)
        self.conv3_1x1 = nn.Conv2d(middle, outputs, 1)
        self.drop_path = DropPath(drop_path)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        out = self.norm1(self.conv1_1x1(self.pre_norm(maps)))
        out = functional.gelu(out, approximate=self.gelu)
        out = self.conv2_kxk(out) if self.padding == "symmetric" else same_conv(out, self.conv2_kxk)
        out = functional.gelu(self.norm2(out), approximate=self.gelu)
        out = self.drop_path(self.conv3_1x1(self.se(out)))
        shortened: Tensor = out + self.shortcut(maps)
        return shortened
