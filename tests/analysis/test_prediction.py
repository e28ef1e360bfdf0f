"""Prediction maps in this process: files of the right names and sizes, the segmenter's own maps, and one score for both ways."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from subband.analysis.prediction import PredictionSettings, run
from subband.analysis.results import Analysis
from subband.data import open_dataset
from subband.errors import DataError, ModelError, ParamsError
from subband.methods import get_method, load, make_params
from subband.methods.wpformer.checkpoint import reference_name

PARAMS = {"backbone": "pvt_v2_b0", "weights": "random:3", "channels": 16, "image_size": 64}
SIZES = ((70, 50), (40, 66), (64, 64))


@pytest.fixture(scope="session")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a saved segmenter with random weights."""
    method = get_method("wpformer")
    assert hasattr(method, "finish")
    params = make_params(method, PARAMS)
    return method.finish(params, method.model(params), {"data": "made"}).save(
        tmp_path_factory.mktemp("saved") / "model"
    )


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    """Test images of three sizes with masks."""
    rng = np.random.default_rng(0)
    for index, (width, height) in enumerate(SIZES):
        for folder in ("images", "gt"):
            (tmp_path / "cracks" / folder).mkdir(parents=True, exist_ok=True)
        picture = rng.integers(0, 256, (height, width, 3), np.uint8)
        mask = np.zeros((height, width), np.uint8)
        mask[10:30, 5 : 20 + 5 * index] = 255
        Image.fromarray(picture).save(tmp_path / "cracks" / "images" / f"{index}.png")
        Image.fromarray(mask).save(tmp_path / "cracks" / "gt" / f"{index}.png")
    return f"pairs:{tmp_path / 'cracks'}?split=test"


def predicted(folder: Path, **settings: object) -> Path:
    with Analysis(folder) as analysis:
        run(analysis, PredictionSettings(**settings))  # type: ignore[arg-type]
        analysis.publish({})
        assert analysis.findings.problems == []
    return folder


def rows(file: Path) -> list[dict[str, str]]:
    with file.open() as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(("order", "stretch"), [("defect", None), ("object", "on")])
def test_maps_are_the_segmenters_and_their_scores_those_of_the_files(
    tmp_path: Path, segmenter: Path, pairs: str, order: str, stretch: str | None
) -> None:
    out = predicted(tmp_path / "out", model=str(segmenter), data=pairs, order=order, stretch=stretch, batch=2)
    samples = open_dataset(pairs).category("cracks").test
    pictures = [sample.image.open() for sample in samples]
    expected = load(segmenter).prediction_maps(pictures, order, None if stretch is None else True)  # type: ignore[operator]
    for index, (size, map_HW) in enumerate(zip(SIZES, expected, strict=True)):
        with Image.open(out / "cracks" / f"{index}.png") as file:
            assert (file.mode, file.size) == ("L", size)
            found = np.asarray(file).astype(int)
        # Batches of other sizes may round a probability at the edge of two levels differently.
        assert np.abs(found - map_HW).max() <= 1
    again = predicted(tmp_path / "again", maps=out, data=pairs)
    for table in ("images.csv", "metrics.csv"):
        assert rows(again / table) == rows(out / table)
    assert [row["image"] for row in rows(out / "images.csv")] == ["test/0", "test/1", "test/2"]
    assert not (again / "cracks").exists()


def test_the_two_orders_give_other_maps(tmp_path: Path, segmenter: Path, pairs: str) -> None:
    outs = [
        predicted(tmp_path / order, model=str(segmenter), data=pairs, order=order) for order in ("defect", "object")
    ]
    one, other = (np.asarray(Image.open(out / "cracks" / "0.png")) for out in outs)
    assert not np.array_equal(one, other)


def test_maps_made_elsewhere_are_read_as_masks_are(tmp_path: Path, pairs: str) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    levels = [np.random.default_rng(index).integers(0, 256, size[::-1], np.uint8) for index, size in enumerate(SIZES)]
    for index, level in enumerate(levels):
        Image.fromarray(level).save(maps / f"{index}.png")
    shallow = predicted(tmp_path / "shallow", maps=maps, data=pairs)
    for index, level in enumerate(levels):
        Image.fromarray(level.astype(np.uint16) * 257).save(maps / f"{index}.png")
    assert rows(predicted(tmp_path / "deep", maps=maps, data=pairs) / "images.csv") == rows(shallow / "images.csv")
    for file in maps.iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"0\.png is not an image"):
        predicted(tmp_path / "damaged", maps=maps, data=pairs)
    Image.new("L", (9, 9)).save(maps / "0.png")
    with pytest.raises(DataError, match=r"map of test/0 has 9 x 9 pixels, its mask 70 x 50"):
        predicted(tmp_path / "small", maps=maps, data=pairs)
    (maps / "0.png").unlink()
    with pytest.raises(DataError, match=r"test/0 has no map: neither .*cracks/0\.png nor 0\.png"):
        predicted(tmp_path / "missing", maps=maps, data=pairs)


def test_a_folder_of_pictures_whose_sub_folder_has_its_name(tmp_path: Path, segmenter: Path) -> None:
    for name, size in (("a", (40, 30)), ("new/a", (50, 60))):
        (tmp_path / "new" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "grey").save(tmp_path / "new" / f"{name}.png")
    out = predicted(tmp_path / "out", model=str(segmenter), data=f"images:{tmp_path / 'new'}")
    assert sorted(str(path.relative_to(out)) for path in out.rglob("a.png")) == ["new/a.png", "new/new/a.png"]
    assert Image.open(out / "new" / "a.png").size == (40, 30)
    assert Image.open(out / "new" / "new" / "a.png").size == (50, 60)
    assert rows(out / "metrics.csv") == []
    assert not (out / "images.csv").exists()


def test_maps_that_would_overwrite_each_other_are_refused(tmp_path: Path, segmenter: Path) -> None:
    (tmp_path / "new").mkdir()
    for name in ("a.png", "A.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / "new" / name)
    if len(list((tmp_path / "new").iterdir())) == 1:
        pytest.skip("this file system does not tell A from a")
    with pytest.raises(DataError, match="would both have the map"):
        predicted(tmp_path / "out", model=str(segmenter), data=f"images:{tmp_path / 'new'}")


def test_a_published_checkpoint_predicts(tmp_path: Path, segmenter: Path, pairs: str) -> None:
    network = load(segmenter).network
    assert isinstance(network, torch.nn.Module)
    file = tmp_path / "net.pth"
    torch.save({reference_name(name): tensor for name, tensor in network.state_dict().items()}, file)
    # The file does not tell the side of the square; by the recipe "smoke" it is the saved one's 64 pixels.
    adopted = predicted(tmp_path / "adopted", model=str(file), recipe="smoke", data=pairs)
    saved = predicted(tmp_path / "saved", model=str(segmenter), data=pairs)
    assert rows(adopted / "images.csv") == rows(saved / "images.csv")
    with pytest.raises(ParamsError, match=r"'smok' is not a recipe.*smoke"):
        predicted(tmp_path / "x", model=str(file), recipe="smok", data=pairs)
    with pytest.raises(ParamsError, match="is for a published file"):
        predicted(tmp_path / "y", model=str(segmenter), recipe="smoke", data=pairs)
    file.write_bytes(b"no tensors")
    with pytest.raises(ModelError, match=r"net\.pth"):
        predicted(tmp_path / "z", model=str(file), data=pairs)


def test_model_and_maps_exclude_each_other(tmp_path: Path, pairs: str) -> None:
    for settings in ({}, {"model": "m", "maps": tmp_path}):
        with pytest.raises(ParamsError, match="not both"):
            predicted(tmp_path / "out", data=pairs, **settings)
