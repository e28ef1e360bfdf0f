"""Picture files: decoding with Pillow into 8-bit RGB images and 8-bit grey masks.

Every mode that Pillow reads becomes the same two kinds of picture:

- 16-bit grey is scaled (65535 becomes 255), never clipped; floats in [0, 1] are scaled to 0..255.
- Alpha is dropped and the stored colours are kept, as the reference's ``convert("RGB")`` does: what a defect detector
  must look at is what the camera stored, not a composite over an invented background. Palette transparency is dropped
  likewise.
- 1-bit, 8-bit grey, palette and CMYK pictures are converted to RGB.
- A mask keeps every non-zero pixel non-zero: label ids as small as 1 of 65535, and colours that luminance would round
  to 0.
- The orientation tag of a JPEG is not applied: masks are drawn on the stored pixels.

The size stated by the header is checked before anything is decoded.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from PIL import Image, ImageSequence

from subband.data.digests import file_digest
from subband.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from subband.data.sample import ImageSource

    Conversion = Callable[[Image.Image], Image.Image]

DEFAULT_MAX_PIXELS = 100_000_000
MAX_PIXELS_VARIABLE = "SUBBAND_MAX_PIXELS"

# Pictures arrive over HTTP too, and some of Pillow's other decoders start external programs (EPS starts Ghostscript).
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")


@runtime_checkable
class _Sized(Protocol):
    """A source that knows its size without decoding."""

    def size(self) -> tuple[int, int]: ...


@dataclass(frozen=True)
class FileSource:
    """An image file; opens as RGB.

    Attributes:
        path: where the file lies.
    """

    path: Path

    def open(self) -> Image.Image:
        """The decoded picture, mode RGB.

        Raises:
            DataError: the file is missing, empty, truncated, no picture, or over the pixel limit.
        """
        with opened(self.path) as stream:
            return decode_rgb(stream, str(self.path))

    def size(self) -> tuple[int, int]:
        """Width and height in pixels, read from the header alone.

        Raises:
            DataError: as for `open`, as far as the header shows it.
        """
        return file_size(self.path)

    def digest(self) -> str:
        """SHA-256 of the file's bytes, remembered by path, size and time of change."""
        return file_digest(self.path)


@dataclass(frozen=True)
class MaskFileSource:
    """A mask file; opens as 8-bit grey in which every defective pixel is non-zero.

    Attributes:
        path: where the file lies.
    """

    path: Path

    def open(self) -> Image.Image:
        """The decoded mask, mode L; a pixel is zero only where every stored channel is zero.

        Raises:
            DataError: the file is missing, empty, truncated, no picture, or over the pixel limit.
        """
        with opened(self.path) as stream:
            return decode_mask(stream, str(self.path))

    def size(self) -> tuple[int, int]:
        """Width and height in pixels, read from the header alone.

        Raises:
            DataError: as for `open`, as far as the header shows it.
        """
        return file_size(self.path)

    def digest(self) -> str:
        """SHA-256 of the file's bytes, remembered by path, size and time of change."""
        return file_digest(self.path)


def decode_image(data: bytes, what: str, max_pixels: int | None = None) -> Image.Image:
    """Decode an encoded picture that is already in memory, for instance the body of a request.

    Args:
        data: bytes of a PNG, JPEG, BMP, TIFF, WebP, GIF or PPM file.
        what: how messages call the picture ("request body", a file name).
        max_pixels: largest width x height; by default `pixel_limit()`.

    Returns:
        The picture, mode RGB.

    Raises:
        DataError: empty, truncated, no picture, or over the pixel limit.
    """
    return decode_rgb(io.BytesIO(data), what, max_pixels)


def decode_frames(data: bytes, what: str, max_pixels: int | None = None) -> list[Image.Image]:
    """Decode every frame of an encoded picture: one of most files, several of an animation or a TIFF of many pages.

    Args:
        data: as `decode_image` takes.
        what: how messages call it.
        max_pixels: most pixels of all frames together; by default `pixel_limit()`.

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
            raise DataError(_too_large("the sequence", f" {size} has", limit))
        try:
            frames.extend(to_rgb(frame) for frame in ImageSequence.Iterator(picture))
        except (OSError, SyntaxError) as error:
            raise DataError(f"frame {len(frames) + 1} is damaged or truncated ({_first_line(error)})") from error
        return frames[0]

    _decode(io.BytesIO(data), what, max_pixels, collect)
    return frames


def decode_rgb(stream: IO[bytes], what: str, max_pixels: int | None = None) -> Image.Image:
    """As `decode_image`, from an open binary stream."""
    return _decode(stream, what, max_pixels, to_rgb)


def decode_mask(stream: IO[bytes], what: str, max_pixels: int | None = None) -> Image.Image:
    """As `decode_image`, but into 8-bit grey in which a pixel is zero only where every stored channel is zero."""
    return _decode(stream, what, max_pixels, _to_mask)


def decode_grey(stream: IO[bytes], what: str, max_pixels: int | None = None) -> Image.Image:
    """As `decode_image`, but into 8-bit grey levels, of colours the highest channel.

    Deeper samples are scaled to 0..255 and rounded up, so that here too only zero becomes zero.
    """
    return _decode(stream, what, max_pixels, _to_grey)


def picture_size(source: ImageSource) -> tuple[int, int]:
    """Width and height of a picture in pixels, from its header or recipe where it has one, else by decoding it."""
    return source.size() if isinstance(source, _Sized) else source.open().size


def pixel_limit() -> int:
    """Largest picture that is decoded, in pixels: ``SUBBAND_MAX_PIXELS``, else 100 million.

    Raises:
        DataError: the variable is not a positive whole number.
    """
    text = os.environ.get(MAX_PIXELS_VARIABLE, "").strip().replace("_", "")
    if not text:
        return DEFAULT_MAX_PIXELS
    if not text.isdecimal() or int(text) == 0:
        raise DataError(f"{MAX_PIXELS_VARIABLE} is {text!r}; it must be a positive whole number of pixels")
    return int(text)


def opened(path: Path) -> IO[bytes]:
    """The file, open for reading.

    Raises:
        DataError: it is missing, a folder, or cannot be read.
    """
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; restore the file or take it out of the dataset") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder, where a picture file was expected") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its permissions") from error


def file_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, from the header of a picture file alone; errors as `FileSource.size`."""
    with opened(path) as stream, _header(stream, str(path), None) as picture:
        width, height = picture.size
        return width, height


def _decode(stream: IO[bytes], what: str, max_pixels: int | None, convert: Conversion) -> Image.Image:
    with _header(stream, what, max_pixels) as picture:
        try:
            picture.load()
        except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and more on broken data
            raise DataError(
                f"{what} is damaged or truncated ({_first_line(error)}); copy it again from its origin, or remove it"
            ) from error
        try:
            return convert(picture)
        except DataError as error:
            raise DataError(f"{what}: {error}") from None
        except ValueError as error:
            raise DataError(f"{what} has the unsupported pixel format {picture.mode}; save it as 8-bit RGB") from error


def _header(stream: IO[bytes], what: str, max_pixels: int | None) -> Image.Image:
    """The picture with its header read and its pixels not yet decoded."""
    limit = pixel_limit() if max_pixels is None else max_pixels
    _let_pillow_pass(limit)
    try:
        picture = Image.open(stream, formats=_readable_formats())
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(_too_large(what, "", limit)) from None
    except Exception as error:  # as in _decode
        stream.seek(0, io.SEEK_END)
        if stream.tell() == 0:
            raise DataError(f"{what} is empty (0 bytes); copy it again from its origin, or remove it") from None
        raise DataError(
            f"{what} is not a picture that can be read; save it as PNG, JPEG, BMP, TIFF, WebP, GIF or PPM"
        ) from error
    width, height = picture.size
    if width * height > limit:
        picture.close()
        raise DataError(_too_large(what, f" has {width} x {height} pixels,", limit))
    return picture


@cache
def _readable_formats() -> tuple[str, ...]:
    """The listed formats that this build of Pillow can read (WebP is optional there)."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _too_large(what: str, size: str, limit: int) -> str:
    return (
        f"{what}{size or ' has'} more than the limit of {limit:,} pixels; cut it into tiles or make it smaller, "
        f"or set {MAX_PIXELS_VARIABLE} higher if you trust the file"
    )


def _let_pillow_pass(limit: int) -> None:
    """Raise Pillow's own limit to ours where ours is higher: it is a process-wide setting, so it is never lowered."""
    if Image.MAX_IMAGE_PIXELS is not None and limit > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = limit


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def to_rgb(picture: Image.Image) -> Image.Image:
    """The picture in 8-bit RGB, by the rules at the top of this file.

    Raises:
        DataError: deep samples of unknown scale.
    """
    if picture.mode.startswith(("I", "F")):
        grey = Image.fromarray(_deep_to_8_bit(picture))
        return grey.convert("RGB")
    if picture.mode in ("P", "PA"):
        # Straight to RGB, Pillow warns about palettes whose transparency is a list of bytes; the colours are the same.
        return picture.convert("RGBA").convert("RGB")
    return picture.convert("RGB")


def _to_mask(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(np.where(np.asarray(picture) != 0, np.uint8(255), np.uint8(0)))
    if picture.mode in ("1", "L"):
        return picture.convert("L")
    if picture.mode == "LA":
        return picture.getchannel("L")
    return Image.fromarray(np.asarray(to_rgb(picture)).max(axis=2))


def _to_grey(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(_deep_to_8_bit(picture, np.ceil))
    return _to_mask(picture)


def _deep_to_8_bit(picture: Image.Image, rounding: np.ufunc = np.rint) -> NDArray[np.uint8]:
    """8-bit grey values of a picture with 16-bit, 32-bit or float samples.

    Raises:
        DataError: the samples fit neither 0..65535 nor 0.0..1.0, so their scale is unknown.
    """
    values = np.asarray(picture).astype(np.float64)
    top = 1.0 if picture.mode == "F" else 65535.0
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= top):
        raise DataError(
            f"its samples (mode {picture.mode}) go from {values.min():g} to {values.max():g}, outside 0..{top:g}, "
            "so their scale is unknown; save it as 8-bit or 16-bit grey"
        )
    return np.asarray(rounding(values * (255.0 / top)), np.uint8)
