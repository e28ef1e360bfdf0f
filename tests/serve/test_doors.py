"""One image has one score by every door: path, bytes, HTTP, `subband.load(...).predict` and MLflow's pyfunc."""

from __future__ import annotations

import asyncio
import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tifffile
from PIL import Image

from subband.data import FileSource
from subband.data.reading import PLAIN, ReadingRule
from subband.errors import DataError, ModelError, ParamsError
from subband.methods import load
from subband.methods.deployable import read_description, write_description
from subband.serving.batching import Batcher
from subband.serving.models import Models
from subband.serving.settings import ServeSettings
from subband.serving.sources import Folder
from subband.serving.web import Service, make_api
from subband.tracking.pyfunc import PlatformModel
from tests.serve.conftest import one

LEVELS = np.random.default_rng(5).integers(0, 4096, (48, 64, 3)).astype(np.uint16)  # of a 12-bit camera
GREY = LEVELS[..., 0]
EIGHT = Image.fromarray((LEVELS >> 4).astype(np.uint8))


class Doors:
    """Every way to ask one saved model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = load(folder)
        self.pyfunc = PlatformModel(self.model)
        models, self._loop = Models([Folder(folder.parent)], keep=1), asyncio.new_event_loop()
        models.refresh()
        self._api = make_api(Service(models, Batcher(4, 1), ServeSettings(models_dir=folder.parent)))

    def close(self) -> None:
        self._loop.close()

    def scores(self, path: Path) -> dict[str, float]:
        """The score of an image file by each."""
        data = path.read_bytes()
        return {
            "file source": self.one(FileSource(path, self.model.reading).open()),
            "PIL": self.one(Image.open(path)),
            "pyfunc, path": float(self.pyfunc.predict([path])["score"][0]),
            "pyfunc, bytes": float(self.pyfunc.predict([data])["score"][0]),
            "pyfunc, PIL": float(self.pyfunc.predict([Image.open(path)])["score"][0]),
            "HTTP": self.over_http(data)["score"],
        }

    def score(self, path: Path) -> float:
        """The score that all of them give."""
        found = self.scores(path)
        assert max(found.values()) == pytest.approx(min(found.values()), rel=1e-6), found
        return found["file source"]

    def one(self, picture: Image.Image | np.ndarray) -> float:
        return float(self.model.predict([picture]).scores[0])

    def over_http(self, body: bytes) -> dict[str, Any]:
        """The answer of the web interface, in this process."""

        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self._api), base_url="http://test") as client:
                return await client.post(f"/v1/models/{self.folder.name}/predict", content=body)

        answer = self._loop.run_until_complete(ask())
        assert answer.status_code == 200, answer.text
        return one(answer.json())


@pytest.fixture(scope="module")
def doors(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[ReadingRule], Doors]]:
    """The doors of one detector, by the rule that it was taught by."""
    model = load(models_dir / "weave-centre")
    made: list[Doors] = []

    @functools.cache
    def make(rule: ReadingRule) -> Doors:
        model.reading = rule
        made.append(Doors(model.save(tmp_path_factory.mktemp("rule") / "weave")))
        return made[-1]

    yield make
    for each in made:
        each.close()


def write(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


MODES: dict[str, tuple[Callable[[], Image.Image], str]] = {
    "I;16": (lambda: Image.fromarray(GREY * 16), "x.png"),
    "I": (lambda: Image.fromarray((GREY * 16).astype(np.int32)), "x.tif"),
    "F": (lambda: Image.fromarray((GREY / 4095).astype(np.float32)), "x.tif"),
    "L": (lambda: EIGHT.convert("L"), "x.png"),
    "LA": (lambda: EIGHT.convert("LA"), "x.png"),
    "P": (lambda: EIGHT.quantize(16), "x.png"),
    "1": (lambda: EIGHT.convert("1"), "x.png"),
    "CMYK": (lambda: EIGHT.convert("CMYK"), "x.tif"),
    "RGBA": (lambda: Image.merge("RGBA", (*EIGHT.split(), EIGHT.getchannel(0))), "x.png"),
}


@pytest.mark.parametrize("mode", MODES)
def test_an_image_of_any_mode_has_one_score(mode, doors, tmp_path):
    make, name = MODES[mode]
    path = write(make(), tmp_path / name)
    assert Image.open(path).mode in (mode, "I;16" if mode == "I" else mode)
    doors(PLAIN).score(path)


@pytest.mark.parametrize("orientation", ["apply", "ignore"])
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_a_tagged_image_has_one_score(orientation, suffix, doors, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = EIGHT.transpose(Image.Transpose.ROTATE_90)
    options = {"lossless": True} if suffix == "webp" else {"quality": 97} if suffix == "jpg" else {}
    path = write(stored, tmp_path / f"x.{suffix}", exif=exif, **options)
    asked = doors(ReadingRule(orientation=orientation))
    score, seen = asked.score(path), EIGHT if orientation == "apply" else stored
    if suffix != "jpg":
        assert score == pytest.approx(asked.one(seen), rel=1e-6)
    assert asked.over_http(path.read_bytes())["image_size"] == {"width": seen.width, "height": seen.height}


@pytest.mark.parametrize("name", ["grey.png", "grey.tif", "colour.tif"])
def test_deep_images_are_read_by_the_rule_of_the_model(name, doors, tmp_path):
    samples, twelve = LEVELS if name == "colour.tif" else GREY, doors(ReadingRule(12))
    path = tmp_path / name
    if name == "colour.tif":
        tifffile.imwrite(path, samples, photometric="rgb")
    else:
        write(Image.fromarray(samples), path)
    levels = np.rint(samples * (255 / 4095)).astype(np.uint8)
    assert twelve.score(path) == pytest.approx(twelve.one(levels), rel=1e-6)
    assert doors(PLAIN).score(path) != pytest.approx(twelve.score(path), rel=1e-2)
    assert twelve.model.reading == ReadingRule(12)


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 1), (48, 64, 3), (48, 64, 4)])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "float64", "bool"])
def test_arrays_of_any_form_score_as_their_file_does(kind, shape, doors):
    samples = (
        np.broadcast_to(LEVELS[..., :1], (48, 64, 4)) if len(shape) == 2 or shape[2] == 1 else LEVELS[..., [0, 1, 2, 0]]
    )
    samples = samples[..., : 1 if len(shape) == 2 else shape[2]].reshape(shape)
    array = {
        "uint8": samples // 16,
        "uint16": samples,
        "bool": samples > 2000,
        "float32": samples / 4095,
        "float64": samples / 4095,
    }[kind].astype(kind)
    levels = {"uint8": samples // 16, "bool": 255 * (samples > 2000)}.get(kind, np.rint(samples * (255 / 4095)))
    colours = levels.reshape(48, 64, -1)[..., :3].astype(np.uint8)
    asked = doors(ReadingRule(12))
    expected, served = asked.one(np.broadcast_to(colours, (48, 64, 3)).copy()), asked.pyfunc
    for score in (
        asked.one(array),
        served.predict(array)["score"][0],
        served.predict([array])["score"][0],
    ):
        assert score == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((8, 8, 5), np.uint8), "(8, 8, 5)"),
        (np.zeros((8, 8), np.int64), "not int64"),
        (np.full((8, 8), 200.0), "outside 0..1"),
        (np.full((8, 8), np.nan), "outside 0..1"),
        (np.full((8, 8), 5000, np.uint16), "read as 12 bits"),
    ],
)
def test_arrays_of_unknown_scale_or_form_are_refused(array, words, doors):
    asked = doors(ReadingRule(12))
    with pytest.raises((ParamsError, DataError)) as direct:
        asked.one(array)
    with pytest.raises(ModelError) as by_pyfunc:
        asked.pyfunc.predict([array])
    assert words in str(direct.value)
    assert words in str(by_pyfunc.value)


def test_a_model_that_was_saved_before_rules_reads_stored_pixels(doors, tmp_path):
    folder = Path(shutil.copytree(doors(PLAIN).folder, tmp_path / "models" / "old"))
    description = read_description(folder)
    del description["reading"]
    write_description(folder, description)
    exif = Image.Exif()
    exif[0x0112] = 3
    old = Doors(folder)
    assert old.score(write(EIGHT, tmp_path / "x.png", exif=exif)) == pytest.approx(old.one(EIGHT), rel=1e-6)
    old.close()
