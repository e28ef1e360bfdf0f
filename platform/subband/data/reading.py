"""How stored samples become 8-bit levels and which way up an image is: one rule for a whole data set, kept with its models.

===========  ==========================================================================================================
part         meaning
===========  ==========================================================================================================
bits         significant bits of samples in 16-bit files: 0 .. 2^bits - 1 becomes 0 .. 255. None: nothing is known, 16
             bits are taken. 8-bit and float files do not read it.
orientation  ``apply``: the image is turned as its EXIF (or XMP) tag says, as viewers show it. ``ignore``: stored pixels.
===========  ==========================================================================================================
"""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from subband.errors import DataError, ParamsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Orientation = Literal["apply", "ignore"]
ORIENTATION_TAG = 0x0112
FULL_BITS = 16
_Turn = Image.Transpose
_UPRIGHT: Mapping[int, Image.Transpose] = {
    2: _Turn.FLIP_LEFT_RIGHT,
    3: _Turn.ROTATE_180,
    4: _Turn.FLIP_TOP_BOTTOM,
    5: _Turn.TRANSPOSE,
    6: _Turn.ROTATE_270,
    7: _Turn.TRANSVERSE,
    8: _Turn.ROTATE_90,
}
_BACK: Mapping[int, Image.Transpose] = {**_UPRIGHT, 6: _Turn.ROTATE_90, 8: _Turn.ROTATE_270}
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_QUARTER_TURNS = (5, 6, 7, 8)
_SEEN_EARLY = frozenset({"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"})
_SEEN_LATE = frozenset({b"eXIf", b"iTXt", b"tEXt", b"zTXt"})


@dataclass(frozen=True)
class ReadingRule:
    """How the image files of a data set are read; see the table of this module.

    Attributes:
        bits: 8 to 16, or None where no image is deeper than 8 bits.
        orientation: what becomes of orientation tags.
    """

    bits: int | None = None
    orientation: Orientation = "apply"

    def __post_init__(self) -> None:
        if self.bits is not None and not 8 <= self.bits <= FULL_BITS:
            raise ParamsError(f"bits is {self.bits}; samples of 16-bit files have 8 to {FULL_BITS} significant bits")
        if self.orientation not in ("apply", "ignore"):
            raise ParamsError(f"orientation is {self.orientation!r}; it must be apply or ignore")

    @property
    def scales(self) -> bool:
        """Whether deep samples are scaled by less than the full range of 16 bits."""
        return self.bits not in (None, FULL_BITS)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `reading_rule`."""
        return asdict(self)


PLAIN = ReadingRule()
BEFORE_RULES = ReadingRule(FULL_BITS, "ignore")
"""How models were taught that were saved before rules were kept."""


def reading_rule(values: Mapping[str, Any] | None) -> ReadingRule:
    """The rule of `ReadingRule.as_json`; `BEFORE_RULES` for None.

    Raises:
        ParamsError: the values are no rule.
    """
    if values is None:
        return BEFORE_RULES
    try:
        return ReadingRule(**values)
    except TypeError as error:
        raise ParamsError(f"{values} is no rule for reading images ({error})") from error


@dataclass(frozen=True)
class StoredForm:
    """What the header of an image file says of its reading.

    Attributes:
        tag: its orientation, 1 to 8; 1 where it has none.
        deep: whether its samples are integers of more than 8 bits, whose significant bits only the whole data set tells.
    """

    tag: int = 1
    deep: bool = False

    def digest(self, content: str, rule: ReadingRule) -> str:
        """Digest of what is seen: that of the content, unless the rule changes how it is read."""
        parts = [] if self.tag == 1 else [f"orientation {self.tag} {rule.orientation}"]
        if self.deep and rule.scales:
            parts.append(f"bits {rule.bits}")
        return hashlib.sha256(" ".join(["reading", *parts, content]).encode()).hexdigest() if parts else content


def stored_form(picture: Image.Image) -> StoredForm:
    """The form of an opened image whose pixels are not decoded yet."""
    return StoredForm(orientation_tag(picture), is_deep(picture))


def is_deep(picture: Image.Image) -> bool:
    """Whether samples are integers of more than 8 bits; a PPM file states their range itself, which Pillow heeds."""
    grey = picture.mode.startswith("I") and picture.format != "PPM"
    return grey or _deep_colours(picture) is not None


def orientation_tag(picture: Image.Image) -> int:
    """The orientation tag of an image, 1 to 8; 1 where there is none, or what there is cannot be read.

    Pillow turns TIFF images when it decodes them, and takes the tag away.
    """
    # Pillow decodes a whole PNG to look for a tag that stands after the pixels.
    if picture.format == "PNG" and not _SEEN_EARLY & set(picture.info) and not _has_late_texts(picture):
        return 1
    try:
        value = int(picture.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # Pillow's parsers raise many kinds; what is wrong with the pixels is found elsewhere
        return 1
    return value if 1 <= value <= 8 else 1


def seen_size(picture: Image.Image, orientation: Orientation) -> tuple[int, int]:
    """Width and height after the rule was applied, of an image whose pixels are not decoded yet."""
    width, height = picture.size
    tag = orientation_tag(picture)
    if tag not in _QUARTER_TURNS:
        return width, height
    turned_already = getattr(picture, "tag_v2", {}).get(ORIENTATION_TAG, 1) in _QUARTER_TURNS
    return (width, height) if turned_already == (orientation == "apply") else (height, width)


def turn_of(picture: Image.Image, orientation: Orientation) -> Image.Transpose | None:
    """What is left to do by the rule after the pixels are decoded; to be asked before that."""
    tag = orientation_tag(picture)
    if picture.format == "TIFF":  # Pillow turns these itself
        return _BACK.get(tag) if orientation == "ignore" else None
    return _UPRIGHT.get(tag) if orientation == "apply" else None


def turned(picture: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    """A converted image turned, without a tag that would turn it again."""
    result = picture if turn is None else picture.transpose(turn)
    result.info = {}
    return result


def eight_bits(values: NDArray[Any], mode: str, bits: int | None, rounding: np.ufunc = np.rint) -> NDArray[np.uint8]:
    """8-bit levels of deep samples.

    Args:
        values: of any shape.
        mode: ``F`` for floats in 0..1; of integers, what messages call it.
        bits: significant bits of integers; None for 16.
        rounding: to whole levels.

    Raises:
        DataError: the samples leave the range, so their scale is unknown.
    """
    found = values.astype(np.float64)
    top = 1.0 if mode == "F" else float(2 ** (bits or FULL_BITS) - 1)
    if not (np.isfinite(found).all() and found.min() >= 0 and found.max() <= top):
        remedy = "save it as 8-bit or 16-bit grey"
        if mode != "F" and bits not in (None, FULL_BITS):
            remedy = f"16-bit images of this data are read as {bits} bits; take it with the same camera settings"
        raise DataError(
            f"its samples (mode {mode}) go from {found.min():g} to {found.max():g}, outside 0..{top:g}, so their scale is unknown; "
            f"{remedy}"
        )
    return np.asarray(rounding(found * (255.0 / top)), np.uint8)


def decoded(picture: Image.Image, bits: int | None) -> Image.Image:
    """The image with its pixels decoded; 16-bit colours, of which Pillow keeps the high bytes, are scaled by `bits`.

    Raises:
        DataError: 16-bit grey with alpha, of which only the high bytes can be had, or samples above `bits`.
    """
    if bits in (None, FULL_BITS) or _deep_colours(picture) is None:
        picture.load()
        return picture
    return Image.fromarray(eight_bits(deep_samples(picture), picture.mode, bits))


def deep_samples(picture: Image.Image) -> NDArray[Any]:
    """Samples of an image for which `is_deep`, as stored: (H, W), or of colours (H, W, 3).

    Raises:
        DataError: 16-bit grey with alpha, of which Pillow gives the high bytes alone.
    """
    form = _deep_colours(picture)
    if form is None:
        return np.asarray(picture)
    if form.startswith("LA"):
        raise DataError("it is 16-bit grey with alpha, which can be read as 16 bits alone; save it without alpha")
    stream = picture.fp  # type: ignore[attr-defined]
    stream.seek(0)
    data = stream.read()
    high, low = (_bytes_of(data, picture.format, order) for order in (form[-1], _OTHER_ORDER[form[-1]]))
    return np.asarray(high.astype(np.uint16) * 256 + low)[..., :3]


def array_picture(array: NDArray[Any], bits: int | None) -> Image.Image:
    """An image of numbers: uint8, bool, uint16 (by `bits`) or floats in 0..1; (H, W), or (H, W, C) with C of 1 (grey), 2 (grey and
    alpha), 3 (RGB) or 4 (RGB and alpha). Alpha is dropped.

    Raises:
        ParamsError: another form.
        DataError: samples out of range.
    """
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    kind = "F" if array.dtype.kind == "f" else str(array.dtype)
    if not 1 <= channels <= 4 or not array.size or kind not in ("uint8", "bool", "uint16", "F"):
        raise ParamsError(
            "an array of an image is uint8, uint16, bool, or float in 0..1, of shape (H, W), (H, W, 1), (H, W, 3) in RGB or "
            f"(H, W, 4), not {array.dtype} {array.shape}"
        )
    values = array.reshape(*array.shape[:2], channels)
    values = values[..., :3] if channels > 2 else values[..., 0]
    if kind == "bool":
        values = np.where(values, np.uint8(255), np.uint8(0))
    elif kind == "uint16" and values.ndim == 3 and bits in (None, FULL_BITS):
        values = (values >> 8).astype(np.uint8)  # as Pillow reads such files
    elif kind != "uint8":
        values = eight_bits(values, kind, bits)
    return Image.fromarray(np.ascontiguousarray(values)).convert("RGB")


def _bytes_of(data: bytes, form: str | None, order: str) -> NDArray[np.uint8]:
    """One of the two bytes of every 16-bit sample: Pillow keeps the first of a big-endian and the second of a little-endian one."""
    with Image.open(io.BytesIO(data), formats=None if form is None else (form,)) as picture:
        tiles = []
        for tile in picture.tile:  # type: ignore[attr-defined]
            args = tile.args
            mode = args if isinstance(args, str) else args[0]
            changed = mode[:-1] + order
            tiles.append(tile._replace(args=changed if isinstance(args, str) else (changed, *args[1:])))
        picture.tile = tiles  # type: ignore[attr-defined]
        return np.asarray(picture)


def _deep_colours(picture: Image.Image) -> str | None:
    """Pillow's name of the raw form of 16-bit colours whose pixels are not decoded yet; None for other images."""
    tiles = getattr(picture, "tile", None)
    if not tiles or picture.mode.startswith("I"):
        return None
    args = tiles[0].args
    form = args if isinstance(args, str) else args[0] if args else None
    if not isinstance(form, str) or ";16" not in form:
        return None
    return form


def _has_late_texts(picture: Image.Image) -> bool:
    """Whether a PNG, whose pixels are not decoded yet, has chunks with tags after them; the chunks' contents are skipped."""
    stream = getattr(picture, "fp", None)
    if stream is None:
        return True
    before, late = stream.tell(), False
    try:
        stream.seek(8)
        while len(head := stream.read(8)) == 8:
            late = late or head[4:] == b"IDAT"
            if late and head[4:] in _SEEN_LATE:
                return True
            stream.seek(int.from_bytes(head[:4], "big") + 4, 1)
        return False
    finally:
        stream.seek(before)
