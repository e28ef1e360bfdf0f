"""Facts of image files that their headers tell, remembered by content, so that a second look at a data set takes a moment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from subband.data.decoding import frame_count, opened
from subband.data.digests import file_digests, remembered_facts
from subband.data.images import FileSource
from subband.data.reading import Orientation, orientation_tag, seen_size
from subband.errors import DataError

_CHUNK = 256  # files between two reports of progress; what is found until then is kept if the process is interrupted
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
_TAIL = 64


@dataclass(frozen=True)
class FileFacts:
    """What is known of an image file without decoding it.

    Attributes:
        path: of the file.
        digest: SHA-256 of its bytes.
        width, height: as stored, pixels.
        mode: Pillow's name of its pixel format: L, RGB, I;16 ...
        format: PNG, JPEG ...
        frames: 1, or more for animations and files of many pages.
        orientation: its EXIF tag, 1 to 8; 1 where it has none.
        problem: why it cannot be read, or empty.
    """

    path: Path
    digest: str
    width: int = 0
    height: int = 0
    mode: str = ""
    format: str = ""
    frames: int = 1
    orientation: int = 1
    problem: str = ""

    def size(self, orientation: Orientation) -> tuple[int, int]:
        """Width and height, with its tag applied or ignored."""
        turns = orientation == "apply" and self.orientation >= 5  # by a quarter
        return (self.height, self.width) if turns else (self.width, self.height)


def file_facts(paths: Sequence[Path], decode: bool = False, cache: Path | None = None) -> Iterator[list[FileFacts]]:
    """Facts of image files, some at a time, in order.

    A file whose end is missing, or whose format has no mark at its end, is decoded to see whether it is damaged; the others only if
    `decode` asks for it.

    Args:
        paths: the files.
        decode: whether to decode every file and so find all damage.
        cache: folder of the digest cache; by default as in `subband.data.digests`.

    Raises:
        DataError: a file does not exist or may not be read.
    """
    kind = "decoded-3" if decode else "header-3"
    for start in range(0, len(paths), _CHUNK):
        chunk = paths[start : start + _CHUNK]
        digests = file_digests(chunk, cache)
        texts = remembered_facts(kind, digests, _reader(chunk, decode), cache)
        yield [
            FileFacts(path, digest, **json.loads(text))
            for path, digest, text in zip(chunk, digests, texts, strict=True)
        ]


def _reader(paths: Sequence[Path], decode: bool) -> Callable[[int], str]:
    return lambda place: json.dumps(_facts(paths[place], decode))


def _facts(path: Path, decode: bool) -> dict[str, str | int]:
    try:
        source = FileSource(path)
        source.size()  # the header's faults, in our words
        with opened(path) as stream, Image.open(stream) as image:
            width, height = seen_size(image, "ignore")
            found = FileFacts(
                path=path,
                digest="",
                width=width,
                height=height,
                mode=image.mode,
                format=image.format or "",
                frames=frame_count(image),
                orientation=orientation_tag(image),
            )
            stream.seek(-min(_TAIL, path.stat().st_size), 2)
            tail, end = stream.read(), _ENDS.get(found.format)
            whole = end is not None and end in tail
        if decode or not whole:
            source.open()
    except DataError as error:
        return {"problem": str(error).removeprefix(f"{path} ")}
    return {name: value for name, value in asdict(found).items() if name not in ("path", "digest")}
