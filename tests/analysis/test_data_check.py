"""jobs/check_data.py as a person uses it."""

import numpy as np
import pytest
from PIL import Image

from subband.analysis.data_check import data_check_job
from tests.data.conftest import build_mvtec_category


@pytest.fixture
def check(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SUBBAND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SUBBAND_HOME", str(tmp_path / "home"))

    def run(*arguments):
        status = data_check_job("", "wepadim", arguments)
        return status, " ".join(capsys.readouterr().out.split())

    return run


def test_sound_data_end_with_the_next_commands(check, tmp_path):
    build_mvtec_category(tmp_path / "products" / "cap")
    uri = f"mvtec:{tmp_path / 'products'}"
    status, said = check(uri)
    assert status == 0
    for text in (
        "cap 3 2 4 4 cut 2, hole 2",
        "24 x 16 (9)",
        "RGB (9)",
        f"check_data.py '{uri}' --suspects",
        f"--data '{uri}'",
    ):
        assert text in said


def test_problems_are_listed_and_end_with_status_1(check, tmp_path):
    folder = build_mvtec_category(tmp_path / "products" / "cap")
    (folder / "train" / "good" / "000.png").write_bytes(b"")
    (folder / "train" / "good" / "001.png").write_text("no image")
    status, said = check(f"mvtec:{tmp_path / 'products'}")
    assert status == 1
    assert "000.png is empty" in said
    assert "001.png is not" in said
    assert "2 problems must be corrected" in said
    assert "next:" not in said


@pytest.mark.parametrize("uri", ["mvtec:/no/such/folder", "mvtek:/tmp", "folder:"])
def test_what_cannot_be_opened(check, uri):
    status, said = check(uri)
    assert status == 1
    assert said.startswith("error: ")


def test_data_of_every_task_are_counted(check):
    assert "30" in check("synthetic-shapes:?train=30&validation=30&test=30&size=32")[1]
    status, said = check("synthetic-coco:?train=4&validation=2&test=2")
    assert status == 0
    assert "objects" in said
    assert check("synthetic-surface:?train=4&test=2&size=32", "--suspects", "2")[0] == 0


def test_a_defect_among_good_images_is_the_first_suspect(check, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "ok").mkdir()
    for index in range(14):
        image = np.clip(128 + rng.normal(0, 3, (128, 128, 3)), 0, 255).astype(np.uint8)
        if index == 5:
            image[40:70, 60:90] = rng.integers(0, 256, (30, 30, 3))
        Image.fromarray(image).save(tmp_path / "ok" / f"part{index:02}.png")
    out = tmp_path / "sheets"
    status, said = check(f"folder:{tmp_path / 'ok'}", "--suspects", "3", "--out", str(out))
    assert status == 0
    first = said.partition("look least like the others")[2].split()[1]
    assert first.endswith("part05.png")
    (sheet,) = out.iterdir()
    with Image.open(sheet) as image:
        assert image.width > 800
