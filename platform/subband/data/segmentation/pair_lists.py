"""Lists of pairs: text files with one "image mask" a line."""

from __future__ import annotations

from pathlib import Path

from subband.data.folders import IMAGE_SUFFIXES
from subband.errors import DataError


def read_list(root: Path, file: str) -> list[tuple[str, Path, Path]]:
    """Read a list of pairs.

    Args:
        root: what the list, and the paths in it, are relative to.
        file: the list. Each line holds the paths of an image and of its mask, separated by a tab, or by spaces where neither path
            has any; empty lines and lines that begin with ``#`` are passed over.

    Returns:
        For each pair a unique name (the image's path without its suffix), the image and the mask, in the order of the list.

    Raises:
        DataError: the list cannot be read or is empty, or a line has not two paths, names a file that does not exist or that is no
            image, or an image for the second time.
    """
    path = root / file
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise DataError(f"list {path} does not exist; lists lie in {root}, or are given by an absolute path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"list {path} cannot be read as UTF-8 text ({error})") from error
    pairs: dict[str, tuple[str, Path, Path]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{path}, line {number}"
        parts = [part.strip() for part in (line.split("\t") if "\t" in line else line.split())]
        if len(parts) != 2 or not all(parts):
            raise DataError(
                f"{where}: expected the paths of an image and of its mask (separated by a tab where a path has spaces), "
                f"found {line.strip()!r}"
            )
        image, mask = (_picture(root / part.replace("\\", "/"), where) for part in parts)
        name = _name(image, root)
        if name in pairs:
            raise DataError(f"{where}: {parts[0]} is the second image called {name}; remove or rename one")
        pairs[name] = (name, image, mask)
    if not pairs:
        raise DataError(f"list {path} names no pair; write one 'image mask' a line")
    return list(pairs.values())


def _picture(path: Path, where: str) -> Path:
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise DataError(f"{where}: {path} is no image (legal suffixes: {', '.join(sorted(IMAGE_SUFFIXES))})")
    if not path.is_file():
        raise DataError(f"{where}: {path} does not exist; correct the line, or add the file")
    return path


def _name(image: Path, root: Path) -> str:
    relative = image.relative_to(root) if image.is_relative_to(root) else Path(image.name)
    return relative.with_suffix("").as_posix()
