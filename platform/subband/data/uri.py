"""Opening a dataset by URI: ``scheme:path?option=value&option=value``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path

from subband.data.ruled import read_as_wanted, wanted_reading
from subband.data.sample import Dataset
from subband.errors import DataError, unknown_name

# A family opens the path and the options of its URIs, and checks both.
SCHEMES = {
    "synthetic": "embedded.synthetic:open_synthetic",
    "photos": "embedded.photos:open_photos",
    "mvtec": "anomaly.mvtec:open_mvtec",
    "visa": "anomaly.visa:open_visa",
    "synthetic-surface": "embedded.synthetic_surface:open_synthetic_surface",
    "pairs": "segmentation.pairs:open_pairs",
    "folder": "anomaly.folder:open_folder",
    "table": "anomaly.table:open_table",
    "images": "plain:open_plain",
    "moving-mnist": "video.moving_mnist:open_moving_mnist",
    "moving-digits": "video.moving_mnist:open_moving_digits",
    "synthetic-coco": "embedded.synthetic_coco:open_synthetic_coco",
    "coco": "detection.coco:open_coco",
    "synthetic-shapes": "embedded.synthetic_shapes:open_synthetic_shapes",
    "imagefolder": "classification.image_folder:open_image_folder",
    "timm": "classification.timm_data:open_timm",
}
"""By scheme, the module of its family and the function that opens it; imported when it is asked for."""
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
        return _family(scheme)(path, options)
    wanted, options = wanted_reading(options, uri.strip())
    return read_as_wanted(_family(scheme)(path, options), wanted)


def _family(scheme: str) -> Callable[[str, Mapping[str, str]], Dataset]:
    module, function = SCHEMES[scheme].split(":")
    return getattr(importlib.import_module(f"subband.data.{module}"), function)  # type: ignore[no-any-return]


def _scheme_message(uri: str, scheme: str, has_colon: bool) -> str:
    from subband.data.detection.coco import is_coco_folder
    from subband.data.segmentation.pairs import is_pairs_folder

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
