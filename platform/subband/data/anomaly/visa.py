"""``visa:PATH``: folders of the VisA dataset (Zou et al., SPot-the-Difference, ECCV 2022), in any of its three layouts.

Original, as downloaded; the split CSV has the columns object, split, label, image, mask, with paths relative to the
root:

    root/split_csv/1cls.csv (or root/1cls.csv)
    root/<category>/Data/{Images/{Normal,Anomaly},Masks/Anomaly}

Reorganised:

    root/<category>/Data/{train/normal,test/normal,test/anomaly}
    root/<category>/Seg_mask/anomaly or Data/Masks/Anomaly, <stem>.png or <stem>_mask.png

And the layout of MVTec AD, which VisA's own preparation script writes (`subband.data.anomaly.mvtec`).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from subband.data.anomaly import mvtec
from subband.data.folders import (
    GOOD,
    FolderDataset,
    chosen_categories,
    existing_folder,
    folder_samples,
    joined,
    reading_options,
    visible_folders,
)
from subband.data.images import FileSource
from subband.data.sample import Category, Sample
from subband.data.segmentation.masks import MaskRule, mask_source
from subband.errors import DataError

ANOMALY = "anomaly"
COLUMNS = ("object", "split", "label", "image", "mask")
_GOOD_LABELS = frozenset({"normal", "good", "0"})
_SPLIT_FILES = ("split_csv/1cls.csv", "1cls.csv")


def open_visa(path: str, options: Mapping[str, str]) -> FolderDataset:
    """Open a VisA folder; the layout is recognised.

    Args:
        path: the root; relative to the current folder, ``~`` is the home folder.
        options: ``categories``, names to keep, separated by commas; ``split``, another split CSV of the original
            layout, relative to ``split_csv`` or to the root; ``masks`` and ``conflicts`` as in `subband.data.anomaly.mvtec`.

    Raises:
        DataError: no such folder, no layout recognised, an unknown option or category, or a CSV that is missing,
            lacks a column or puts anomalies into training.
    """
    uri = f"visa:{path}"
    root = existing_folder(path, uri)
    kept = {option: value for option, value in options.items() if option != "split"}
    rule, keep, more = reading_options(options, uri)
    split_file = _split_file(root, options.get("split"))
    if split_file is not None:
        rows = _read_rows(split_file)
        names, query = chosen_categories(kept, list(dict.fromkeys(row.category for row in rows)), uri, mvtec.OPTIONS)
        for name in names:
            _refuse_anomalies_in_training(split_file, name, rows)
        if "split" in options:
            query = joined(query, f"split={options['split']}")
        return FolderDataset(
            "visa", root, names, joined(query, more), lambda name: _read_split(root, split_file, name, rows, rule), keep
        )

    reorganised = {folder.name: folder for folder in visible_folders(root) if (folder / "Data" / "train").is_dir()}
    if reorganised:
        names, query = chosen_categories(kept, list(reorganised), uri, mvtec.OPTIONS)
        return FolderDataset(
            "visa",
            root,
            names,
            joined(query, more),
            lambda name: _read_reorganised(name, reorganised[name], rule),
            keep,
        )

    prepared = mvtec.category_folders(root)
    if prepared:
        names, query = chosen_categories(kept, list(prepared), uri, mvtec.OPTIONS)
        return FolderDataset(
            "visa", root, names, joined(query, more), lambda name: mvtec.read_category(name, prepared[name], rule), keep
        )

    if any((folder / "Data").is_dir() for folder in visible_folders(root)):
        raise DataError(f"{root} lacks {_SPLIT_FILES[0]}, which comes with the VisA download; put it back")
    raise DataError(
        f"{root} is no VisA folder; expected {_SPLIT_FILES[0]}, or <category>/Data/train/normal, "
        "or <category>/train/good"
    )


@dataclass(frozen=True)
class _Row:
    """One line of a split CSV."""

    line: int
    category: str
    split: Literal["train", "test"]
    label: int
    defect: str
    image: str
    mask: str


def _split_file(root: Path, asked: str | None) -> Path | None:
    if asked is None:
        return next((root / name for name in _SPLIT_FILES if (root / name).is_file()), None)
    for candidate in (root / "split_csv" / asked, root / asked):
        if candidate.is_file():
            return candidate
    raise DataError(f"split CSV {asked} lies neither in {root / 'split_csv'} nor in {root}")


def _read_rows(split_file: Path) -> list[_Row]:
    try:
        with split_file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            header = [name.strip() for name in reader.fieldnames or ()]
            missing = [column for column in COLUMNS if column not in header]
            if missing:
                raise DataError(
                    f"{split_file} lacks the column {missing[0]}; expected {', '.join(COLUMNS)}, "
                    f"found {', '.join(header)}"
                )
            reader.fieldnames = header
            return [_row(split_file, line, fields) for line, fields in enumerate(reader, start=2)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{split_file} is not a CSV file in UTF-8 ({error})") from error


def _row(split_file: Path, line: int, fields: Mapping[str, str | None]) -> _Row:
    values = {column: (fields.get(column) or "").strip() for column in COLUMNS}
    for column in COLUMNS[:-1]:
        if not values[column]:
            raise DataError(f"{split_file}, line {line}: the column {column} is empty")
    split = values["split"].lower()
    label = int(values["label"].lower() not in _GOOD_LABELS)
    defect = values["label"].lower() if label else GOOD
    if split not in ("train", "test"):
        raise DataError(f"{split_file}, line {line}: split is {values['split']!r}, it must be train or test")
    return _Row(
        line,
        values["object"],
        "train" if split == "train" else "test",
        label,
        ANOMALY if defect == "1" else defect,
        values["image"].replace("\\", "/"),
        values["mask"].replace("\\", "/"),
    )


def _refuse_anomalies_in_training(split_file: Path, name: str, rows: Sequence[_Row]) -> None:
    anomalies = [row for row in rows if row.category == name and row.split == "train" and row.label == 1]
    if anomalies:
        raise DataError(
            f"{split_file} puts {len(anomalies)} anomalies of {name} into training (line {anomalies[0].line}), "
            "as the 2-class splits of VisA do; only good images are learnt from, so use the 1-class split, 1cls.csv"
        )


def _read_split(root: Path, split_file: Path, name: str, rows: Sequence[_Row], rule: MaskRule | None) -> Category:
    samples: dict[str, Sample] = {}
    for row in rows:
        if row.category != name:
            continue
        where = f"{split_file}, line {row.line}"
        sample_name = f"{row.split}/{row.defect}/{PurePosixPath(row.image).stem}"
        if sample_name in samples:
            raise DataError(f"{where}: {row.image} is the second image called {sample_name} of {name}; rename one")
        mask = None
        if row.label:
            if not row.mask:
                raise DataError(f"{where}: {row.image} is defective, but its column mask is empty")
            mask = mask_source(_existing_file(root, row.mask, where), rule)
        image = FileSource(_existing_file(root, row.image, where))
        samples[sample_name] = Sample(sample_name, row.split, row.label, row.defect, image, mask)
    train = tuple(sample for sample in samples.values() if sample.split == "train")
    if not train:
        raise DataError(f"{split_file} lists no good training image of {name}")
    return Category(name, train, tuple(sample for sample in samples.values() if sample.split == "test"))


def _existing_file(root: Path, relative: str, where: str) -> Path:
    path = root / relative
    if not path.is_file():
        raise DataError(f"{where}: {path} does not exist; complete the download or correct the line")
    return path


def _read_reorganised(name: str, folder: Path, rule: MaskRule | None) -> Category:
    data = folder / "Data"
    train = folder_samples(data / "train" / "normal", "train", GOOD)
    if not train:
        raise DataError(f"category {name}: {data / 'train' / 'normal'} holds no images; put the good ones there")
    mask_folder = next(
        (place for place in (folder / "Seg_mask" / ANOMALY, data / "Masks" / "Anomaly") if place.is_dir()),
        folder / "Seg_mask" / ANOMALY,
    )
    good = folder_samples(data / "test" / "normal", "test", GOOD)
    defective = folder_samples(data / "test" / ANOMALY, "test", ANOMALY, mask_folder, rule)
    return Category(name, tuple(train), tuple(good + defective))
