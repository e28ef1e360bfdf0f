"""A champion keeps how its images were read, and whatever it judges later is read likewise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from subband.analysis.detectors import obtain, parse_detectors
from subband.analysis.settings import Source
from subband.champions.fitted import ChampionReport, Winner, build_champion
from subband.data import Category, open_dataset
from subband.data.reading import ReadingRule
from subband.methods import get_method, load, make_params
from subband.stages import Store

PARAMS = {"image_size": 32, "resize": 32, "backbone": "resnet18", "weights": "random:0", "grid": 4}


def images(root: Path, top: int) -> Category:
    """Images of a 12-bit camera; the brightest sample is `top`."""
    rng = np.random.default_rng(0)
    for index in range(6):
        samples = rng.integers(0, top, (32, 32)).astype(np.uint16)
        samples[0, 0] = top
        path = root / "part" / ("train" if index < 4 else "test") / "good" / f"{index}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(samples).save(path)
    return open_dataset(f"mvtec:{root}").category("part")


@pytest.fixture
def champion(tmp_path: Path) -> tuple[Category, ChampionReport]:
    category, method = images(tmp_path / "taught", 4000), get_method("wepadim")
    winner = Winner(
        method=method, params=make_params(method, PARAMS), category=category, reported=None, fpr=0.1, about={}
    )
    return category, build_champion(winner, Store(tmp_path / "store", 1), tmp_path / "champions" / "part")


def test_a_champion_keeps_the_depth_of_its_data(champion, tmp_path):
    category, report = champion
    model = load(report.folder)
    assert model.reading == ReadingRule(12)
    opened = [Image.open(sample.image.path) for sample in category.test]
    np.testing.assert_allclose(model.predict(opened).scores, [row["score"] for row in report.scores], rtol=1e-4)
    darker = images(tmp_path / "darker", 900)
    assert darker.train[0].image.rule == ReadingRule(10)
    (spec,) = parse_detectors([str(report.folder)], "mvtec:anything")
    obtained = obtain(spec, darker, Source("mvtec:anything", tmp_path / "store"))
    assert {sample.image.rule for sample in (*obtained.category.train, *obtained.category.test)} == {ReadingRule(12)}
    assert any("taught 12-bit samples" in note for note in obtained.notes)
