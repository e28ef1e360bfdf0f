"""Images of single digits: MNIST's files as the user has them, and scikit-learn's digits, which need no download."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from subband.errors import DataError

Digits = npt.NDArray[np.uint8]
"""(N, 28, 28) uint8, white on black, read-only."""

SIDE = 28
GZIP, IMAGES = b"\x1f\x8b", b"\x00\x00\x08\x03"  # the first bytes of gzip files, and of idx files of uint8 images
TEST_SHARE = 0.2  # of scikit-learn's digits, which come without a split
SKLEARN_LEVELS = 16

_FOLDERS = (".", "raw", "MNIST/raw")  # as downloaded, and as torchvision stores them
_PARTS = {"train": "train-images", "test": "t10k-images"}


def idx_file(root: Path, part: str) -> Path | None:
    """The file of a part's images: ``train-images-idx3-ubyte`` or ``t10k-images-idx3-ubyte``, gzipped or not.

    Args:
        root: the folder that holds it, or torchvision's folder around it.
        part: ``train`` or ``test``.

    Returns:
        The file, or None.
    """
    names = [f"{_PARTS[part]}{dot}idx3-ubyte{suffix}" for suffix in ("", ".gz") for dot in ("-", ".")]
    return next((file for folder in _FOLDERS for name in names if (file := root / folder / name).is_file()), None)


def read_idx(path: Path) -> Digits:
    """The images of an idx file, gzipped or not, whatever its name says.

    Raises:
        DataError: it cannot be read, is no idx file of 28 x 28 uint8 images, or is shorter or longer than it says.
    """
    try:
        content = path.read_bytes()
        if content.startswith(GZIP):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged or cannot be read ({error}); fetch it again") from error
    if not content.startswith(IMAGES) or len(content) < 16:
        raise DataError(
            f"{path} is no idx file of images: it begins with {content[:4].hex(' ')} instead of 00 00 08 03"
        )
    shape = struct.unpack(">III", content[4:16])
    if shape[1:] != (SIDE, SIDE):
        raise DataError(f"{path} holds images of {shape[1]} x {shape[2]} pixels; digits here are {SIDE} x {SIDE}")
    if len(content) - 16 != math.prod(shape):
        raise DataError(
            f"{path} says that it holds {shape[0]} images, {math.prod(shape)} bytes, but has {len(content) - 16}; fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=16).reshape(shape)


def sklearn_digits() -> tuple[Digits, Digits]:
    """Training and test digits of scikit-learn (UCI ML hand-written digits), 8 x 8 pixels upscaled to 28 x 28, bicubic.

    The last fifth is the test part, in the order of the source: neighbours there may be of one hand, which a shuffled split would
    put on both sides.
    """
    from sklearn.datasets import load_digits  # here, since importing it takes a second

    small = np.rint(load_digits().images * (255 / SKLEARN_LEVELS)).astype(np.uint8)
    size, way = (SIDE, SIDE), Image.Resampling.BICUBIC
    digits: Digits = np.stack([np.asarray(Image.fromarray(each).resize(size, way)) for each in small])
    digits.flags.writeable = False
    tests = round(TEST_SHARE * len(digits))
    return digits[:-tests], digits[-tests:]
