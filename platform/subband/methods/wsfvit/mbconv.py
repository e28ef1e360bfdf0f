"""MBConv of WSF-ViT: a pre-normalised inverted bottleneck with squeeze-and-excitation (section 4.1 of the specification).

Shapes: B images, C channels, H x W cells; maps are NCHW, channels last in memory.
"""

from __future__ import annotations

from typing import Literal

import torch
from timm.layers import DropPath, SqueezeExcite
from torch import Tensor, nn
from torch.nn import functional

from subband.methods.wsfvit.gelu import Kind, gelu

Padding = Literal["same", "symmetric"]
"""Where a strided 3x3 convolution is padded: as TensorFlow does (0 before and 1 after an even side), or 1 at both ends."""


def same_conv(maps: Tensor, weight: Tensor, bias: Tensor | None, stride: int, groups: int = 1) -> Tensor:
    """A 3x3 convolution of stride 1 or 2 with TensorFlow's "same" padding.

    With stride 2 an even side is padded by 0 before and 1 after it, which torch's convolution cannot. In training the map is copied
    into a larger one. In inference the convolution pads 2 at both ends, which moves its grid by one cell, and the first row or
    column of the (smaller) result is left out; backwards that would cost more than the copy.
    """
    even = [stride == 2 and side % 2 == 0 for side in maps.shape[2:]]
    if not any(even):
        return functional.conv2d(maps, weight, bias, stride, padding=1, groups=groups)
    if torch.is_grad_enabled():
        (top, left), after = (0 if each else 1 for each in even), 1
        return functional.conv2d(functional.pad(maps, (left, after, top, after)), weight, bias, stride, groups=groups)
    out = functional.conv2d(maps, weight, bias, stride, [2 if each else 1 for each in even], groups=groups)
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
        kind: which GELU.
        eps: of the batch normalisations.
        padding: of the depthwise convolution.
        drop_path: rate of stochastic depth.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int = 1,
        kind: Kind = "tanh",
        eps: float = 1e-3,
        padding: Padding = "same",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        middle = 4 * outputs
        self.kind: Kind = kind
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
        if self.norm1.training:
            out = gelu(self.norm1(self.conv1_1x1(self.pre_norm(maps))), self.kind)
            out = gelu(self.norm2(self._depthwise(out, self.conv2_kxk.weight, None)), self.kind)
        else:
            out = gelu(functional.conv2d(maps, *self._expansion()), self.kind)
            scale, shift = affine(self.norm2)
            out = self._depthwise(out, self.conv2_kxk.weight * scale[:, None, None, None], shift)
            out = functional.gelu(
                out, approximate=self.kind
            )  # not in place: it leaves a dense map where rows were cut off
        out = self.drop_path(self.conv3_1x1(self.se(out)))
        shortened: Tensor = out + self.shortcut(maps)
        return shortened

    def _depthwise(self, maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        stride, groups = self.conv2_kxk.stride[0], self.conv2_kxk.groups
        if self.padding == "same":
            return same_conv(maps, weight, bias, stride, groups)
        return functional.conv2d(maps, weight, bias, stride, padding=1, groups=groups)

    def _expansion(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the first convolution with the norms before and behind it, whose statistics are fixed."""
        (scale, shift), (out_scale, out_shift) = affine(self.pre_norm), affine(self.norm1)
        weight = self.conv1_1x1.weight * out_scale[:, None, None, None]
        return weight * scale[:, None, None], weight.flatten(1) @ shift + out_shift


def affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift by channel that a batch normalisation with fixed statistics is."""
    weight, bias, mean, variance = (getattr(norm, name) for name in ("weight", "bias", "running_mean", "running_var"))
    scale = weight * torch.rsqrt(variance + norm.eps)
    return scale, bias - mean * scale
