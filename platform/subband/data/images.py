"""Image files: decoding with Pillow into 8-bit RGB images and 8-bit grey masks.

Every mode that Pillow reads becomes the same two kinds of image:

- 16-bit grey is scaled, never clipped: 65535 becomes 255, or the highest value of the significant bits that a data set's
  `ReadingRule` states; floats in [0, 1] are scaled to 0..255.
- Alpha is dropped and the stored colours are kept, as the reference's ``convert("RGB")`` does: what a defect detector
  must look at is what the camera stored, not a composite over an invented background. Palette transparency is dropped
  likewise.
- 1-bit, 8-bit grey, palette and CMYK images are converted to RGB.
- A mask keeps every non-zero pixel non-zero: label ids as small as 1 of 65535, and colours that luminance would round
  to 0. Where all visible pixels have one colour, its alpha channel is the mask; where no colour of its palette is black,
  index 0 is the background.
- An orientation tag turns the image, as viewers show it, unless the rule ignores it; that of a mask file likewise.

The size stated by the header is checked before anything is decoded.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from PIL import Image, ImageSequence

from subband.data.decoding import (
    Conversion,
    FormatError,
    alone,
    decode,
    first_line,
    header,
    opened,
    pixel_limit,
    too_large,
)
from subband.data.digests import file_digests, remembered_facts
from subband.data.reading import (
    PLAIN,
    Orientation,
    ReadingRule,
    StoredForm,
    array_picture,
    decoded,
    deep_samples,
    eight_bits,
    is_deep,
    seen_size,
    stored_form,
    turn_of,
    turned,
)
from subband.errors import DataError, ParamsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from subband.data.sample import ImageSource


@runtime_checkable
class _Sized(Protocol):
    """A source that knows its size without decoding."""

    def size(self) -> tuple[int, int]: ...


@dataclass(frozen=True)
class FileSource:
    """An image file; opens as RGB.

    Attributes:
        path: where the file lies.
        rule: how it is read.
    """

    path: Path
    rule: ReadingRule = PLAIN

    def open(self) -> Image.Image:
        """The decoded image, mode RGB.

        Raises:
            DataError: the file is missing, empty, truncated, no image, or over the pixel limit.
        """
        with opened(self.path) as stream:
            return decode_rgb(stream, str(self.path), rule=self.rule)

    def size(self) -> tuple[int, int]:
        """Width and height of what `open` gives in pixels, read from the header alone.

        Raises:
            DataError: as for `open`, as far as the header shows it.
        """
        return file_size(self.path, self.rule.orientation)

    def digest(self) -> str:
        """SHA-256 of the file's bytes, or of these and the rule where it changes how they are read; remembered."""
        return source_digests([self])[0]


@dataclass(frozen=True)
class MaskFileSource:
    """A mask file; opens as 8-bit grey in which every defective pixel is non-zero.

    Attributes:
        path: where the file lies.
        orientation: what becomes of its orientation tag.
    """

    path: Path
    orientation: Orientation = "apply"

    def open(self) -> Image.Image:
        """The decoded mask, mode L; a pixel is zero only where every stored channel is zero.

        Raises:
            DataError: the file is missing, empty, truncated, no image, or over the pixel limit.
        """
        with opened(self.path) as stream:
            return decode_mask(stream, str(self.path), orientation=self.orientation)

    def size(self) -> tuple[int, int]:
        """Width and height of what `open` gives in pixels, read from the header alone.

        Raises:
            DataError: as for `open`, as far as the header shows it.
        """
        return file_size(self.path, self.orientation)

    def digest(self) -> str:
        """SHA-256 of the file's bytes, or of these and the rule where it changes how they are read; remembered."""
        return source_digests([self])[0]


def source_digests(
    sources: Sequence[FileSource | MaskFileSource], cache: Path | None = None, threads: int | None = None
) -> list[str]:
    """Digest of each file with its rule, in order; what the headers say is remembered by content.

    Args:
        sources: the files.
        cache: as in `subband.data.digests.file_digests`.
        threads: likewise.

    Raises:
        DataError: a file cannot be read.
    """
    contents = file_digests([source.path for source in sources], cache, threads)
    # An image over the limit has no form, until the limit is raised.
    forms = remembered_facts(
        f"form-1 {pixel_limit()}", contents, lambda place: _form_text(sources[place].path), cache, threads
    )
    found = []
    for source, content, text in zip(sources, contents, forms, strict=True):
        tag, deep = text.split()
        rule = source.rule if isinstance(source, FileSource) else ReadingRule(orientation=source.orientation)
        found.append(StoredForm(int(tag), deep == "deep").digest(content, rule))
    return found


def _form_text(path: Path) -> str:
    try:
        with opened(path) as stream, header(stream, str(path), None) as picture:
            form = stored_form(picture)
    except DataError:  # no image: whoever opens it is told
        form = StoredForm()
    return f"{form.tag} {'deep' if form.deep else 'plain'}"


def highest_sample(path: Path) -> int:
    """Highest sample of an image file of more than 8 bits (`subband.data.reading.is_deep`); 0 of other files.

    Raises:
        DataError: as `FileSource.open`.
    """
    found = 0

    def look(picture: Image.Image) -> Image.Image:
        nonlocal found
        if is_deep(picture):
            found = int(deep_samples(picture).max())
        return picture

    with opened(path) as stream:
        decode(stream, str(path), None, look)
    return found


def to_picture(value: Image.Image | NDArray[np.generic], rule: ReadingRule = PLAIN) -> Image.Image:
    """An image in 8-bit RGB of a PIL image in any mode or of an array of numbers, as a file of the same samples is read.

    Args:
        value: a PIL image, or an array as `subband.data.reading.array_picture` takes it.
        rule: how samples are scaled and tags heeded.

    Raises:
        ParamsError: neither, or an array of another form.
        DataError: it cannot be decoded, or its samples are out of range.
    """
    if isinstance(value, np.ndarray):
        return array_picture(value, rule.bits)
    if not isinstance(value, Image.Image):
        raise ParamsError(f"an image is a PIL image or an array (H, W, 3), not {type(value).__name__}")
    try:
        return to_rgb(alone(value), rule)
    except (OSError, SyntaxError) as error:
        raise DataError(f"an image is damaged or truncated ({first_line(error)}); send it again") from error


def decode_image(data: bytes, what: str, max_pixels: int | None = None, rule: ReadingRule = PLAIN) -> Image.Image:
    """Decode an encoded image that is already in memory, for instance the body of a request.

    Args:
        data: bytes of a PNG, JPEG, BMP, TIFF, WebP, GIF or PPM file.
        what: how messages call the image ("request body", a file name).
        max_pixels: largest width x height; by default `pixel_limit()`.
        rule: how it is read.

    Returns:
        The image, mode RGB.

    Raises:
        DataError: empty, truncated, no image, or over the pixel limit.
    """
    return decode_rgb(io.BytesIO(data), what, max_pixels, rule)


def decode_frames(
    data: bytes, what: str, max_pixels: int | None = None, rule: ReadingRule = PLAIN
) -> list[Image.Image]:
    """Decode every frame of an encoded image: one of most files, several of an animation or a TIFF of many pages.

    Args:
        data: as `decode_image` takes.
        what: how messages call it.
        max_pixels: most pixels of all frames together; by default `pixel_limit()`.
        rule: how they are read.

    Returns:
        The frames in their order, mode RGB.

    Raises:
        DataError: as `decode_image`, of any frame.
    """
    limit = pixel_limit() if max_pixels is None else max_pixels
    frames: list[Image.Image] = []

    def collect(picture: Image.Image) -> Image.Image:
        count = getattr(picture, "n_frames", 1)
        if count * picture.width * picture.height > limit:
            size = f"of {count} frames of {picture.width} x {picture.height} pixels"
            raise DataError(too_large("the sequence", f" {size} has", limit))
        try:
            frames.extend(to_rgb(frame, rule) for frame in ImageSequence.Iterator(picture))
        except (OSError, SyntaxError) as error:
            raise DataError(f"frame {len(frames) + 1} is damaged or truncated ({first_line(error)})") from error
        return frames[0]

    decode(io.BytesIO(data), what, max_pixels, collect)
    return frames


def decode_rgb(stream: IO[bytes], what: str, max_pixels: int | None = None, rule: ReadingRule = PLAIN) -> Image.Image:
    """As `decode_image`, from an open binary stream."""
    return decode(stream, what, max_pixels, lambda picture: to_rgb(alone(picture), rule))


def decode_mask(
    stream: IO[bytes], what: str, max_pixels: int | None = None, orientation: Orientation = "apply"
) -> Image.Image:
    """As `decode_image`, but into 8-bit grey in which a pixel is zero only where every stored channel is zero."""
    return decode(stream, what, max_pixels, lambda picture: _upright(alone(picture), _to_mask, orientation))


def decode_grey(
    stream: IO[bytes], what: str, max_pixels: int | None = None, orientation: Orientation = "apply"
) -> Image.Image:
    """As `decode_image`, but into 8-bit grey levels, of colours the highest channel.

    Deeper samples are scaled to 0..255 and rounded up, so that here too only zero becomes zero.
    """
    return decode(stream, what, max_pixels, lambda picture: _upright(alone(picture), _to_grey, orientation))


def decode_ids(
    stream: IO[bytes], what: str, max_pixels: int | None = None, orientation: Orientation = "apply"
) -> Image.Image:
    """As `decode_image`, but into label ids, mode L: indices of a palette, and samples as stored.

    The highest sample of 16 bits becomes 255, like the highest of 8; other samples above 254 become 254.
    """
    return decode(stream, what, max_pixels, lambda picture: _upright(alone(picture), _to_ids, orientation))


def picture_size(source: ImageSource) -> tuple[int, int]:
    """Width and height of an image in pixels, from its header or recipe where it has one, else by decoding it."""
    return source.size() if isinstance(source, _Sized) else source.open().size


def file_size(path: Path, orientation: Orientation = "apply") -> tuple[int, int]:
    """Width and height in pixels, from the header of an image file alone; errors as `FileSource.size`."""
    with opened(path) as stream, header(stream, str(path), None) as picture:
        return seen_size(picture, orientation)


def to_rgb(picture: Image.Image, rule: ReadingRule = PLAIN) -> Image.Image:
    """The image in 8-bit RGB, by the rules at the top of this file; it carries no tags that would turn it again.

    Raises:
        DataError: deep samples of unknown scale.
    """
    return _upright(picture, lambda loaded: _rgb(loaded, rule.bits), rule.orientation, rule.bits)


def _upright(
    picture: Image.Image, convert: Conversion, orientation: Orientation, bits: int | None = None
) -> Image.Image:
    """Decode, convert and turn an image."""
    turn = turn_of(picture, orientation)  # before it is decoded: then Pillow forgets the tags of some formats
    loaded = decoded(picture, bits)
    try:
        return turned(convert(loaded), turn)
    except DataError:
        raise
    except ValueError as error:
        raise FormatError(str(error)) from error


def _rgb(picture: Image.Image, bits: int | None = None) -> Image.Image:
    if picture.mode.startswith(("I", "F")):
        stated = None if picture.format == "PPM" else bits  # Pillow has brought these to 16 bits
        return Image.fromarray(eight_bits(np.asarray(picture), picture.mode, stated)).convert("RGB")
    if picture.mode in ("P", "PA"):
        # Straight to RGB, Pillow warns about palettes whose transparency is a list of bytes; the colours are the same.
        return picture.convert("RGBA").convert("RGB")
    return picture.convert("RGB")


def _to_mask(picture: Image.Image) -> Image.Image:
    if (alpha := _alpha_mask(picture)) is not None:
        return alpha
    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(np.where(np.asarray(picture) != 0, np.uint8(255), np.uint8(0)))
    if picture.mode in ("1", "L"):
        return picture.convert("L")
    if picture.mode == "LA":
        return picture.getchannel("L")
    levels_HW = np.asarray(_rgb(picture)).max(axis=2)
    if picture.mode == "P" and levels_HW.min() > 0:
        indices_HW = np.asarray(picture)
        if indices_HW.min() == 0 < indices_HW.max():
            return Image.fromarray(indices_HW)
    return Image.fromarray(levels_HW)


def _alpha_mask(picture: Image.Image) -> Image.Image | None:
    """The alpha channel of a mask whose colours tell nothing: some pixels are transparent, and the others have one colour."""
    if picture.mode not in ("LA", "La", "PA", "RGBA", "RGBa") and not (
        picture.mode == "P" and "transparency" in picture.info
    ):
        return None
    rgba_HW4 = np.asarray(picture.convert("RGBA"))
    alpha_HW = rgba_HW4[..., 3]
    if alpha_HW.min() == alpha_HW.max():
        return None
    visible_N3 = rgba_HW4[alpha_HW > 0, :3]
    return Image.fromarray(alpha_HW) if (visible_N3 == visible_N3[0]).all() else None


def _to_ids(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture)
        ignored = (values == 255) | (values >= 65535)
        return Image.fromarray(np.where(ignored, 255, values.clip(0, 254)).astype(np.uint8))
    if picture.mode == "P":
        return Image.fromarray(np.asarray(picture))
    return picture.convert("L").point([0, *[1] * 255]) if picture.mode == "1" else _to_mask(picture)


def _to_grey(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(eight_bits(np.asarray(picture), picture.mode, None, np.ceil))
    return _to_mask(picture)
