"""Two-dimensional discrete wavelet transform of feature maps, by subband name.

Shapes: N images, C channels, H x W pixels. Subband names follow pywt's detail order:
LL low-pass both ways, LH high-pass along the height (pywt cH), HL high-pass along the width (cV), HH both (cD).
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence

import pywt
import torch
from torch import Tensor, nn

from subband.errors import ParamsError, unknown_name

SUBBANDS = ("LL", "LH", "HL", "HH")
MAX_LEVEL = 4


def parse_subbands(text: str) -> tuple[str, ...]:
    """Names in a set written ``LL+LH+HL``, in the order given.

    Raises:
        ParamsError: empty, a name that is no subband (near matches are given), or a name twice.
    """
    names = tuple(part.strip().upper() for part in text.split("+"))
    for name in names:
        if name not in SUBBANDS:
            raise ParamsError(unknown_name("subband", name, SUBBANDS) + "; write a set as LL+LH+HL")
    if len(set(names)) != len(names):
        raise ParamsError(f"subbands {text!r} names one twice; write each of {'+'.join(SUBBANDS)} at most once")
    return names


def canonical_subbands(text: str) -> str:
    """The same set in pywt's order, so that equal sets are equal strings: ``hl+ll`` becomes ``LL+HL``."""
    chosen = set(parse_subbands(text))
    return "+".join(name for name in SUBBANDS if name in chosen)


def check_wavelet(wavelet: str) -> str:
    """The name itself if pywt knows it as a discrete wavelet.

    Raises:
        ParamsError: no such discrete wavelet; near matches are given.
    """
    legal = pywt.wavelist(kind="discrete")
    if wavelet not in legal:
        raise ParamsError(unknown_name("wavelet", wavelet, legal))
    return wavelet


def transformed_size(size: int, wavelet: str, level: int) -> int:
    """Side of the LL map of the last level, for a map of `size` pixels along that side.

    Raises:
        ParamsError: the map is down to one pixel before the last level, so that level has nothing to split.
    """
    length = pywt.Wavelet(wavelet).dec_len
    side = size
    for step in range(level):
        if side < 2:
            raise ParamsError(
                f"level {level} is too high: a map {size} pixels wide is down to 1 after {step} level(s) of {wavelet}; "
                f"choose level <= {step}, a larger image_size, or earlier layers"
            )
        side = (side + length - 1) // 2
    return side


@functools.lru_cache(maxsize=64)
def _transform(wavelet: str, level: int, device: torch.device, dtype: torch.dtype) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pytorch-wavelets 1.3 warns about its own pkg_resources import
        from pytorch_wavelets import DWTForward
    # One transform a precision: converting a shared one in place would leave its filters rounded to the coarsest ever asked for.
    return DWTForward(J=level, wave=check_wavelet(wavelet), mode="zero").to(device, dtype).eval()  # type: ignore[no-any-return]


def wavelet_subbands(maps: Tensor, wavelet: str, level: int) -> dict[str, list[Tensor]]:
    """Subbands of every map, with zeros beyond the border (pywt mode ``zero``).

    Args:
        maps: (N, C, H, W) float.
        wavelet: a discrete wavelet of pywt.
        level: number of levels, from 1.

    Returns:
        ``LL`` holds one tensor, the last level's; ``LH``, ``HL`` and ``HH`` hold one tensor a level, finest first.
    """
    if len(maps) == 0:  # pytorch-wavelets cannot reshape what has no elements
        return {
            name: [part[:0] for part in parts]
            for name, parts in wavelet_subbands(maps.new_zeros(1, *maps.shape[1:]), wavelet, level).items()
        }
    transform = _transform(wavelet, level, maps.device, maps.dtype)
    low, high = transform(maps)
    bands: dict[str, list[Tensor]] = {"LL": [low]}
    for index, name in enumerate(SUBBANDS[1:]):
        bands[name] = [details[:, :, index] for details in high]
    return bands


def resize_maps(maps: Tensor, size: tuple[int, int], antialias: bool) -> Tensor:
    """Bilinear resizing to `size` (height, width) with half-pixel centres; the maps themselves if they have that size.

    Without `antialias` a reduction by more than two never reads some values (aliasing): a reduction by four averages
    only the central 2 x 2 of each 4 x 4 block.
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return torch.nn.functional.interpolate(maps, size=size, mode="bilinear", align_corners=False, antialias=antialias)


def aligned_subbands(
    maps: Tensor, wavelet: str, level: int, names: Sequence[str], size: tuple[int, int] | None, antialias: bool
) -> dict[str, Tensor]:
    """Chosen subbands of one layer, brought to one grid.

    Every detail map is first brought to the size of the last LL map (as WE-PaDiM does), then everything to `size`.

    Args:
        maps: (N, C, H, W) feature maps of one layer.
        wavelet: a discrete wavelet of pywt.
        level: number of levels.
        names: subbands to keep.
        size: common grid (height, width), or None to stay on the LL grid.
        antialias: whether reductions are low-pass filtered first.

    Returns:
        By subband name: ``LL`` (N, C, h, w), others (N, C * level, h, w), finest level first.
    """
    bands = wavelet_subbands(maps, wavelet, level)
    own = (bands["LL"][0].shape[-2], bands["LL"][0].shape[-1])
    out = {}
    for name in names:
        parts = [resize_maps(part, own, antialias) for part in bands[name]]
        joined = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        out[name] = joined if size is None else resize_maps(joined, size, antialias)
    return out
