"""One good piece as it was drawn, with what a defect needs to know about it."""

from __future__ import annotations

from dataclasses import dataclass

from subband.data.embedded.drawing.canvas import Colours, Field


@dataclass(frozen=True)
class Scene:
    """A drawing of a good piece.

    Attributes:
        colours: (3, S, S), the image.
        under: (3, S, S), what shows where a part is missing: the substrate of a texture, the background of an object.
        scratch: colour of a scratch in this material.
        stain: colour that a stain tints towards.
        support: (S, S), 1 on the piece and 0 beside it; None where it fills the image.
        thread: (S, S), number of the thread at each pixel, where the piece is woven; a missing part is then a thread.
        tear: how many times longer than wide a torn-out part is, along y; above 1 where the material has a grain.
    """

    colours: Colours
    under: Colours
    scratch: tuple[float, float, float]
    stain: tuple[float, float, float]
    support: Field | None = None
    thread: Field | None = None
    tear: float = 1.0

    @property
    def size(self) -> int:
        """S, pixels per side."""
        return int(self.colours.shape[1])
