"""Bit depth and orientation of whole data sets, by the options of their URIs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import subband.data.images
from subband.data import check_pairs, dataset_notes, fingerprint_dataset, load_masks, open_dataset
from subband.data.checks import check_files
from subband.data.detection.examples import check_pictures
from subband.data.preprocess import Preprocess
from subband.data.reading import ReadingRule
from subband.data.ruled import category_as_taught, reading_of
from subband.errors import DataError

Images = dict[str, np.ndarray]


def write(root: Path, images: Images, suffix: str = "png") -> Path:
    for name, samples in images.items():
        path = root / f"{name}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(samples).save(path)
    return root


def grey(top: int, kind: type = np.uint16, size: tuple[int, int] = (6, 9)) -> np.ndarray:
    """Samples from 0 to `top`."""
    return np.linspace(0, top, size[0] * size[1]).astype(kind).reshape(size)


def category(root: Path, train: np.ndarray, test: np.ndarray, suffix: str = "png", name: str = "part") -> Path:
    return write(root / name, {"train/good/0": train, "train/good/1": train // 2, "test/good/0": test}, suffix).parent


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("top", "bits"), [(255, 8), (256, 10), (1023, 10), (1711, 12), (4096, 14), (16384, 16)])
def test_the_highest_sample_of_all_images_tells_the_depth(top, bits, suffix, tmp_path):
    dataset = open_dataset(f"mvtec:{category(tmp_path, grey(90), grey(top), suffix)}")
    part = dataset.category("part")
    (note,) = [note for note in part.notes if "16-bit" in note]
    assert f"the highest of all is {top}" in note
    assert f"{bits} bits" in note
    assert reading_of(dataset) == ReadingRule(bits)
    highest = max(np.asarray(sample.image.open()).max() for sample in (*part.train, *part.test))
    assert highest == np.rint(top * 255 / (2**bits - 1))


def test_the_depth_is_one_for_all_categories_that_are_open(tmp_path):
    category(tmp_path, grey(900), grey(900), name="dark")
    category(tmp_path, grey(3000), grey(3000), name="light")
    both, dark = open_dataset(f"mvtec:{tmp_path}"), open_dataset(f"mvtec:{tmp_path}?categories=dark")
    assert {both.category(name).train[0].image.rule.bits for name in both.categories} == {12}
    assert reading_of(dark).bits == 10


def test_dark_images_of_8_bits_are_not_stretched_nor_decoded(tmp_path, monkeypatch):
    root = category(tmp_path, grey(40, np.uint8), grey(30, np.uint8))
    plain = fingerprint_dataset(open_dataset(f"mvtec:{root}"))
    monkeypatch.setattr(subband.data.images, "decode", None)  # whatever decodes would fail
    dataset = open_dataset(f"mvtec:{root}")
    assert reading_of(dataset) == ReadingRule()
    assert not dataset_notes(dataset)
    monkeypatch.undo()
    assert np.asarray(dataset.category("part").train[0].image.open()).max() == 40
    assert fingerprint_dataset(open_dataset(f"mvtec:{root}?bits=12")) == plain
    assert "no effect" in dataset_notes(open_dataset(f"mvtec:{root}?bits=12"))[0]


def test_stated_bits_win_and_change_the_fingerprint(tmp_path):
    root = category(tmp_path, grey(900), grey(900))
    found, stated, full = (open_dataset(f"mvtec:{root}{query}") for query in ("", "?bits=12", "?bits=16"))
    assert [reading_of(dataset).bits for dataset in (found, stated, full)] == [10, 12, 16]
    assert len({fingerprint_dataset(dataset) for dataset in (found, stated, full)}) == 3
    assert np.asarray(stated.category("part").train[0].image.open()).max() == np.rint(900 * 255 / 4095)
    assert reading_of(open_dataset(stated.uri)).bits == 12
    assert "as the URI says" in dataset_notes(stated)[0]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("bits=9", r"bits=9 leaves room for samples up to 511, but 2 images .*part.*up to 900; correct it to bits=10"),
        ("bits=7", "8 to 16"),
        ("bits=twelve", "8 to 16"),
        ("bit=12", "did you mean 'bits'"),
        ("orientation=up", "apply turns"),
        ("orientaton=ignore", "did you mean 'orientation'"),
    ],
)
def test_wrong_options_are_refused(query, words, tmp_path):
    root = category(tmp_path, grey(900), grey(900))
    with pytest.raises(DataError, match=words):
        open_dataset(f"mvtec:{root}?{query}").category("part")


def layouts(root: Path) -> dict[str, str]:
    """The same three deep images under every scheme with these options."""
    image, mask = grey(3000), np.where(grey(255, np.uint8) > 200, 255, 0).astype(np.uint8)
    category(root / "mvtec", image, image)
    write(root / "plain", {"0": image, "1": image // 2, "2": image // 3})
    write(root / "pairs", {"images/0": image, "images/1": image // 2, "gt/0": mask, "gt/1": mask})
    write(root / "classes", {"train/a/0": image, "train/b/0": image // 2, "val/a/0": image // 3, "val/b/1": image // 4})
    write(root / "visa", {"part/train/good/0": image, "part/test/good/0": image})
    with (root / "plain" / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *((f"{number}.png", "good") for number in range(3))])
    return {
        "mvtec": f"mvtec:{root / 'mvtec'}",
        "visa": f"visa:{root / 'visa'}",
        "folder": f"folder:{root / 'plain'}",
        "table": f"table:{root / 'plain' / 'table.csv'}",
        "pairs": f"pairs:{root / 'pairs'}",
        "images": f"images:{root / 'plain'}",
        "imagefolder": f"imagefolder:{root / 'classes'}",
    }


def test_every_scheme_has_the_options(tmp_path):
    for scheme, uri in layouts(tmp_path).items():
        assert reading_of(open_dataset(uri)).bits == 12, scheme
        dataset = open_dataset(f"{uri}?bits=14&orientation=ignore")
        assert reading_of(dataset) == ReadingRule(14, "ignore"), scheme
        assert any("14 bits" in note for note in dataset_notes(dataset)), scheme
        assert reading_of(open_dataset(dataset.uri)) == ReadingRule(14, "ignore"), scheme


def sideways(root: Path, mask_as_seen: bool, scheme: str = "mvtec") -> str:
    """Images stored on their side by tag 6, of 6 x 9 pixels as seen."""
    exif = Image.Exif()
    exif[0x0112] = 6
    seen = np.zeros((9, 6), np.uint8)
    seen[:3] = 200
    mask = Image.fromarray(np.where(seen > 0, 255, 0).astype(np.uint8))
    if not mask_as_seen:
        mask = mask.transpose(Image.Transpose.ROTATE_90)
    images = ("train/good/0", "train/good/1", "test/cut/0") if scheme == "mvtec" else ("images/0", "images/1")
    masks = ("ground_truth/cut/0",) if scheme == "mvtec" else ("gt/0", "gt/1")
    for number, name in enumerate(images):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        stored = Image.fromarray(np.where(seen > 0, seen - number, 0).astype(np.uint8))
        stored = stored.transpose(Image.Transpose.ROTATE_90)
        stored.save(root / f"{name}.png", exif=exif)
    for name in masks:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        mask.save(root / f"{name}.png")
    return f"{scheme}:{root}"


@pytest.mark.parametrize("query", ["", "?orientation=ignore"])
def test_masks_are_drawn_on_the_image_as_it_is_read(query, tmp_path):
    uri = sideways(tmp_path, mask_as_seen=not query) + query
    dataset = open_dataset(uri)
    (note,) = [note for note in check_files(dataset) if "have an orientation tag" in note]
    assert note.startswith("3 images")
    (sample,) = dataset.category(tmp_path.name).test
    image, masks = (
        np.asarray(sample.image.open())[..., 0],
        load_masks([sample], Preprocess(framing="stretch", image_size=18)),
    )
    whole = np.asarray(Image.fromarray(image).resize((18, 18), Image.Resampling.NEAREST)) > 0
    np.testing.assert_array_equal(masks.values[0], whole)


@pytest.mark.parametrize(
    ("as_seen", "query", "words"),
    [(False, "", "add ?orientation=ignore"), (True, "?orientation=ignore", "remove orientation=ignore")],
)
def test_a_mask_that_fits_the_other_way_is_refused_with_the_option(as_seen, query, words, tmp_path):
    anomalies = open_dataset(sideways(tmp_path / "a", as_seen) + query)
    pairs = open_dataset(sideways(tmp_path / "p", as_seen, "pairs") + query)
    with pytest.raises(DataError) as by_headers:
        check_files(anomalies)
    with pytest.raises(DataError) as when_loaded:
        load_masks(anomalies.category("a").test, Preprocess(image_size=8, resize=8))
    with pytest.raises(DataError) as of_pairs:
        check_pairs(pairs.category("p").train)
    for error in (by_headers, when_loaded, of_pairs):
        assert words in str(error.value)


def test_annotations_of_the_stored_image_are_refused_with_the_option(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    (tmp_path / "train").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "train" / "0.jpg", exif=exif)
    box = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [1, 1, 9, 9],
        "segmentation": [[1, 1, 9, 1, 9, 9]],
        "area": 32,
    }
    content = {
        "images": [{"id": 1, "file_name": "0.jpg", "width": 30, "height": 20}],
        "annotations": [box],
        "categories": [{"id": 1, "name": "nut"}],
    }
    (tmp_path / "train" / "_annotations.coco.json").write_text(json.dumps(content))
    turned, stored = (open_dataset(f"coco:{tmp_path}{query}") for query in ("", "?orientation=ignore"))
    with pytest.raises(DataError, match=r"add \?orientation=ignore"):
        check_pictures(turned.splits["train"], lambda done, total: None)
    check_pictures(stored.splits["train"], lambda done, total: None)
    assert turned.digest() != stored.digest()


def test_data_is_read_by_the_rule_of_the_model_that_judges_it(tmp_path):
    part = open_dataset(f"mvtec:{category(tmp_path, grey(900), grey(900))}").category("part")
    judged = category_as_taught(part, ReadingRule(12, "ignore"))
    assert {sample.image.rule for sample in (*judged.train, *judged.test)} == {ReadingRule(12, "ignore")}
    # A model of 8-bit images says nothing of deeper ones.
    assert category_as_taught(part, ReadingRule()).train[0].image.rule == ReadingRule(10)


def test_samples_of_more_than_16_bits_are_refused_by_name(tmp_path):
    root = category(tmp_path, grey(70000, np.int32), grey(900, np.int32), "tif")
    with pytest.raises(DataError, match=r"train/good/0\.tif has samples up to 70000"):
        open_dataset(f"mvtec:{root}").category("part")


def test_a_damaged_deep_image_is_left_to_whoever_opens_it(tmp_path):
    root = category(tmp_path, grey(900), grey(900))
    broken = root / "part/train/good/0.png"
    broken.write_bytes(broken.read_bytes()[:60])
    assert reading_of(open_dataset(f"mvtec:{root}")).bits == 10
