"""Two-dimensional discrete wavelet transform of feature maps, by subband name.

Shapes: N images, C channels, H x W pixels. Subband names follow pywt's detail order:
LL low-pass both ways, LH high-pass along the height (pywt cH), HL high-pass along the width (cV), HH both (cD).
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass

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
    if antialias and 1 in (maps.shape[3], size[1]):
        # torch 2.15 resizes the height of maps one pixel wide wrongly when it low-pass filters: give them a second column.
        columns = maps.expand(-1, -1, -1, 2) if maps.shape[3] == 1 else maps
        maps = _bilinear(columns, (size[0], columns.shape[3]), True)[..., : maps.shape[3]]
    return _bilinear(maps, size, antialias)


def _bilinear(maps: Tensor, size: tuple[int, int], antialias: bool) -> Tensor:
    return torch.nn.functional.interpolate(maps, size=size, mode="bilinear", align_corners=False, antialias=antialias)


@dataclass(frozen=True)
class AxisOperators:
    """One axis of the transform and of all resizing after it, as matrices (cells, size); float32.

    The transform and bilinear resizing are linear and separable, so a subband on a grid is ``rows @ map @ columns.T``: the same
    values as transforming and resizing, for a fraction of the work.

    Attributes:
        low: low-pass to the last level.
        details: (low-pass, high-pass) at each level, finest first.
    """

    low: Tensor
    details: tuple[tuple[Tensor, Tensor], ...]


@functools.lru_cache(maxsize=64)
def axis_operators(
    size: int, wavelet: str, level: int, cells: int, antialias: bool, centred: bool = False
) -> AxisOperators:
    """Matrices that take an axis of `size` pixels to `cells` grid cells.

    Args:
        size: pixels of the map along this axis.
        wavelet: a discrete wavelet of pywt.
        level: number of levels.
        cells: cells of the grid along this axis.
        antialias: whether reductions are low-pass filtered first.
        centred: whether each coefficient lies where its filter's energy has its centre. Else every detail is brought to the size
            of the last LL map, then everything to the grid (as WE-PaDiM does), as if coefficients lay evenly between the borders:
            but those of a filter of length L begin L - 2 pixels before the border, and Daubechies' energy lies at one end.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_wavelets.dwt import lowlevel
    filters = pywt.Wavelet(check_wavelet(wavelet))
    taps = [tap.double() for tap in lowlevel.prep_filt_afb1d(filters.dec_lo, filters.dec_hi)]

    def transformed(pixels: int) -> list[tuple[Tensor, Tensor]]:
        low, pairs = torch.eye(pixels, dtype=torch.float64), []
        for _ in range(level):
            # The columns of `low` are responses to unit impulses: as channels of one image they pass the filter bank together.
            both = lowlevel.afb1d(low.T.reshape(1, pixels, -1, 1), *taps, mode="zero", dim=2)
            split = both.reshape(pixels, 2, -1)
            low, high = split[:, 0].T, split[:, 1].T
            pairs.append((low, high))
        return pairs

    pairs = transformed(size)
    if centred:
        # On an axis with room for whole filters on both sides.
        whole = transformed(size + 2 ** (level + 2) * filters.dec_len)
        placed = [
            tuple(
                _placed_rows(operator, _first_centre(free, 2**step), 2**step, size, cells, antialias)
                for operator, free in zip(pair, free_pair, strict=True)
            )
            for step, (pair, free_pair) in enumerate(zip(pairs, whole, strict=True), 1)
        ]
        return AxisOperators(placed[-1][0], tuple((low, high) for low, high in placed))

    def to_grid(operator: Tensor) -> Tensor:
        resized = _resize_rows(_resize_rows(operator, len(pairs[-1][0]), antialias), cells, antialias)
        return resized.float().contiguous()

    return AxisOperators(to_grid(pairs[-1][0]), tuple((to_grid(low), to_grid(high)) for low, high in pairs))


def _first_centre(operator: Tensor, spacing: int) -> float:
    """Where the energy of coefficient 0 has its centre, in pixels from the first one; from the coefficient in the middle."""
    middle = len(operator) // 2
    energy = operator[middle].square()
    return float((torch.arange(len(energy)) * energy).sum() / energy.sum()) - spacing * middle


def _placed_rows(operator: Tensor, first: float, spacing: int, size: int, cells: int, antialias: bool) -> Tensor:
    """Coefficients, rows of `operator` that lie `spacing` pixels apart from `first`, interpolated at the centres of grid cells."""
    places = first + spacing * torch.arange(len(operator), dtype=torch.float64)
    pixels_per_cell = size / cells
    centres = (torch.arange(cells, dtype=torch.float64) + 0.5) * pixels_per_cell - 0.5
    reach = max(spacing, pixels_per_cell) if antialias else spacing
    # Beyond the outermost coefficients their values go on.
    distances = centres.clamp(places[0], places[-1])[:, None] - places
    weights = (1 - distances.abs() / reach).clamp_min(0)
    return (weights / weights.sum(dim=1, keepdim=True) @ operator).float().contiguous()


def _resize_rows(operator: Tensor, rows: int, antialias: bool) -> Tensor:
    # One image whose width is the axis: the other axis keeps its size, which bilinear resizing leaves alone.
    image = operator.T.contiguous()[None, None]
    return resize_maps(image, (operator.shape[1], rows), antialias)[0, 0].T


def gridded_subbands(
    maps: Tensor, wavelet: str, level: int, cells: tuple[int, int], antialias: bool, centred: bool = False
) -> dict[str, Tensor]:
    """All four subbands of a layer on one grid, grid position first, by two matrix products.

    Args:
        maps: (N, C, H, W) feature maps of one layer.
        wavelet: a discrete wavelet of pywt.
        level: number of levels.
        cells: the grid (height, width); P = height * width positions, row by row.
        antialias: whether reductions are low-pass filtered first.
        centred: where coefficients lie on the grid; see `axis_operators`.

    Returns:
        By subband name: ``LL`` (P, N, C), others (P, N, C * level), finest level first; unless they are centred, equal to
        transforming with `wavelet_subbands` and resizing with `resize_maps`, to rounding.
    """
    images, channels, height, width = maps.shape
    rows = axis_operators(height, wavelet, level, cells[0], antialias, centred)
    columns = axis_operators(width, wavelet, level, cells[1], antialias, centred)

    def along_width(operator: Tensor) -> Tensor:
        product = maps.reshape(-1, width) @ operator.T.to(maps.device)
        # Height first and channels last: then the second product leaves the positions in front, and no map is moved again.
        moved = product.reshape(images, channels, height, cells[1]).permute(2, 3, 0, 1)
        return moved.reshape(height, cells[1] * images * channels)

    def along_height(operator: Tensor, narrowed: Tensor) -> Tensor:
        return (operator.to(maps.device) @ narrowed).reshape(cells[0] * cells[1], images, channels)

    out: dict[str, list[Tensor]] = {
        "LL": [along_height(rows.low, along_width(columns.low))],
        "LH": [],
        "HL": [],
        "HH": [],
    }
    for (row_low, row_high), (column_low, column_high) in zip(rows.details, columns.details, strict=True):
        narrowed = along_width(column_low)
        out["LH"].append(along_height(row_high, narrowed))
        narrowed = along_width(column_high)
        out["HL"].append(along_height(row_low, narrowed))
        out["HH"].append(along_height(row_high, narrowed))
    return {name: parts[0] if len(parts) == 1 else torch.cat(parts, dim=2) for name, parts in out.items()}
