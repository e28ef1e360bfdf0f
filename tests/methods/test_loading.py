"""A saved detector whose description was damaged, or is of another version, is refused by name."""

import json

import pytest

from subband.data import open_dataset
from subband.errors import ModelError, ParamsError, SubbandError
from subband.evaluation import CategoryBench
from subband.methods import Calibration, get_method, load, make_params, set_calibration
from subband.nn.backbones import Backbone


@pytest.fixture(scope="module")
def fitted():
    method = get_method("wepadim")
    params = make_params(method, {"weights": "random:0", "image_size": 32, "grid": 2, "wavelet": "db2"})
    category = open_dataset("synthetic:?train=4&test=2&size=32&categories=weave").category("weave")
    return method.fit(params, CategoryBench(category, "test", 0, None).runner)


@pytest.fixture
def saved(fitted, tmp_path):
    return fitted.detector.save(tmp_path / "model")


def rewrite(folder, **changes):
    path = folder / "model.json"
    description = json.loads(path.read_text())
    for name, value in changes.items():
        if value is None:
            del description[name]
        else:
            description[name] = value
    path.write_text(json.dumps(description))


@pytest.mark.parametrize("field", ["method", "params", "calibration", "about"])
def test_a_missing_field_is_named(saved, field):
    rewrite(saved, **{field: None})
    with pytest.raises(ModelError, match=f"model.json is damaged: it lacks {field}"):
        load(saved)


def test_another_format_is_refused(saved):
    rewrite(saved, format=99)
    with pytest.raises(ModelError, match="has format 99; this version of subband reads format 1"):
        load(saved)


def test_an_unknown_method_is_named(saved):
    rewrite(saved, method="wepadin")
    with pytest.raises(ParamsError, match="did you mean 'wepadim'"):
        load(saved)


def test_tensors_of_other_params_are_refused(saved):
    params = json.loads((saved / "model.json").read_text())["params"]
    rewrite(saved, params={**params, "subbands": "LL"})
    with pytest.raises(ModelError, match="the saved means have shape"):
        load(saved)


def test_a_folder_without_a_detector_says_so(tmp_path):
    with pytest.raises(ModelError, match=r"holds no saved model \(model.json is missing\)"):
        load(tmp_path)
    with pytest.raises(SubbandError):
        load(tmp_path / "nowhere")


def test_weights_come_with_the_detector(fitted, tmp_path):
    """The file they were read from need not exist where the detector is loaded."""
    import torch

    method = get_method("wepadim")
    weights = tmp_path / "weights.pt"
    torch.save(Backbone("resnet18", "random:9").network.state_dict(), weights)
    params = make_params(method, {**fitted.detector.params.model_dump(), "weights": str(weights)})
    category = open_dataset("synthetic:?train=4&test=2&size=32&categories=weave").category("weave")
    detector = method.fit(params, CategoryBench(category, "test", 0, None).runner).detector
    detector.save(tmp_path / "model")
    weights.unlink()
    loaded = load(tmp_path / "model")
    assert loaded.params.weights == str(weights)
    torch.testing.assert_close(loaded.state_dict(), detector.state_dict(), rtol=0, atol=0)


def test_the_threshold_changes_without_touching_tensors(saved):
    before = (saved / "model.safetensors").read_bytes()
    calibration = load(saved).calibration
    set_calibration(saved, calibration.with_threshold(3.5))
    assert load(saved).calibration == calibration.with_threshold(3.5)
    assert (saved / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in saved.iterdir()) == ["model.json", "model.safetensors"]


def test_a_rule_says_how_good_scores_were_obtained():
    scores = [float(n) for n in range(1, 100)]
    calibration = Calibration.at_fpr(scores, 0.1, 42.0, "estimated in another way")
    assert calibration.rule.endswith(", estimated in another way")
    other = calibration.with_fpr(0.2)
    assert other == Calibration.at_fpr(scores, 0.2, 42.0, "estimated in another way")
    assert other.threshold < calibration.threshold


def test_a_detector_saved_before_the_estimate_was_kept_left_one_out(saved):
    calibration = json.loads((saved / "model.json").read_text())["calibration"]
    del calibration["estimate"]
    rewrite(saved, calibration=calibration)
    assert load(saved).calibration.with_fpr(0.2).rule.endswith("leaving each training image out in turn")


@pytest.mark.parametrize("rate", [0, 1, -0.1, float("nan")])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(ParamsError, match="false-positive rate"):
        Calibration.at_fpr([0.1, 0.2], rate)
