"""The eight sizes of WSF-ViT (section 2 of the specification), and which images their windows divide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd

from subband.errors import ParamsError, unknown_name

STRIDE = 32
"""How much smaller than the image the last stage's map is."""

Four = tuple[int, int, int, int]


@dataclass(frozen=True)
class Architecture:
    """What tells one size of WSF-ViT from another.

    Attributes:
        widths: channels of the four stages.
        depths: blocks of the four stages.
        stem: channels of the stem.
        head_width: channels of a head of the window and grid attentions.
        channel_heads: heads of the channel attention in the four stages. They change no parameter's shape, yet what is computed,
            and the published code changed them over time: a checkpoint does not tell its own. These are of the last version.
    """

    widths: Four
    depths: Four
    stem: int
    head_width: int
    channel_heads: Four

    @property
    def heads(self) -> Four:
        """Heads of the window and grid attentions in the four stages."""
        a, b, c, d = (width // self.head_width for width in self.widths)
        return a, b, c, d


FEWER_HEADS, MORE_HEADS = (2, 4, 8, 16), (4, 8, 16, 32)

ARCHITECTURES: Mapping[str, Architecture] = {
    "p0": Architecture((24, 48, 96, 192), (1, 1, 2, 1), 24, 12, FEWER_HEADS),
    "p1": Architecture((32, 64, 128, 256), (1, 1, 2, 1), 32, 32, FEWER_HEADS),
    "p2": Architecture((32, 64, 128, 256), (1, 2, 3, 1), 32, 32, FEWER_HEADS),
    "n": Architecture((32, 64, 128, 256), (2, 2, 5, 2), 32, 32, MORE_HEADS),
    "t": Architecture((64, 128, 256, 512), (1, 2, 3, 1), 32, 32, FEWER_HEADS),
    "s": Architecture((64, 128, 256, 512), (2, 2, 5, 2), 64, 32, MORE_HEADS),
    "m": Architecture((80, 160, 320, 640), (2, 2, 6, 2), 80, 40, MORE_HEADS),
    "b": Architecture((96, 192, 384, 768), (2, 2, 6, 2), 64, 32, MORE_HEADS),
}


def architecture(name: str) -> Architecture:
    """The architecture of that name, in either case.

    Raises:
        ParamsError: there is none; near matches are given.
    """
    if name.lower() not in ARCHITECTURES:
        raise ParamsError(unknown_name("WSF-ViT variant", name, ARCHITECTURES))
    return ARCHITECTURES[name.lower()]


def check_channel_heads(heads: Four, widths: Four) -> Four:
    """The heads themselves, if there are four and each divides its stage's width.

    Raises:
        ParamsError: otherwise.
    """
    if len(heads) != 4 or any(head < 1 or width % head for head, width in zip(heads, widths, strict=False)):
        raise ParamsError(
            f"channel_heads {tuple(heads)}: give four numbers that divide the widths {widths}, for instance {FEWER_HEADS}"
        )
    return heads


def size_problem(height: int, width: int, window: int) -> str | None:
    """What is wrong with images of that size, and which sizes and windows would be right; None if nothing is."""
    unit = STRIDE * window
    if height > 0 and width > 0 and height % unit == 0 and width % unit == 0:
        return None
    nearest = _nearest(height, unit)
    if height != width:
        nearest = f"height {nearest}, width {_nearest(width, unit)}"
    common = gcd(height, width)
    windows = [each for each in range(1, 25) if common % (STRIDE * each) == 0] if common else []
    fitting = f"; the windows {', '.join(map(str, windows))} would divide it" if windows else ""
    return (
        f"{height} x {width} pixels cannot be divided into windows of {window}: both sides must be multiples of {unit} "
        f"(nearest: {nearest}){fitting}"
    )


def _nearest(side: int, unit: int) -> str:
    below, above = side // unit * unit, -(-side // unit) * unit
    return " or ".join(str(each) for each in sorted({below, above}) if each > 0) or str(unit)
