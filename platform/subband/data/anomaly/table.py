"""``table:FILE``: images listed in a CSV or Parquet table, one row an image.

========  ========  ==================================================================================================
column    needed    value
========  ========  ==================================================================================================
path      yes       of the image, absolute or relative to the table's folder
label     yes       good, ok, 0 ... for good; bad, ng, 1 ... for defective, or the name of the kind of defect
mask      no        path of the mask of a defective image; empty where the place is unknown
category  no        name of the product; without it, all rows are one category, named after the file
split     no        train or test; without it all defective images are for tests, and a fifth of the good ones is held back
group     no        images with the same text belong together (one piece, one day)
========  ========  ==================================================================================================

Other columns are ignored. The column names' letter case does not matter, and a CSV may be separated by commas, semicolons or tabs.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from subband.data.anomaly.hold_back import hold_back
from subband.data.folders import (
    GOOD,
    GOOD_NAMES,
    MASK_SUFFIXES,
    FolderDataset,
    chosen_categories,
    existing_file,
    joined,
    reading_options,
)
from subband.data.images import FileSource
from subband.data.sample import Category, Sample
from subband.data.segmentation.masks import MaskRule, mask_source
from subband.errors import DataError

OPTIONS = ("masks", "conflicts")
NEEDED, OPTIONAL = ("path", "label"), ("mask", "category", "split", "group")
DEFECTIVE = "defective"
_GOOD_LABELS = GOOD_NAMES | {"0", "0.0", "false"}
_BAD_LABELS = frozenset(
    ["1", "1.0", "true", "bad", "ng", "nok", "defect", "defective", "anomaly", "anomalous", "fail", "failed"]
)


def open_table(path: str, options: Mapping[str, str]) -> FolderDataset:
    """Open a table of images.

    Args:
        path: a ``.csv``, ``.tsv`` or ``.parquet`` file.
        options: ``categories``, names to keep, separated by commas; ``masks`` and ``conflicts`` as in `subband.data.anomaly.mvtec`.

    Raises:
        DataError: no such file, not a table, a missing column, an empty or illegal value, or an image that is listed twice.
    """
    uri = f"table:{path}"
    file = existing_file(path, uri)
    rows = _rows(file)
    names, query = chosen_categories(options, list(dict.fromkeys(row.category for row in rows)), uri, OPTIONS)
    rule, keep, more = reading_options(options, uri)

    @functools.cache
    def read(name: str) -> Category:
        return _read(file, name, [row for row in rows if row.category == name], rule)

    return FolderDataset("table", file, names, joined(query, more), read, keep)


@dataclass(frozen=True)
class _Row:
    """One image, as the table says it; `where` names its line in messages."""

    where: str
    path: str
    defect: str
    mask: str
    category: str
    split: str
    group: str | None


def _rows(file: Path) -> list[_Row]:
    table = _parquet(file) if file.suffix.lower() in (".parquet", ".pq") else _csv(file)
    columns = {name.strip().lower(): name for name in (table[0] if table else ())}
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        found = ", ".join(columns) or "nothing"
        raise DataError(
            f"{file} lacks the column {' and '.join(missing)}; a table of images has the columns {', '.join(NEEDED)} and, if you "
            f"like, {', '.join(OPTIONAL)}; found: {found}"
        )
    rows = []
    for line, fields in enumerate(table, start=2):
        values = {name: _text(fields.get(columns.get(name, ""))) for name in (*NEEDED, *OPTIONAL)}
        rows.append(_row(f"{file}, line {line}", file.stem, values, "split" in columns))
    seen: dict[str, _Row] = {}
    for row in rows:
        other = seen.setdefault(row.path, row)
        if other is not row:
            raise DataError(
                f"{row.where}: {row.path} stands in {other.where.rsplit(', ', 1)[1]} already; remove one of the lines"
            )
    return rows


def _csv(file: Path) -> list[Mapping[str, Any]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            head = stream.readline()
            stream.seek(0)
            delimiter = max(",;\t", key=head.count)
            return list(csv.DictReader(stream, delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} is not a CSV file in UTF-8 ({error}); save it as UTF-8, or as Parquet") from error


def _parquet(file: Path) -> list[Mapping[str, Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        return parquet.read_table(file).to_pylist()  # type: ignore[no-any-return]
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{file} is not a Parquet file ({str(error).splitlines()[0][:120]})") from error


def _text(value: Any) -> str:
    """Text of a cell; pandas writes missing values as NaN."""
    return "" if value is None or value != value else str(value).strip()


def _row(where: str, table: str, values: Mapping[str, str], has_split: bool) -> _Row:
    for column in NEEDED:
        if not values[column]:
            raise DataError(f"{where}: the column {column} is empty")
    label, split = values["label"].lower(), values["split"].lower()
    defect = GOOD if label in _GOOD_LABELS else DEFECTIVE if label in _BAD_LABELS else values["label"]
    if {"/", "\\"} & set(values["category"]) or values["category"].startswith("."):
        raise DataError(
            f"{where}: the category {values['category']!r} cannot name a folder; leave out slashes and a dot at its start"
        )
    if has_split and split not in ("train", "test"):
        raise DataError(f"{where}: split is {values['split']!r}, it must be train or test")
    if split == "train" and defect != GOOD:
        raise DataError(
            f"{where}: {values['path']} is defective ({values['label']}) and for training; only good images are learnt from: "
            "write test there"
        )
    if values["mask"] and defect == GOOD:
        raise DataError(
            f"{where}: {values['path']} is good, but has the mask {values['mask']}; correct the label or remove the mask"
        )
    return _Row(
        where,
        values["path"].replace("\\", "/"),
        defect,
        values["mask"].replace("\\", "/"),
        values["category"] or table,
        split,
        values["group"] or None,
    )


def _read(file: Path, name: str, rows: Sequence[_Row], rule: MaskRule | None) -> Category:
    samples = [_sample(file.parent, row, rule) for row in rows]
    seen: dict[str, _Row] = {}
    for sample, row in zip(samples, rows, strict=True):
        if seen.setdefault(sample.name, row) is not row:
            raise DataError(f"{row.where}: {row.path} is the second image called {sample.name} of {name}; rename one")
    good = [sample for sample in samples if not sample.label]
    train, test = ([sample for sample in good if sample.split == split] for split in ("train", "test"))
    notes = []
    if not train:
        raise DataError(f"{file} lists no good image of {name} to learn from")
    if not any(row.split for row in rows):
        train, test, note = hold_back(train, f"{file}, category {name}")
        notes.append(note)
    return Category(name, tuple(train), (*test, *(sample for sample in samples if sample.label)), tuple(notes))


def _sample(folder: Path, row: _Row, rule: MaskRule | None) -> Sample:
    split = "test" if row.defect != GOOD or row.split == "test" else "train"
    image = FileSource(_listed(folder, row.path, "image", row.where))
    mask = None
    if row.mask:
        path = _listed(folder, row.mask, "mask", row.where)
        if path.suffix.lower() not in MASK_SUFFIXES:
            raise DataError(f"{row.where}: mask {path} is no PNG, BMP or TIFF file; JPEG blurs the edges of masks")
        mask = mask_source(path, rule)
    name = f"{split}/{row.defect}/{PurePosixPath(row.path.lstrip('/')).with_suffix('')}"
    return Sample(name, split, int(row.defect != GOOD), row.defect, image, mask, row.group)  # type: ignore[arg-type]


def _listed(folder: Path, text: str, what: str, where: str) -> Path:
    path = folder / Path(text).expanduser()
    if not path.is_file():
        raise DataError(f"{where}: the {what} {path} does not exist; paths are relative to the folder of the table")
    return path
