"""Another threshold for a registered champion: a new version, the same tensors, the alias moved."""

from __future__ import annotations

import pytest

import subband
from subband.data import open_dataset
from subband.errors import ParamsError, TrackingError
from subband.evaluation import CategoryBench
from subband.methods import get_method, make_params
from subband.tracking import download_model, list_champions, register_champion
from subband.tracking.__main__ import main
from subband.tracking.threshold import set_threshold

NAME = "wepadim-made-weave"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    method = get_method("wepadim")
    params = make_params(method, {"weights": "random:0", "image_size": 32, "grid": 2})
    category = open_dataset("synthetic:?train=6&test=2&size=32&categories=weave").category("weave")
    fitted = method.fit(params, CategoryBench(category, "test", 0, None).runner)
    return fitted.detector.save(tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture
def registered(target, saved):
    return register_champion(saved, NAME, {"selection": "holdout", "data": "mvtec:/a"}, target=target)


def test_the_new_version_decides_otherwise_and_the_former_stays(target, registered, saved):
    champion = set_threshold(NAME, target, 3.5)
    assert (champion.name, champion.version, registered.version) == (NAME, 2, 1)
    assert [c.version for c in list_champions(target)] == [2]
    assert {name: champion.tags[name] for name in ("selection", "data", "threshold", "threshold_rule")} == {
        "selection": "holdout",
        "data": "mvtec:/a",
        "threshold": "3.5",
        "threshold_rule": "set by hand",
    }
    now = subband.load(f"models:/{NAME}@champion", target.uri)
    before = subband.load(f"models:/{NAME}/1", target.uri)
    assert now.calibration == before.calibration.with_threshold(3.5)
    assert before.calibration == subband.load(saved).calibration
    tensors = [download_model(f"models:/{NAME}/{v}", target) / "model.safetensors" for v in (1, 2)]
    assert tensors[0].read_bytes() == tensors[1].read_bytes()


def test_a_rate_is_turned_into_a_threshold_by_the_saved_good_scores(target, registered, saved):
    set_threshold(NAME, target, fpr=0.5)
    calibration = subband.load(f"models:/{NAME}@champion", target.uri).calibration
    assert calibration == subband.load(saved).calibration.with_fpr(0.5)
    assert calibration.good_scores[0] <= calibration.threshold < calibration.good_scores[-1]


def test_a_threshold_that_was_there_before_is_its_version_again(target, registered):
    set_threshold(NAME, target, 3.5)
    set_threshold(NAME, target, 4.5)
    assert set_threshold(NAME, target, 3.5).version == 2


@pytest.mark.parametrize("given", [{}, {"threshold": 1.0, "fpr": 0.1}, {"threshold": float("nan")}, {"fpr": 1.0}])
def test_what_is_no_threshold_changes_nothing(target, registered, given):
    with pytest.raises(ParamsError):
        set_threshold(NAME, target, **given)
    assert [c.version for c in list_champions(target)] == [1]


def test_a_misspelt_model_is_named(target, registered):
    with pytest.raises(TrackingError, match=f"did you mean '{NAME}'"):
        set_threshold("wepadim-made-weeve", target, 1.0)


def test_the_command(target, registered, capsys):
    assert main(["threshold", NAME, "--fpr", "0.5", "--tracking-uri", target.uri]) == 0
    assert "version 2: threshold" in capsys.readouterr().out
    assert main(["threshold", NAME, "--tracking-uri", target.uri]) == 2
    assert "give a threshold or" in capsys.readouterr().err
    assert main(["threshold", NAME, "0.25", "--tracking-uri", target.uri]) == 0
    assert "threshold 0.25, set by hand" in capsys.readouterr().out
