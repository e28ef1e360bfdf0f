"""``table:``: images listed in a CSV or Parquet file."""

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from subband.data import open_dataset
from subband.errors import DataError


@pytest.fixture
def parts(tmp_path):
    """Ten different images and two masks; a function that writes the rows of a table beside them."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for index in range(10):
        Image.fromarray(rng.integers(0, 256, (8, 12, 3), np.uint8)).save(tmp_path / "images" / f"{index}.png")
    for index in (8, 9):
        mask = np.zeros((8, 12), np.uint8)
        mask[2:4, 3:8] = 255
        Image.fromarray(mask).save(tmp_path / f"mask{index}.png")

    def write(*lines, name="parts.csv", encoding="utf-8"):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding=encoding)
        return f"table:{tmp_path / name}"

    return write


GOOD = [f"images/{i}.png,ok" for i in range(8)]


def read(uri):
    dataset = open_dataset(uri)
    return dataset.category(dataset.categories[0])


def test_path_and_label_are_enough(parts):
    category = read(parts("path,label", *GOOD, "images/8.png,scratch", "images/9.png,1"))
    assert category.name == "parts"
    assert len(category.train) == 6
    defects = {sample.defect for sample in category.test}
    assert defects == {"good", "scratch", "defective"}
    assert any("held back" in note for note in category.notes)


def test_every_column(parts):
    rows = [f"images/{i}.png;good;;cap;{'train' if i < 6 else 'test'};piece{i // 2}" for i in range(8)]
    uri = parts(
        "Path;Label;Mask;Category;Split;Group",
        *rows,
        "images/8.png;ng;mask8.png;cap;test;x",
        "images/9.png;ng;mask9.png;cap;test;",
    )
    category = read(uri)
    assert (len(category.train), len(category.test)) == (6, 4)
    assert [sample.group for sample in category.train] == ["piece0", "piece0", "piece1", "piece1", "piece2", "piece2"]
    assert [sample.mask is not None for sample in category.test] == [False, False, True, True]
    assert category.test[-1].group is None
    assert category.notes == ()


def test_categories_can_be_chosen(parts):
    rows = [f"images/{i}.png,ok,{'cap' if i % 2 else 'nut'}" for i in range(8)]
    uri = parts("path,label,category", *rows)
    assert open_dataset(uri).categories == ("cap", "nut")
    assert open_dataset(f"{uri}?categories=nut").categories == ("nut",)


def test_parquet_reads_like_csv(parts, tmp_path):
    csv = read(parts("path,label", *GOOD, "images/8.png,scratch"))
    table = pyarrow.table(
        {
            "path": [f"images/{i}.png" for i in range(9)],
            "label": ["ok"] * 8 + ["scratch"],
            "mask": [None] * 9,
            "weight": [1.5] * 9,
        }
    )
    parquet.write_table(table, tmp_path / "parts.parquet")
    assert read(f"table:{tmp_path / 'parts.parquet'}") == csv


def test_a_byte_order_mark_is_no_part_of_a_name(parts):
    assert read(parts("path,label", *GOOD, encoding="utf-8-sig")).train


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,label", *GOOD], "lacks the column path"),
        (["path"], "lacks the column|found: nothing"),
        (["path,label", *GOOD, "images/77.png,ok"], r"line 10.*77\.png does not exist"),
        (["path,label", *GOOD, "images/8.png,"], "line 10: the column label is empty"),
        (["path,label", *GOOD, GOOD[0]], "line 10.*line 2 already"),
        (["path,label,split", "images/0.png,ok,training"], "split is 'training', it must be train or test"),
        (["path,label,split", "images/0.png,ok,train", "images/8.png,ng,train"], "only good images are learnt from"),
        (["path,label,mask", "images/0.png,ok,mask8.png"], "is good, but has the mask"),
        (["path,label,mask", *(f"{g}," for g in GOOD), "images/8.png,ng,mask1.png"], "mask .*mask1.png does not exist"),
        (["path,label", "images/8.png,ng"], "no good image"),
        (["path,label,category", "images/0.png,ok,../cap"], "cannot name a folder"),
    ],
)
def test_bad_tables(parts, lines, message):
    with pytest.raises(DataError, match=message):
        read(parts(*lines))


def test_a_file_that_is_no_table(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        open_dataset(f"table:{tmp_path / 'no.csv'}")
    (tmp_path / "bad.parquet").write_bytes(b"PAR")
    with pytest.raises(DataError, match="not a Parquet file"):
        open_dataset(f"table:{tmp_path / 'bad.parquet'}")
