"""The frequency guidance map: the energy of an undecimated one-level transform of the gray image (specification 2.1).

Both energies have a cheap exact form. The four haar kernels are an orthonormal basis of the 2 x 2 window, so by Parseval the
energy is the length of the window: it answers to brightness, not to frequency. The bior2.2 kernels are outer products, so two
passes of a five-tap filter replace four two-dimensional ones.

Shapes: N images of H x W pixels, brought to a feature grid of h x w cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from subband.errors import DataError, ParamsError, unknown_name
from subband.methods.wedgenet.scope import Extremes, Scope
from subband.nn.wavelets import resize_maps

GuidanceWavelet = Literal["haar", "bior2.2"]
GUIDANCE_WAVELETS: tuple[GuidanceWavelet, ...] = ("haar", "bior2.2")

GRAY = (0.299, 0.587, 0.114)
_BIOR_LOW = (-1 / 8, 1 / 4, 3 / 4, 1 / 4, -1 / 8)
_BIOR_HIGH = (0.0, -1 / 2, 1.0, -1 / 2, 0.0)
_SMALLEST = {"haar": 2, "bior2.2": 3}  # one window; reflecting two pixels needs a third


def check_guidance_wavelet(wavelet: str) -> GuidanceWavelet:
    """The name itself if the network has kernels for it (the published code takes any other name for a shifted haar).

    Raises:
        ParamsError: another name; near matches are given.
    """
    for legal in GUIDANCE_WAVELETS:
        if wavelet == legal:
            return legal
    raise ParamsError(unknown_name("guidance wavelet", wavelet, GUIDANCE_WAVELETS))


def kernels(wavelet: GuidanceWavelet) -> Tensor:
    """The four kernels (4, k, k) of the transform, in the order LL, LH, HL, HH, for cross-correlation; float32.

    They define the energy that `energy` computes without them.
    """
    if check_guidance_wavelet(wavelet) == "haar":
        # Rows (-, -), (+, +) are LH: high-pass along the height, as pywt orders them.
        return torch.tensor([[[1.0, 1], [1, 1]], [[-1, -1], [1, 1]], [[-1, 1], [-1, 1]], [[1, -1], [-1, 1]]]) / 2
    low, high = torch.tensor(_BIOR_LOW), torch.tensor(_BIOR_HIGH)
    return torch.stack([torch.outer(rows, columns) for rows in (low, high) for columns in (low, high)])


def gray(normalised_N3HW: Tensor) -> Tensor:
    """Luma (N, H, W) of normalised images: 0 is about ImageNet's mean gray, so dark and bright both lie far from 0."""
    red, green, blue = normalised_N3HW.unbind(dim=1)
    return GRAY[0] * red + GRAY[1] * green + GRAY[2] * blue


def energy(gray_NHW: Tensor, wavelet: GuidanceWavelet) -> Tensor:
    """Square root of the summed squares of the four subbands, (N, H, W), not below 0.

    Args:
        gray_NHW: gray images (N, H, W), float.
        wavelet: ``haar`` (2 x 2 window down and to the right; the last row and column, which have none, are 0) or ``bior2.2``
            (5 x 5 window, borders reflected).

    Raises:
        ParamsError: unknown wavelet.
        DataError: the images are smaller than one window.
    """
    smallest = _SMALLEST[check_guidance_wavelet(wavelet)]
    height, width = gray_NHW.shape[1:]
    if min(height, width) < smallest:
        raise DataError(
            f"images are {height} x {width} pixels; the {wavelet} guidance map needs {smallest} x {smallest}"
        )
    return _haar_energy(gray_NHW) if wavelet == "haar" else _bior_energy(gray_NHW)


def _haar_energy(gray_NHW: Tensor) -> Tensor:
    squares = gray_NHW.square()
    pairs = squares[:, :, :-1] + squares[:, :, 1:]
    return functional.pad((pairs[:, :-1] + pairs[:, 1:]).sqrt(), (0, 1, 0, 1))


def _bior_energy(gray_NHW: Tensor) -> Tensor:
    padded = functional.pad(gray_NHW[:, None], (2, 2, 2, 2), mode="reflect")[:, 0]
    by_width = (_filtered(padded, taps, 2) for taps in (_BIOR_LOW, _BIOR_HIGH))
    subbands = (_filtered(maps, taps, 1) for maps in by_width for taps in (_BIOR_LOW, _BIOR_HIGH))
    return torch.stack([subband.square() for subband in subbands]).sum(dim=0).sqrt()


def _filtered(maps_NHW: Tensor, taps: tuple[float, ...], dim: int) -> Tensor:
    """The symmetric five-tap filter along one axis, which becomes shorter by four."""
    length = maps_NHW.shape[dim] - 4
    first, second, middle, fourth, fifth = (maps_NHW.narrow(dim, start, length) for start in range(5))
    out = taps[2] * middle + taps[1] * (second + fourth)
    return out + taps[0] * (first + fifth) if taps[0] else out


@dataclass(frozen=True)
class GridEnergy:
    """The energy of N images on the feature grid, before scaling: what both scopes share.

    Attributes:
        maps_NHW: (N, h, w) float32.
        extremes: of the energy at full size. Resizing reads one pixel in sixteen, so those of `maps_NHW` differ.
    """

    maps_NHW: Tensor
    extremes: Extremes

    def guidance(self, scope: Scope = "image", batch: int | None = None) -> Tensor:
        """The guidance (N, 1, h, w), in [0, 1), that the frequency encoder reads.

        Bilinear weights sum to 1, so that scaling after resizing equals the published scaling before it.

        Args:
            scope: whose extremes scale an image.
            batch: images a batch for scope ``batch``; None takes all N as one.
        """
        return self.extremes.scoped(scope, batch).scale(self.maps_NHW).unsqueeze(1)


def grid_energy(normalised_N3HW: Tensor, wavelet: GuidanceWavelet, grid: tuple[int, int]) -> GridEnergy:
    """Energy of normalised images on a grid (height, width): bilinear, not antialiased, as published.

    From 224 pixels to 28 cells each cell is the mean of the central 2 x 2 pixels of its 8 x 8 block.

    Raises:
        ParamsError: unknown wavelet.
        DataError: the images are smaller than one window.
    """
    full = energy(gray(normalised_N3HW), wavelet)
    return GridEnergy(resize_maps(full[:, None], grid, antialias=False)[:, 0], Extremes.of(full))


def frequency_guidance(
    normalised_N3HW: Tensor, wavelet: GuidanceWavelet, grid: tuple[int, int], scope: Scope = "image"
) -> Tensor:
    """The guidance (N, 1, h, w) of one batch of normalised images, in one call."""
    return grid_energy(normalised_N3HW, wavelet, grid).guidance(scope)


def frequency_map(normalised_N3HW: Tensor, wavelet: GuidanceWavelet, scope: Scope = "image") -> Tensor:
    """The guidance at full size, (N, H, W) in [0, 1): the display map ``freq`` of the figures."""
    full = energy(gray(normalised_N3HW), wavelet)
    return Extremes.of(full).scoped(scope).scale(full)
