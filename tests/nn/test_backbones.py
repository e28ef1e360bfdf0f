"""Taps, weights and their origins: every backbone, small images, no network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from subband.errors import ModelError, ParamsError
from subband.nn.backbones import (
    BACKBONES,
    Backbone,
    backbone_spec,
    check_weights,
    load_backbone_state,
    weights_identity,
)
from subband.nn.packaged import PACKAGES
from tests.waiting import PATIENCE

PLATFORM = Path(__file__).parents[2] / "platform"


def pictures(height, width, seed=0):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", BACKBONES)
@torch.inference_mode()
def test_taps_have_the_channels_and_sizes_of_the_specification(name):
    backbone = Backbone(name, "random:0")
    for side in (64, 75):
        taps = backbone(pictures(side, side))
        assert [tuple(maps.shape) for maps in taps] == [
            (1, tap.channels, tap.size(side), tap.size(side)) for tap in backbone.spec.taps
        ]
    sides = [tap.size(224) for tap in backbone.spec.taps]
    assert sides == ([28, 14, 14, 7] if name.startswith("efficientnet") else [56, 28, 14])
    assert [sides[index] for index in backbone.spec.bank] == [28, 14]


def torchvision_skeleton(name):
    """The architecture alone: its own initialisation would take longer than all the rest."""
    with torch.device("meta"):
        return getattr(torchvision.models, name)(weights=None).eval()


@pytest.mark.parametrize("name", [name for name in BACKBONES if name not in PACKAGES])
def test_every_batch_normalisation_has_torchvisions_epsilon(name):
    published = torchvision_skeleton(name).modules()
    (epsilon,) = {module.eps for module in published if isinstance(module, torch.nn.BatchNorm2d)}
    assert backbone_spec(name).batch_norm_eps == epsilon


def torchvision_model(name):
    """Random weights, with statistics and affine parameters that are not the neutral ones."""
    model = torchvision_skeleton(name).to_empty(device="cpu")
    torch.manual_seed(3)
    for key, tensor in model.state_dict().items():
        if tensor.ndim > 1:
            tensor.normal_(std=tensor[0].numel() ** -0.5)
        elif key.endswith(("weight", "running_var")):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point():
            tensor.normal_(std=0.1)
        else:
            tensor.zero_()
    return model


def torchvision_taps(model, names, normalised):
    found = {}
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: found.update({name: output})
        )
        for name in names
    ]
    model(normalised)
    for hook in hooks:
        hook.remove()
    return [found[name] for name in names]


@pytest.mark.parametrize(
    "name", ["resnet18", "wide_resnet50_2", "efficientnet_b0", "efficientnet_b2", "efficientnet_b5"]
)
@torch.inference_mode()
def test_torchvisions_state_dict_gives_torchvisions_taps(name, tmp_path):
    model = torchvision_model(name)
    path = tmp_path / "weights.pt"
    torch.save(model.state_dict(), path)
    backbone = Backbone(name, str(path))
    images = pictures(64, 80)
    wanted = torchvision_taps(model, [tap.name for tap in backbone.spec.taps], (images - backbone.mean) / backbone.std)
    for got, expected in zip(backbone(images), wanted, strict=True):
        assert float((got - expected).abs().max() / expected.abs().max()) < 1e-5


def test_random_weights_follow_the_seed_and_leave_the_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (Backbone("resnet18", f"random:{seed}").state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["network.conv1.weight"], other["network.conv1.weight"])


def test_untrained_blocks_take_part():
    """timm would start every residual block at zero, so that its weights had no effect."""
    state = Backbone("resnet18", "random:0").state_dict()
    assert all(float(tensor.abs().sum()) > 0 for key, tensor in state.items() if key.endswith("bn2.weight"))


def test_a_backbone_never_trains():
    backbone = Backbone("resnet18", "random:0").train()
    before = backbone.state_dict()["network.bn1.running_mean"].clone()
    backbone(pictures(64, 64))
    assert torch.equal(backbone.state_dict()["network.bn1.running_mean"], before)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_a_safetensors_file_and_timms_own_names_load(tmp_path):
    source = Backbone("efficientnet_b0", "random:4")
    save_file(source.network.state_dict(), tmp_path / "weights.safetensors")
    loaded = Backbone("efficientnet_b0", str(tmp_path / "weights.safetensors"))
    torch.testing.assert_close(loaded.network.state_dict(), source.network.state_dict(), rtol=0, atol=0)


def test_misspelt_names_get_near_matches():
    with pytest.raises(ParamsError, match="'resnet-18' is not a backbone; did you mean 'resnet18'"):
        backbone_spec("resnet-18")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("random:x", "after random: comes a whole number"),
        ("random:-1", "after random: comes a whole number"),
        ("random:²", "after random: comes a whole number"),
        ("random:99999999999999999999", "after random: comes a whole number"),
        ("nowhere.pt", r"is no file; give a path, 'pretrained', 'packaged' or 'random:SEED'"),
    ],
)
def test_illegal_weights_are_named(weights, message):
    with pytest.raises(ParamsError, match=message):
        check_weights(weights)
    with pytest.raises(ParamsError, match=message):
        Backbone("resnet18", weights)


def test_files_that_are_no_state_dict(tmp_path):
    for name, content in (("text.pt", b"not weights"), ("text.safetensors", b"not weights"), ("empty.pth", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=f"{name} cannot be read as a state dict"):
            Backbone("resnet18", str(tmp_path / name))
    torch.save([1, 2, 3], tmp_path / "list.pt")
    with pytest.raises(ModelError, match="holds no state dict"):
        Backbone("resnet18", str(tmp_path / "list.pt"))


class Harmful:
    def __reduce__(self):
        return (os.system, ("true",))


def test_a_file_with_code_in_it_is_refused(tmp_path):
    torch.save({"conv1.weight": Harmful()}, tmp_path / "harmful.pt")
    with pytest.raises(ModelError, match="cannot be read as a state dict"):
        Backbone("resnet18", str(tmp_path / "harmful.pt"))


def test_weights_of_another_network_are_refused(tmp_path):
    resnet34, b1 = (Backbone(name, "random:0").network for name in ("resnet34", "efficientnet_b1"))
    resnet18, b0 = (Backbone(name, None).network for name in ("resnet18", "efficientnet_b0"))
    wrong = [
        (resnet18, "resnet18", b1),
        (resnet18, "resnet18", resnet34),  # has every tensor of a resnet18, with equal shapes, and more
        (b0, "efficientnet_b0", b1),  # likewise
        (b0, "efficientnet_b0", torchvision_model("efficientnet_b1")),
        (b0, "efficientnet_b0", resnet34),
    ]
    for network, name, other in wrong:
        with pytest.raises(ModelError, match=f"other.pt is not a state dict of {name}: "):
            load_backbone_state(network, name, other.state_dict(), "other.pt")
    missing = {key: value for key, value in resnet18.state_dict().items() if key != "layer2.0.conv1.weight"}
    with pytest.raises(ModelError, match=r"layer2\.0\.conv1\.weight is missing"):
        load_backbone_state(resnet18, "resnet18", missing, "other.pt")
    counters = {key for key in resnet18.state_dict() if key.endswith("num_batches_tracked")}
    old_file = {key: value for key, value in resnet18.state_dict().items() if key not in counters}
    load_backbone_state(resnet18, "resnet18", {**old_file, "layer4.0.conv1.weight": torch.zeros(1)}, "other.pt")
    reshaped = {**resnet18.state_dict(), "conv1.weight": torch.zeros(64, 1, 7, 7)}
    with pytest.raises(ModelError, match=r"conv1\.weight has shape \(64, 1, 7, 7\), not \(64, 3, 7, 7\)"):
        load_backbone_state(resnet18, "resnet18", reshaped, "other.pt")


def test_the_identity_of_weights_follows_their_content(tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(b"one")
    first = weights_identity("resnet18", str(path))
    (tmp_path / "copy.pt").write_bytes(b"one")
    assert weights_identity("resnet18", str(tmp_path / "copy.pt")) == first
    path.write_bytes(b"another")
    assert weights_identity("resnet18", str(path)) != first
    names = {weights_identity(name, "pretrained") for name in BACKBONES}
    assert len(names) == len(BACKBONES)
    assert weights_identity("resnet18", "random:0") != weights_identity("resnet18", "random:1")


UNREACHABLE = """
import sys
from subband.errors import ModelError
from subband.nn.backbones import Backbone

for name in sys.argv[1:]:
    try:
        Backbone(name, "pretrained")
    except ModelError as error:
        print(error)
"""


def test_an_unreachable_hub_names_the_other_choices(tmp_path):
    """In a process of its own with nothing downloaded and no way out, because the hubs read these variables at import."""
    closed = "http://127.0.0.1:9"  # the discard port: nobody listens
    environment = {
        **{key: value for key, value in os.environ.items() if key.lower() not in ("no_proxy", "hf_endpoint")},
        "PYTHONPATH": str(PLATFORM),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "huggingface"),
        "TORCH_HOME": str(tmp_path / "torch"),
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), closed),
    }
    names = ["resnet18", "efficientnet_b0"]  # one from each hub
    command = [sys.executable, "-c", UNREACHABLE, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    messages = done.stdout.splitlines()
    for name in names:
        (message,) = [
            line for line in messages if line.startswith(f"the pretrained weights of {name} could not be fetched")
        ]
        assert "--weights PATH" in message
        assert "--backbone efficientnet_lite0 --weights packaged" in message
