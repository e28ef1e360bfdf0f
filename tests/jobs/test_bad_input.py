"""What a person can get wrong: exit status 1, one clear message, nothing written."""

from __future__ import annotations

import functools
import re

import pytest
from PIL import Image

from search_spaces.wepadim import SPACE
from subband.tuning.job import sweep_job

TINY = "synthetic:?train=6&test=8&size=64&categories=weave"


@pytest.fixture
def ended(refused):
    return functools.partial(refused, functools.partial(sweep_job, SPACE, ""))


@pytest.fixture
def pictures(tmp_path):
    def make(category, **counts):
        root = tmp_path / "mine"
        for number, (name, count) in enumerate(counts.items()):
            split, defect = name.split("_")
            folder = root / category / split / defect
            folder.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (64, 64), (9 * index, 3, 3 + number)).save(folder / f"{index}.png")
        return f"mvtec:{root}"

    return make


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "mvtec:/no/such/folder"], r"/no/such/folder"),
        (["--data", "mvtek:/tmp"], r"did you mean 'mvtec'"),
        (["--data", "synthetic:?categories=weav"], r"did you mean 'weave'"),
        (["--data", "synthetic:?train=1&test=8&size=64"], r"at least 2 are needed"),
        (["--wavelet", "harr"], r"wepadim\.wavelet: 'harr' is not a wavelet.* did you mean 'haar'"),
        (["--backbone", "resnet19"], r"wepadim\.backbone: 'resnet19' .*did you mean 'resnet18'"),
        (["--subbands", "LL+LX"], r"wepadim\.subbands: .*LX"),
        (["--level", "7"], r"wepadim\.level"),
        (["--sigma", "-1"], r"wepadim\.sigma: .*greater than 0 \(given: -1"),
        (["--sigma", "nan"], r"wepadim\.sigma"),
        (["--cov-reg", "0.01", "0"], r"wepadim\.cov_reg: .*greater than or equal to"),
        (["--weights", "random"], r"wepadim\.weights"),
        (["--preset", "phase3"], r"did you mean 'phase2'"),
        (["--preset", "full", "--sigma", "3", "5", "--weights", "random:0"], r"leave nothing of the grid"),
        (["--objective", "image_aurok"], r"settings\.objective: .*did you mean 'image_auroc'"),
        (["--trials", "0"], r"settings\.trials: .*greater than or equal to 1"),
        (["--resume", "last"], r"there is no wepadim sweep to resume"),
        (["--tracking-uri", "file:///tmp/mlruns"], r"MLflow keeps no file store"),
        (["--tracking-uri", "htp://localhost"], r"did you mean 'http'"),
        (["--store", "/proc/store"], r"store folder /proc/store cannot be used.*--store"),
        (["--name", "[bold]"], r"'\[bold\]' cannot be a name: use letters"),
    ],
)
def test_wrong_flags(ended, arguments, message):
    default = [] if "--data" in arguments else ["--data", TINY]
    status, output = ended(*default, *arguments)
    assert status == 1
    assert re.search(message, output), output


def test_an_empty_category(ended, pictures):
    status, output = ended("--data", pictures("plate", train_good=0, test_good=3))
    assert status == 1
    assert "plate" in output


def test_one_training_image(ended, pictures):
    for selection in ("holdout", "synthetic"):
        status, output = ended(
            "--data", pictures(f"p-{selection}", train_good=1, test_good=3, test_dent=3), "--selection", selection
        )
        assert status == 1
        assert "at least 2" in output, output


def test_no_defects_to_choose_by(ended, pictures):
    status, output = ended("--data", pictures("plate", train_good=4, test_good=4), "--selection", "holdout")
    assert status == 1
    assert "selection='synthetic'" in output or "--selection synthetic" in output
