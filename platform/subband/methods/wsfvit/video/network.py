"""The network of video prediction with WSF-ViT (specification 12.1 and 12.2).

Modules are named as in published state dicts.

Shapes: B sequences, T frames, S pixels a side, C channels of a frame, Q = S / 2^n cells a side behind the encoder.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from subband.methods.wsfvit.block import VIDEO, Block
from subband.methods.wsfvit.video.params import CHANNEL_HEADS, HEAD_WIDTH, NO_WAVELET, WSFViTVideoParams
from subband.nn.undecimated import UndecimatedWavelet

LARGEST_WINDOW = 8
BANDS = 4
FIRST_DROP_PATH = 0.01
GROUPS = 2  # of the normalisation


def window_side(cells: int) -> int:
    """Side of windows and grids on a square map: 8 if it divides the map's side, else its largest divisor below."""
    return next(side for side in range(min(LARGEST_WINDOW, cells), 0, -1) if cells % side == 0)


class FrameConv(nn.Module):
    """3x3 convolution, group normalisation, SiLU.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        stride: 1, or 2 to halve the map.
        double: double the map, by shuffling channels to pixels.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, double: bool = False) -> None:
        super().__init__()
        conv = nn.Conv2d(inputs, outputs * (4 if double else 1), 3, stride, padding=1)
        nn.init.trunc_normal_(conv.weight, std=0.02)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        self.conv = nn.Sequential(conv, nn.PixelShuffle(2)) if double else conv
        self.norm = nn.GroupNorm(GROUPS, outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H', W')."""
        return functional.silu(self.norm(self.conv(maps)))


def _layer(inputs: int, outputs: int, stride: int = 1, double: bool = False) -> nn.Sequential:
    return nn.Sequential(OrderedDict(conv=FrameConv(inputs, outputs, stride, double)))


class Encoder(nn.Module):
    """Frames to maps, each by itself; every second layer halves them.

    Args:
        inputs: channels of a frame.
        channels: C.
        layers: number of convolutions.
    """

    def __init__(self, inputs: int, channels: int, layers: int) -> None:
        super().__init__()
        self.enc = nn.Sequential(*(_layer(channels if i else inputs, channels, 1 + i % 2) for i in range(layers)))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(N, inputs, S, S) to the maps (N, C, Q, Q), and those of the first layer (N, C, S, S)."""
        first: Tensor = self.enc[0](frames)
        return self.enc[1:](first), first


class Decoder(nn.Module):
    """Maps to frames, each by itself; the encoder's layers in reverse.

    Args:
        channels: C.
        layers: number of convolutions.
    """

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.dec = nn.Sequential(*(_layer(channels, channels, double=i % 2 == 1) for i in reversed(range(layers))))
        self.readout = nn.Conv2d(channels, 1, 1)

    def forward(self, maps: Tensor, first: Tensor) -> Tensor:
        """Maps (N, C, Q, Q), and those of the encoder's first layer, to (N, 1, S, S), not clipped."""
        out: Tensor = self.readout(self.dec[-1](self.dec[:-1](maps) + first))
        return out


class TranslatorBlock(nn.Module):
    """A WSF-ViT block, and a 1x1 convolution if the width changes.

    Args:
        inputs: width.
        outputs: width of what follows.
        window: side of windows and grids.
        channel_mlp_ratio: of the channel attention.
        drop_path: rate of stochastic depth.
    """

    def __init__(self, inputs: int, outputs: int, window: int, channel_mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        options = replace(VIDEO, channel_mlp_ratio=channel_mlp_ratio)
        heads = inputs // HEAD_WIDTH
        self.block = Block(inputs, inputs, heads, CHANNEL_HEADS, window, drop_path=drop_path, options=options)
        self.reduction = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """(B, inputs, Q, Q) to (B, outputs, Q, Q)."""
        out: Tensor = self.reduction(self.block(maps))
        return out


class Translator(nn.Module):
    """The maps of all frames, as channels of one map, to those of the frames that follow.

    Args:
        width: T C.
        middle: width behind the first block.
        blocks: number of blocks, 2 or more.
        window: side of windows and grids.
        channel_mlp_ratio: of the channel attention.
        drop_path: rate of stochastic depth of the last block.
    """

    def __init__(
        self, width: int, middle: int, blocks: int, window: int, channel_mlp_ratio: int, drop_path: float
    ) -> None:
        super().__init__()
        widths = [width, *[middle] * (blocks - 1), width]
        rates = np.linspace(FIRST_DROP_PATH, drop_path, blocks).tolist()
        self.enc = nn.Sequential(
            *(
                TranslatorBlock(widths[i], widths[i + 1], window, channel_mlp_ratio, rate)
                for i, rate in enumerate(rates)
            )
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(B, T C, Q, Q), the same shape."""
        out: Tensor = self.enc(maps)
        return out


class VideoNetwork(nn.Module):
    """Seen frames to the frames that follow.

    Args:
        params: sizes.
    """

    def __init__(self, params: WSFViTVideoParams) -> None:
        super().__init__()
        self.frames_out = params.frames_out
        channels, layers = params.frame_channels, params.frame_layers
        self.dwt_l2 = None if params.wavelet == NO_WAVELET else UndecimatedWavelet(params.wavelet)
        self.norm = None if self.dwt_l2 is None else nn.BatchNorm2d(BANDS)
        self.enc = Encoder(1 if self.dwt_l2 is None else BANDS, channels, layers)
        self.hid = Translator(
            params.frames_in * channels,
            params.translator_channels,
            params.translator_blocks,
            window_side(params.image_size // 2 ** (layers // 2)),
            params.channel_mlp_ratio,
            params.drop_path,
        )
        self.dec = Decoder(channels, layers)

    def forward(self, frames_BT1SS: Tensor) -> Tensor:
        """Predict.

        Args:
            frames_BT1SS: (B, T, 1, S, S) in [0, 1].

        Returns:
            (B, frames_out, 1, S, S), not clipped. What goes beyond T frames is predicted from predictions.
        """
        predicted = [self.following(frames_BT1SS)]
        while sum(part.shape[1] for part in predicted) < self.frames_out:
            predicted.append(self.following(predicted[-1]))
        return torch.cat(predicted, dim=1)[:, : self.frames_out]

    def following(self, frames_BT1SS: Tensor) -> Tensor:
        """The T frames that follow T frames, at once: (B, T, 1, S, S)."""
        batch, length = frames_BT1SS.shape[:2]
        frames = frames_BT1SS.flatten(0, 1)
        if self.dwt_l2 is not None and self.norm is not None:
            frames = functional.relu(self.norm(self.dwt_l2(frames).to(self.norm.weight.dtype)))
        maps, first = self.enc(frames.contiguous(memory_format=torch.channels_last))
        cells = maps.shape[2:]
        translated = self.hid(maps.reshape(batch, -1, *cells)).reshape(batch * length, -1, *cells)
        predicted: Tensor = self.dec(translated.contiguous(memory_format=torch.channels_last), first)
        return predicted.reshape(batch, length, *predicted.shape[1:])
