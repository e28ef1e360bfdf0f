"""Qualitative figures: which samples, whose names, which columns, which scale."""

import csv

import numpy as np
import pytest
import torch

from subband.analysis.detectors import parse_detectors
from subband.analysis.qualitative import FigureTask, QualitativeSettings, choose_samples, draw, run
from subband.data import Sample
from subband.methods.wepadim.detector import WEPaDiMDetector
from subband.report import qualitative as figures
from tests.analysis.conftest import SMALL, TINY


def samples(*kinds):
    return [Sample(f"test/{kind}/{i:03d}", "test", int(kind != "good"), kind, None) for i, kind in enumerate(kinds)]


def test_defects_come_evenly_from_every_kind():
    made = samples("cut", "cut", "cut", "cut", "good", "good", "hole", "poke", "poke")
    assert choose_samples(made, 5, 1) == [0, 1, 6, 7, 8, 4]
    assert choose_samples(made, 3, 0) == [0, 6, 7]
    assert choose_samples(made, 99, 99) == [0, 1, 2, 3, 6, 7, 8, 4, 5]
    assert choose_samples(samples("good", "good"), 4, 1) == [0]
    assert choose_samples(samples("good"), 0, 0) == []


def test_equal_file_names_of_two_kinds_of_defect_stay_two_files(analysis, store_folder, tmp_path):
    """In the published script the second overwrote the first."""
    from PIL import Image, ImageDraw

    root = tmp_path / "mine" / "plate"
    rng = np.random.default_rng(0)
    for place, count in (("train/good", 4), ("test/good", 2), ("test/cut", 1), ("test/hole", 1)):
        (root / place).mkdir(parents=True)
        for index in range(count):
            picture = Image.fromarray(rng.integers(90, 110, (64, 64, 3), dtype=np.uint8))
            if place in ("test/cut", "test/hole"):
                ImageDraw.Draw(picture).rectangle((20, 20, 40, 40), (255, 255, 255))
            picture.save(root / place / f"{index:03d}.png")
    settings = QualitativeSettings(
        data=f"mvtec:{tmp_path / 'mine'}", store=store_folder, detectors=(f"{SMALL},weights=random:0",), good=1
    )
    with analysis:
        run(analysis, settings)
        files = {str(path.relative_to(analysis.folder)) for path in analysis.publish({}) if path.suffix == ".png"}
    assert files == {"plate/cut/000.png", "plate/hole/000.png", "plate/good/000.png"}
    with (analysis.folder / "figures.csv").open() as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert rows.keys() == files
    assert rows["plate/cut/000.png"]["defect"] == "cut"
    assert float(rows["plate/hole/000.png"]["score"]) > float(rows["plate/good/000.png"]["score"])


def task(source, scale="category"):
    (spec,) = parse_detectors([SMALL], TINY)
    return FigureTask(spec, "nut", source, 2, 1, scale, 3)


def seen(source, monkeypatch, scale="category"):
    """What is handed to the figure, image by image."""
    calls = []

    def watched(seen, ranges, title):
        calls.append((seen, ranges))
        return figures.qualitative(seen, ranges, title)

    monkeypatch.setattr("subband.analysis.qualitative.qualitative", watched)
    drawn = list(draw(task(source, scale)))
    assert all(each.png.startswith(b"\x89PNG") for each in drawn)
    return calls


def test_one_scale_for_the_category_unless_the_published_one_is_asked_for(source, monkeypatch):
    shared = seen(source, monkeypatch)
    assert len(shared) == 3
    assert len({tuple(ranges["anomaly map"]) for _, ranges in shared}) == 1
    assert all(ranges is None for _, ranges in seen(source, monkeypatch, "image"))


def test_masks_and_maps_are_in_the_frame_of_the_picture(source, monkeypatch):
    calls = seen(source, monkeypatch)
    for each, _ in calls:
        assert each.image.shape == (64, 64, 3)
        assert each.map.shape == each.mask.shape == (64, 64)
    assert [bool(each.mask.any()) for each, _ in calls] == [True, True, False]


def test_further_maps_become_columns(source, monkeypatch):
    plain = seen(source, monkeypatch)
    assert all(each.further == {} for each, _ in plain)

    def explain(self, images):
        return {"frequency map": images.mean(dim=1)[:, ::2, ::2], "semantic map": torch.ones(len(images), 4, 4)}

    monkeypatch.setattr(WEPaDiMDetector, "explain", explain)
    calls = seen(source, monkeypatch)
    for each, ranges in calls:
        assert list(each.further) == ["frequency map", "semantic map"]
        assert each.further["frequency map"].shape == (32, 32)
        assert ranges.keys() == {"frequency map", "semantic map", "anomaly map"}
        wanted = each.image[::2, ::2].astype(np.float32).mean(axis=2) / 255
        np.testing.assert_allclose(each.further["frequency map"], wanted, atol=1e-5)


def test_two_detectors_have_a_folder_each(analysis, settled):
    settings = QualitativeSettings(
        **{**settled, "data": "synthetic:?train=6&test=8&size=64&categories=nut"},
        detectors=(f"{SMALL},sigma=2", f"{SMALL},sigma=4"), defective=1, good=0,
    )  # fmt: skip
    with analysis:
        run(analysis, settings)
        folders = {path.relative_to(analysis.folder).parts[0] for path in analysis.publish({}) if path.suffix == ".png"}
    assert folders == {"01-wepadim_sigma_2", "02-wepadim_sigma_4"}


def test_numbers_of_pictures_are_checked():
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        QualitativeSettings(defective=-1)
