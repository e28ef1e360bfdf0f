"""Undecimated two-dimensional wavelet analysis: four bands of the size of the image.

Shapes: B images, C channels, H x W pixels, L taps.
"""

from __future__ import annotations

import pywt
import torch
from torch import Tensor, nn
from torch.nn import functional

from subband.errors import ParamsError, unknown_name
from subband.nn.wavelets import check_wavelet


def check_orthogonal(wavelet: str) -> str:
    """The name itself if pywt knows it as an orthogonal or biorthogonal discrete wavelet.

    Raises:
        ParamsError: no such wavelet; near matches are given.
    """
    filters = pywt.Wavelet(check_wavelet(wavelet))
    if not (filters.orthogonal or filters.biorthogonal):
        legal = [name for name in pywt.wavelist(kind="discrete") if pywt.Wavelet(name).biorthogonal]
        raise ParamsError(unknown_name("orthogonal or biorthogonal wavelet", wavelet, legal))
    return wavelet


class UndecimatedWavelet(nn.Module):
    """One level of analysis without decimation: images to their four bands, channel by channel.

    Along an axis, a band is the correlation with PyWavelets' decomposition filter d of L taps (L is even),
    ``y[n] = sum_j d[j] x[n + j + 1 - L / 2]``; for Haar ``lo[n] = a (x[n+1] + x[n])`` and ``hi[n] = a (x[n+1] - x[n])`` with
    a = 1/sqrt(2). Its gain is that of PyWavelets' filters: 2 for a constant image in LL.

    Beyond the border lies what a circular convolution on a square canvas finds there, whose side is the least power of two that
    holds the image: zeros along an axis that is shorter than the canvas, the other end of the image along one that fills it.
    That is the rule of WSF-ViT, published for Haar; for longer filters it is extended to as many pixels as they reach, on both
    sides.

    The filters are the buffers ``w_l`` and ``w_h``, (1, L), reversed in time as convolutions have them.

    Args:
        wavelet: an orthogonal or biorthogonal wavelet of PyWavelets.

    Raises:
        ParamsError: no such wavelet.
    """

    w_l: Tensor
    w_h: Tensor

    def __init__(self, wavelet: str = "haar") -> None:
        super().__init__()
        self.wavelet = check_orthogonal(wavelet)
        filters = pywt.Wavelet(wavelet)
        self.register_buffer("w_l", torch.tensor([filters.dec_lo[::-1]], dtype=torch.float32))
        self.register_buffer("w_h", torch.tensor([filters.dec_hi[::-1]], dtype=torch.float32))

    def extra_repr(self) -> str:
        """Shown by `print`."""
        return self.wavelet

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Bands (B, 4 C, H, W): LL of all channels, then LH, HL, HH; float32, whatever autocast says (float64 stays).

        The first letter is the width's filter here: LH is low-pass along the width and high-pass along the height.
        """
        # Sums and products by numbers are among the operations that autocast leaves in the precision of their inputs.
        images = images_BCHW if images_BCHW.dtype == torch.float64 else images_BCHW.float()
        canvas = 1 << (max(images.shape[2:]) - 1).bit_length()
        low, high = self._split(images, 3, canvas)
        return torch.cat([*self._split(low, 2, canvas), *self._split(high, 2, canvas)], dim=1)

    def _split(self, maps: Tensor, axis: int, canvas: int) -> tuple[Tensor, Tensor]:
        length, taps = maps.shape[axis], self.w_l.shape[1]
        extended = _extended(maps, axis, taps // 2 - 1, taps // 2, wraps=length == canvas)
        shifted = [extended.narrow(axis, start, length) for start in range(taps)]
        low, high = (_weighted_sum(shifted, filters[0].flip(0).to(maps.dtype)) for filters in (self.w_l, self.w_h))
        return low, high


def _extended(maps: Tensor, axis: int, before: int, after: int, wraps: bool) -> Tensor:
    if not wraps:
        pads = (before, after) if axis == 3 else (0, 0, before, after)
        return functional.pad(maps, pads)
    # By hand: torch's circular padding stops at one turn, and long filters go around small images more than once.
    length = maps.shape[axis]
    index = torch.arange(-before, length + after, device=maps.device) % length
    return maps.index_select(axis, index)


def _weighted_sum(terms: list[Tensor], weights: Tensor) -> Tensor:
    total = terms[0] * weights[0]
    for term, weight in zip(terms[1:], weights[1:], strict=True):
        total = total + term * weight
    return total
