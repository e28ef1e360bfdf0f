"""Opening image files with Pillow: which formats, how large, and what is said of files that cannot be decoded."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO

from PIL import Image

from subband.errors import DataError

Conversion = Callable[[Image.Image], Image.Image]

DEFAULT_MAX_PIXELS = 100_000_000
MAX_PIXELS_VARIABLE = "SUBBAND_MAX_PIXELS"

# Images arrive over HTTP too, and some of Pillow's other decoders start external programs (EPS starts Ghostscript).
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")

_SUBFILE_TYPE, _REDUCED = 254, 1  # TIFF's tag of a page, and its bit for a smaller copy of another page


class FormatError(DataError):
    """Pixels of a form that cannot be converted."""


def pixel_limit() -> int:
    """Largest image that is decoded, in pixels: ``SUBBAND_MAX_PIXELS``, else 100 million.

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
        raise DataError(f"{path} is a folder, where an image file was expected") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its permissions") from error


def decode(stream: IO[bytes], what: str, max_pixels: int | None, convert: Conversion) -> Image.Image:
    """Open an encoded image and convert it.

    Args:
        stream: the bytes.
        what: how messages call the image.
        max_pixels: largest width x height; by default `pixel_limit()`.
        convert: decodes the pixels too; its errors are named.

    Raises:
        DataError: empty, truncated, no image, or over the pixel limit.
    """
    with header(stream, what, max_pixels) as picture:
        try:
            return convert(picture)
        except FormatError as error:
            raise DataError(f"{what} has the unsupported pixel format {picture.mode}; save it as 8-bit RGB") from error
        except DataError as error:
            raise DataError(f"{what}: {error}") from None
        except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and more on broken data
            raise DataError(
                f"{what} is damaged or truncated ({first_line(error)}); copy it again from its origin, or remove it"
            ) from error


def header(stream: IO[bytes], what: str, max_pixels: int | None) -> Image.Image:
    """The image with its header read and its pixels not yet decoded."""
    limit = pixel_limit() if max_pixels is None else max_pixels
    _let_pillow_pass(limit)
    try:
        picture = Image.open(stream, formats=_readable_formats())
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(too_large(what, "", limit)) from None
    except Exception as error:  # as in _decode
        stream.seek(0, io.SEEK_END)
        if stream.tell() == 0:
            raise DataError(f"{what} is empty (0 bytes); copy it again from its origin, or remove it") from None
        raise DataError(
            f"{what} is not an image that can be read; save it as PNG, JPEG, BMP, TIFF, WebP, GIF or PPM"
        ) from error
    width, height = picture.size
    if width * height > limit:
        picture.close()
        raise DataError(too_large(what, f" has {width} x {height} pixels,", limit))
    return picture


def frame_count(picture: Image.Image) -> int:
    """Images of their own in a file: 1, or more of an animation or a TIFF of many pages.

    The preview behind a phone's JPEG and the smaller copies behind a large TIFF are none.
    """
    if picture.format == "MPO":
        return 1
    try:
        count = int(getattr(picture, "n_frames", 1))
    except Exception:  # of an image whose file is closed already
        return 1
    if count == 1 or picture.format != "TIFF":
        return count
    place, whole = picture.tell(), 0
    for number in range(count):
        picture.seek(number)
        whole += not int(picture.tag_v2.get(_SUBFILE_TYPE, 0)) & _REDUCED  # type: ignore[attr-defined]
    picture.seek(place)
    return max(whole, 1)


def alone(picture: Image.Image) -> Image.Image:
    """The same image, if it is the only one of its file: else all but the first would be passed over.

    Raises:
        DataError: it has several frames; the message has no subject.
    """
    if (count := frame_count(picture)) > 1:
        raise DataError(
            f"it has {count} frames, of which the first alone would be looked at; save each as a file of its own"
        )
    return picture


@cache
def _readable_formats() -> tuple[str, ...]:
    """The listed formats that this build of Pillow can read (WebP is optional there)."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def too_large(what: str, size: str, limit: int) -> str:
    """Message for an image over the limit; `size` continues `what`."""
    return (
        f"{what}{size or ' has'} more than the limit of {limit:,} pixels; cut it into tiles or make it smaller, "
        f"or set {MAX_PIXELS_VARIABLE} higher if you trust the file"
    )


def _let_pillow_pass(limit: int) -> None:
    """Raise Pillow's own limit to ours where ours is higher: it is a process-wide setting, so it is never lowered."""
    if Image.MAX_IMAGE_PIXELS is not None and limit > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = limit


def first_line(error: Exception) -> str:
    """What an error says, or its kind."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
