"""Opening a dataset by URI: ``scheme:path?option=value&option=value``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from subband.data.anomaly.folder import open_folder
from subband.data.anomaly.mvtec import open_mvtec
from subband.data.anomaly.table import open_table
from subband.data.anomaly.visa import open_visa
from subband.data.classification.image_folder import open_image_folder
from subband.data.classification.timm_data import open_timm
from subband.data.detection.coco import is_coco_folder, open_coco
from subband.data.embedded.photos import open_photos
from subband.data.embedded.synthetic import open_synthetic
from subband.data.embedded.synthetic_coco import open_synthetic_coco
from subband.data.embedded.synthetic_shapes import open_synthetic_shapes
from subband.data.embedded.synthetic_surface import open_synthetic_surface
from subband.data.plain import open_plain
from subband.data.ruled import read_as_wanted, wanted_reading
from subband.data.sample import Dataset
from subband.data.segmentation.pairs import is_pairs_folder, open_pairs
from subband.data.video.moving_mnist import open_moving_digits, open_moving_mnist
from subband.errors import DataError, unknown_name

# A family opens the path and the options of its URIs, and checks both.
SCHEMES: dict[str, Callable[[str, Mapping[str, str]], Dataset]] = {
    "synthetic": open_synthetic,
    "photos": open_photos,
    "mvtec": open_mvtec,
    "visa": open_visa,
    "synthetic-surface": open_synthetic_surface,
    "pairs": open_pairs,
    "folder": open_folder,
    "table": open_table,
    "images": open_plain,
    "moving-mnist": open_moving_mnist,
    "moving-digits": open_moving_digits,
    "synthetic-coco": open_synthetic_coco,
    "coco": open_coco,
    "synthetic-shapes": open_synthetic_shapes,
    "imagefolder": open_image_folder,
    "timm": open_timm,
}
READ_BY_RULE = ("mvtec", "visa", "folder", "table", "pairs", "images", "imagefolder")
"""Families that have the options of `subband.data.ruled`."""
EMBEDDED = ("synthetic", "photos", "synthetic-surface", "moving-digits", "synthetic-coco", "synthetic-shapes")


def is_embedded(uri: str) -> bool:
    """Whether a dataset comes with the package: a demonstration, which needs neither files nor a network."""
    return uri.strip().partition(":")[0] in EMBEDDED


def open_dataset(uri: str) -> Dataset:
    """Open a dataset.

    Args:
        uri: ``synthetic:``, ``photos:``, ``mvtec:PATH``, ``visa:PATH``, ``folder:PATH`` (any layout) or ``table:FILE`` (CSV or
            Parquet), for segmentation ``synthetic-surface:`` or ``pairs:PATH``, for classification ``synthetic-shapes:``,
            ``imagefolder:PATH`` or ``timm:NAME``, for object detection ``synthetic-coco:`` or ``coco:PATH``, for video prediction
            ``moving-digits:`` or ``moving-mnist:PATH``, for predictions alone ``images:PATH``, and options after ``?``. A relative
            path is resolved against the current folder; the dataset's own ``uri`` is absolute. Nothing is decoded or drawn yet, but
            that digits to be moved are read.

    Returns:
        The dataset; its categories are read when they are asked for.

    Raises:
        DataError: no or an unknown scheme, a missing folder, or an illegal option; the message says what would be
            right.

    Example:
        >>> open_dataset("synthetic:?train=8&categories=weave,nut").categories
        ('nut', 'weave')
    """
    scheme, colon, rest = uri.strip().partition(":")
    if not colon or scheme not in SCHEMES:
        raise DataError(_scheme_message(uri.strip(), scheme, bool(colon)))
    path, _, query = rest.partition("?")
    options = _options(query, uri)
    if scheme not in READ_BY_RULE:
        return SCHEMES[scheme](path, options)
    wanted, options = wanted_reading(options, uri.strip())
    return read_as_wanted(SCHEMES[scheme](path, options), wanted)


def _scheme_message(uri: str, scheme: str, has_colon: bool) -> str:
    folder = Path(uri).expanduser()
    if uri and folder.is_dir():
        marks = {
            "mvtec": [each.name for each in folder.glob("train/*/")] == ["good"] or any(folder.glob("*/train/good")),
            "pairs": is_pairs_folder(folder),
            "visa": (folder / "split_csv").is_dir() or any(folder.glob("*/Data")),
            "coco": is_coco_folder(folder),
            "imagefolder": (folder / "train").is_dir() or (folder / "val").is_dir(),
        }
        layout = next((name for name, found in marks.items() if found), "folder")
        return f"{uri!r} is a folder; say which layout it has: {layout}:{uri}"
    if has_colon:
        return unknown_name("dataset scheme", scheme, SCHEMES)
    return f"{uri!r} is neither a dataset URI nor an existing folder; write synthetic: or mvtec:PATH or visa:PATH or pairs:PATH"


def _options(query: str, uri: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in query.split("&"):
        if not part:
            continue
        name, equals, value = part.partition("=")
        if not equals:
            raise DataError(f"option {part!r} of {uri!r} has no value; write {part}=VALUE")
        if name in options:
            raise DataError(f"option {name!r} of {uri!r} is given twice")
        options[name] = value
    return options
