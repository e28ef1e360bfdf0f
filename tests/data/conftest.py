"""Small folders in the layouts of the dataset families, built anew for each test."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def own_digest_cache(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SUBBAND_CACHE", str(folder))
    monkeypatch.delenv("SUBBAND_MAX_PIXELS", raising=False)
    return folder


def write_picture(path: Path, size=(24, 16), seed=0) -> Path:
    """An RGB image of noise, width x height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path)
    return path


def write_mask(path: Path, size=(24, 16), value=255) -> Path:
    """A grey mask with a defect in its middle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((size[1], size[0]), np.uint8)
    mask[size[1] // 3 : 2 * size[1] // 3, size[0] // 3 : 2 * size[0] // 3] = value
    Image.fromarray(mask).save(path)
    return path


def build_mvtec_category(folder: Path, train=3, good=2, defects=("cut", "hole"), each=2, size=(24, 16)) -> Path:
    for index in range(train):
        write_picture(folder / "train" / "good" / f"{index:03d}.png", size, seed=index)
    for index in range(good):
        write_picture(folder / "test" / "good" / f"{index:03d}.png", size, seed=100 + index)
    for number, defect in enumerate(defects):
        for index in range(each):
            write_picture(folder / "test" / defect / f"{index:03d}.png", size, seed=200 + 10 * number + index)
            write_mask(folder / "ground_truth" / defect / f"{index:03d}_mask.png", size)
    return folder


@pytest.fixture
def mvtec_root(tmp_path):
    """A dataset with the categories bottle and cable."""
    for category in ("bottle", "cable"):
        build_mvtec_category(tmp_path / "products" / category)
    return tmp_path / "products"


@pytest.fixture
def photographs(tmp_path):
    """Root of a dataset of real photographs where ``SUBBAND_MVTEC`` names one, else of a built one."""
    configured = os.environ.get("SUBBAND_MVTEC")
    if configured:
        return Path(configured)
    build_mvtec_category(
        tmp_path / "photographs" / "leather", train=6, good=4, defects=("cut",), each=4, size=(300, 260)
    )
    return tmp_path / "photographs"


def settle(*paths: Path) -> None:
    """Make files look as if they had been there for a while: the digest cache trusts only such files."""
    then = time.time() - 3600
    for path in paths:
        os.utime(path, (then, then))


def build_pairs(images: Path, masks: Path, count=3, first=0, size=(24, 16), suffix=".jpg") -> None:
    """Images and their masks, 000 and so on, in two folders."""
    for index in range(first, first + count):
        write_picture(images / f"{index:03d}{suffix}", size, seed=index)
        write_mask(masks / f"{index:03d}.png", size)
