"""VisA in its three layouts, and what can be wrong with them."""

import pytest

from subband.data import open_dataset
from subband.errors import DataError
from tests.data.conftest import build_mvtec_category, write_mask, write_picture

HEADER = "object,split,label,image,mask"


def write_split(root, rows, name="1cls.csv", header=HEADER):
    path = root / "split_csv" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8-sig")


@pytest.fixture
def original(tmp_path):
    """The original layout with the categories candle and pcb1; rows in an order that sorting would change."""
    root, rows = tmp_path / "VisA", []
    for category in ("pcb1", "candle"):
        for index in (2, 0, 1):
            image = f"{category}/Data/Images/Normal/{index:04d}.JPG"
            write_picture(root / image, seed=index)
            rows.append(f"{category},{'test' if index == 0 else 'train'},normal,{image},")
        for index in (1, 0):
            image, mask = (
                f"{category}/Data/Images/Anomaly/{index:03d}.JPG",
                f"{category}/Data/Masks/Anomaly/{index:03d}.png",
            )
            write_picture(root / image, seed=10 + index)
            write_mask(root / mask, value=1)
            rows.append(f"{category},test,anomaly,{image},{mask}")
    write_split(root, rows)
    return root


def test_original_layout_keeps_the_order_of_rows(original):
    dataset = open_dataset(f"visa:{original}")
    assert dataset.categories == ("candle", "pcb1")
    assert dataset.name == "visa"
    category = dataset.category("candle")
    assert [sample.name for sample in category.train] == ["train/good/0002", "train/good/0001"]
    assert [(sample.name, sample.label) for sample in category.test] == [
        ("test/good/0000", 0),
        ("test/anomaly/001", 1),
        ("test/anomaly/000", 1),
    ]
    assert category.test[1].mask.open().getextrema() == (0, 1)
    assert open_dataset(f"visa:{original}?categories=pcb1").categories == ("pcb1",)


def test_labels_and_splits_in_other_spellings(original):
    rows = [
        "candle,TRAIN,0,candle\\Data\\Images\\Normal\\0000.JPG,",
        "candle,Test,Good,candle/Data/Images/Normal/0001.JPG,",
        "candle,test,1,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png",
    ]
    write_split(original, rows, "mine.csv")
    dataset = open_dataset(f"visa:{original}?split=mine.csv")
    category = dataset.category("candle")
    assert [sample.name for sample in category.train] == ["train/good/0000"]
    assert [sample.name for sample in category.test] == ["test/good/0001", "test/anomaly/000"]
    assert open_dataset(dataset.uri).category("candle") == category


def test_two_class_split_is_refused(original):
    rows = [
        "candle,train,normal,candle/Data/Images/Normal/0000.JPG,",
        "candle,train,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png",
    ]
    write_split(original, rows, "2cls_highshot.csv")
    with pytest.raises(DataError, match=r"puts 1 anomalies of candle into training \(line 3\).*use the 1-class split"):
        open_dataset(f"visa:{original}?split=2cls_highshot.csv")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("candle,train,normal,candle/Data/Images/Normal/9999.JPG,", r"line 2: .*9999\.JPG does not exist"),
        (
            "candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,",
            "line 2: .* is defective, but its column mask is empty",
        ),
        (
            "candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,nowhere.png",
            r"line 2: .*nowhere\.png does not exist",
        ),
        ("candle,val,normal,candle/Data/Images/Normal/0000.JPG,", "line 2: split is 'val', it must be train or test"),
        ("candle,train,,candle/Data/Images/Normal/0000.JPG,", "line 2: the column label is empty"),
        ("candle,test,normal,candle/Data/Images/Normal/0000.JPG,", "lists no good training image of candle"),
    ],
)
def test_broken_rows_are_named(original, row, message):
    write_split(original, [row])
    with pytest.raises(DataError, match=message):
        open_dataset(f"visa:{original}").category("candle")


def test_broken_split_files(original):
    write_split(original, [], header="object,split,image,mask")
    with pytest.raises(DataError, match="lacks the column label; expected object, split, label, image, mask"):
        open_dataset(f"visa:{original}")
    (original / "split_csv" / "1cls.csv").write_bytes(b"\xff\xfe\x00object")
    with pytest.raises(DataError, match="is not a CSV file in UTF-8"):
        open_dataset(f"visa:{original}")
    with pytest.raises(DataError, match=r"split CSV none\.csv lies neither in"):
        open_dataset(f"visa:{original}?split=none.csv")
    (original / "split_csv" / "1cls.csv").unlink()
    with pytest.raises(DataError, match=r"lacks split_csv/1cls\.csv, which comes with the VisA download"):
        open_dataset(f"visa:{original}")


def test_the_same_picture_twice_is_refused(original):
    write_split(original, ["candle,train,normal,candle/Data/Images/Normal/0000.JPG,"] * 2)
    with pytest.raises(DataError, match=r"line 3: .*second image called train/good/0000"):
        open_dataset(f"visa:{original}").category("candle")


@pytest.mark.parametrize("masks", ["Seg_mask/anomaly", "Data/Masks/Anomaly"])
@pytest.mark.parametrize("stem", ["{}", "{}_mask"])
def test_reorganised_layout(tmp_path, masks, stem):
    folder = tmp_path / "candle"
    write_picture(folder / "Data/train/normal/0001.JPG")
    write_picture(folder / "Data/test/normal/0002.jpg")
    write_picture(folder / "Data/test/anomaly/003.PNG")
    with pytest.raises(DataError, match=r"003\.PNG has no mask; expected .*Seg_mask/anomaly/003_mask\.png"):
        open_dataset(f"visa:{tmp_path}").category("candle")
    write_mask(folder / masks / f"{stem.format('003')}.png")
    category = open_dataset(f"visa:{tmp_path}").category("candle")
    assert [sample.name for sample in category.train] == ["train/good/0001"]
    assert [(sample.name, sample.label) for sample in category.test] == [("test/good/0002", 0), ("test/anomaly/003", 1)]
    assert category.test[1].mask.open().size == (24, 16)


def test_prepared_layout_and_no_layout(tmp_path):
    build_mvtec_category(tmp_path / "VisA_prepared" / "candle", defects=("bad",))
    category = open_dataset(f"visa:{tmp_path / 'VisA_prepared'}").category("candle")
    assert {sample.defect for sample in category.test} == {"good", "bad"}
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is no VisA folder; expected"):
        open_dataset(f"visa:{tmp_path / 'empty'}")
