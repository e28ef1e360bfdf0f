"""The front door: three functions and a console command over what the jobs call."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

import subband
from subband.cli import COMMANDS, main
from subband.errors import DataError, ParamsError
from subband.methods import get_method
from subband.tuning.settings import default_settings

ROOT = Path(__file__).parents[1]
WEAVE = "synthetic:?train=6&test=6&size=64&categories=weave"
SMALL = {"image_size": 64, "grid": 8, "weights": "random:0"}


@pytest.fixture(scope="module", autouse=True)
def _ray_ends_with_this_module() -> Iterator[None]:
    yield
    import ray

    ray.shutdown()


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SUBBAND_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return tmp_path / "home"


def test_a_detector_is_fitted_evaluated_saved_and_loaded(tmp_path: Path) -> None:
    said: list[str] = []
    detector = subband.fit("wepadim", WEAVE, sigma=2, fpr=0.2, say=said.append, image_size=64, grid=8)
    assert said[0].startswith("weights: ")
    metrics = subband.evaluate(detector, WEAVE)
    assert {"image_auroc", "pixel_auroc"} <= set(metrics)
    loaded = subband.load(detector.save(tmp_path / "saved"))
    assert subband.evaluate(loaded, WEAVE) == pytest.approx(metrics, abs=1e-6)
    assert subband.evaluate(tmp_path / "saved", WEAVE) == pytest.approx(metrics, abs=1e-6)
    image = subband.open_dataset(WEAVE).category("weave").test[0].image.open()
    np.testing.assert_allclose(loaded.predict([image]).scores, detector.predict([image]).scores, rtol=1e-5)


def test_a_detector_is_the_champion_that_the_fit_job_makes(tmp_path: Path) -> None:
    detector = subband.fit("wepadim", WEAVE, **SMALL)
    flags = [
        "--image-size",
        "64",
        "--grid",
        "8",
        "--weights",
        "random:0",
        "--out",
        str(tmp_path / "out"),
        "--no-register",
    ]
    assert main(["train", "wepadim", "--data", WEAVE, *flags]) == 0
    fitted = subband.load(tmp_path / "out" / "champions" / "weave")
    assert fitted.calibration.good_scores == pytest.approx(detector.calibration.good_scores, rel=1e-6)
    assert fitted.params == detector.params


def test_a_trained_method_is_trained_and_evaluated() -> None:
    said: list[str] = []
    data = get_method("wpformer").embedded_smoke  # type: ignore[attr-defined]
    segmenter = subband.fit("wpformer", data, recipe="smoke", epochs=1, say=said.append)
    assert sum(line.startswith("epoch ") for line in said) == 1
    assert "weighted_f" in subband.evaluate(segmenter, data)


def test_a_sweep_ranks_its_trials_and_registers_a_champion(own_home: Path) -> None:
    found = subband.sweep("wepadim", WEAVE, sigma=[1.5, 4.0], search="grid", selection="test", workers=1, **SMALL)
    assert len(found.ranked) == 2
    assert found.best is found.ranked[0]
    assert found.problems == []
    ((name, version),) = found.versions.values()
    client = MlflowClient(f"sqlite:///{own_home / 'mlflow.db'}")
    assert int(client.get_model_version_by_alias(name, "champion").version) == version
    assert subband.load(found.champions[0].folder).params.sigma == found.best.params["sigma"]


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda: subband.fit("wepadm", WEAVE), ParamsError, "did you mean 'wepadim'"),
        (lambda: subband.fit("wepadim", WEAVE, sigmma=2), ParamsError, "did you mean 'sigma'"),
        (lambda: subband.fit("wepadim", WEAVE, sigma=-1), ParamsError, r"wepadim\.sigma: .*greater than 0"),
        (lambda: subband.fit("wepadim", WEAVE, fpr=2), ParamsError, r"fit\.fpr: .*less than 1"),
        (lambda: subband.fit("wepadim", "photos:"), ParamsError, "a detector belongs to one: give category="),
        (lambda: subband.fit("wepadim", WEAVE, recipe="small"), ParamsError, "has no recipes"),
        (lambda: subband.fit("wepadim", "no-such:"), DataError, "did you mean|is not a"),
        (lambda: subband.fit("wpformer", recipe="smal"), ParamsError, "did you mean 'small'"),
        (lambda: subband.sweep("wepadim", WEAVE, trails=3), ParamsError, "did you mean 'trials'"),
        (lambda: subband.sweep("wepadim", WEAVE, trials=0), ParamsError, r"settings\.trials"),
        (lambda: subband.sweep("wsfvit-video"), ParamsError, "has no search space"),
    ],
)
def test_bad_input_is_told_as_everywhere_else(act, error, message, own_home: Path) -> None:
    with pytest.raises(error, match=message):
        act()
    assert not (own_home / "runs").exists()


def test_the_defaults_are_those_of_the_jobs() -> None:
    import inspect

    from subband.training.settings import FitSettings

    given = inspect.signature(subband.fit).parameters
    for name in ("fpr", "pixel_fpr"):
        assert given[name].default == FitSettings.model_fields[name].default
    assert default_settings("wepadim").data == "photos:"


def test_the_command_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in COMMANDS)
    assert main(["swep"]) == 2
    assert "did you mean 'sweep'" in capsys.readouterr().out
    assert main(["sweep"]) == 2
    assert "wepadim" in capsys.readouterr().out
    assert main(["sweep", "wepadm"]) == 1
    assert "did you mean 'wepadim'" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"ui"}))
def test_every_command_explains_its_flags(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    method = ["wepadim"] if name in ("sweep", "train", "evaluate") else []
    try:
        status = main([name, *method, "--help"])
    except SystemExit as ended:
        status = ended.code
    assert status == 0
    assert re.search(r"--\w|usage", capsys.readouterr().out)


def test_the_command_is_installed_with_the_package() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("subband")), "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "subband COMMAND" in done.stdout
