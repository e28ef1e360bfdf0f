"""Grad-CAM in this process: the reference's map, our arithmetic beside captum's, and what cannot be explained."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from class_models import CLASSES, DATA, made_classifier, saved_classifier

import subband.methods.wsfvit  # noqa: F401  # registers the models
from subband.analysis.explanation import Cam, ExplanationSettings, explained, grad_cam, run, stage_end
from subband.analysis.results import Analysis
from subband.data import open_dataset
from subband.errors import DataError, ModelError, ParamsError
from subband.report.cam_rows import cam_rows

GOLDEN = Path(__file__).parents[1] / "golden"


def test_the_golden_map_of_the_reference() -> None:
    spec = importlib.util.spec_from_file_location("golden_fill", GOLDEN / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    rule: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    stored = np.load(GOLDEN / "wsfvit" / "t_224.npz")
    described = json.loads((GOLDEN / "wsfvit" / "manifest_t.json").read_text())
    network = timm.create_model("wsfvit_t_224")
    state = network.state_dict()
    for name, tensor in state.items():
        if name not in described["kept_buffers"]:
            filled = torch.from_numpy(rule.fill_value(name, tuple(tensor.shape)))
            state[name] = filled * 0.5 if name.endswith(tuple(described["halved_suffixes"])) else filled
    network.load_state_dict(state)
    image = torch.from_numpy(rule.golden_input(2, (1, 3, 224, 224)))[0]
    found = grad_cam(network.eval(), stage_end(network, "t"), image)
    assert found.number == int(stored["cam_class"])
    np.testing.assert_allclose(found.raw, stored["cam_raw"], atol=1e-3 * np.abs(stored["cam_raw"]).max())


@pytest.mark.parametrize(("reduction", "cells"), [(None, 2), (16, 4), (4, 16)])
def test_captums_map_is_the_published_sum(reduction: int | None, cells: int) -> None:
    classifier = made_classifier(image_size=64)
    image = classifier.prepare([np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)])[0]
    end = stage_end(classifier.network, "one", reduction)
    kept: list[torch.Tensor] = []
    handle = end.layer.register_forward_hook(lambda module, inputs, out: kept.append(out))
    logits = classifier.network(image[None])[0]
    handle.remove()
    (gradient,) = torch.autograd.grad(logits.max(), kept[0])
    expected = (gradient.mean(dim=(2, 3), keepdim=True) * kept[0]).sum(dim=1)[0]
    found = grad_cam(classifier.network, end, image)
    assert found.raw.shape == (cells, cells)
    assert found.number == int(logits.argmax())
    assert found.probability == pytest.approx(logits.softmax(0).max().item(), abs=1e-6)
    torch.testing.assert_close(found.raw, expected.detach(), rtol=1e-4, atol=1e-6)


def test_maps_reach_from_0_to_1_and_one_without_evidence_is_empty() -> None:
    scaled = Cam(0, 1.0, torch.tensor([[-3.0, 0.0], [1.0, 4.0]])).scaled(8)
    assert scaled.shape == (8, 8)
    assert scaled.min() == 0
    assert scaled.max() == pytest.approx(1, abs=1e-5)
    assert scaled[0, 0] == 0
    assert scaled[7, 7] == scaled.max()
    assert not Cam(0, 1.0, torch.full((2, 2), -1.0)).scaled(4).any()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(saved_classifier(tmp_path_factory.mktemp("explained")))


def test_models_stand_side_by_side_with_maps_and_answers(model: str, tmp_path: Path) -> None:
    with Analysis(tmp_path / "results") as analysis:
        settings = ExplanationSettings(models=(model, "resnet10t=random:0"), data=DATA, images=3)
        run(analysis, settings)
        analysis.publish({})
    with (tmp_path / "results" / "answers.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["image"] for row in rows[::2]] == ["test/disc/000", "test/disc/003", "test/square/007"]
    assert {row["class"] for row in rows} <= set(CLASSES)
    assert {row["answer"] for row in rows[::2]} <= set(CLASSES)
    assert [row["model"] for row in rows[:2]] == [Path(model).parent.name, "resnet10t"]
    assert np.load(tmp_path / "results" / rows[0]["map"]).shape == (1, 1)
    assert np.load(tmp_path / "results" / rows[1]["map"]).ndim == 2
    assert (tmp_path / "results" / "grad-cam.png").stat().st_size > 20_000


def test_a_plain_folder_is_explained_without_classes(model: str, tmp_path: Path) -> None:
    open_dataset(DATA).split("test").image(0).open().save(tmp_path / "one.png")
    with Analysis(tmp_path / "results") as analysis:
        run(analysis, ExplanationSettings(models=(model,), data=f"images:{tmp_path}"))
        assert "its map has 1 x 1 cells: --reduction 16 looks at a finer one" in " ".join(analysis.findings.notes)
        analysis.publish({})
    assert "test/one,," in (tmp_path / "results" / "answers.csv").read_text()


def test_what_cannot_be_explained(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Analysis(tmp_path / "results") as analysis, pytest.raises(ParamsError, match="give the models to explain"):
        run(analysis, ExplanationSettings(data=DATA))
    with pytest.raises(
        ParamsError, match="'resnett50' is neither a saved model, nor a checkpoint's file, nor a model of"
    ):
        explained("resnett50")
    with pytest.raises(ParamsError, match=r"weights 'none.pth' is no file"):
        explained("resnet10t=none.pth")
    with pytest.raises(ModelError, match="has no stages that end in a map"):
        stage_end(torch.nn.Linear(2, 2), "a line")
    with pytest.raises(ParamsError, match="no stage of resnet10t has a reduction of 7; there are 2, 4, 8, 16, 32"):
        explained("resnet10t=random:0", reduction=7)
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match=r"other.pth does not fit resnet10t"):
        explained(f"resnet10t={tmp_path / 'other.pth'}")
    with pytest.raises(ModelError, match=r"wsfvit_p0_224 could not be had .*; give wsfvit_p0_224=PATH"):
        explained("wsfvit_p0_224")
    swin = explained("swin_tiny_patch4_window7_224=random:0")
    with pytest.raises(ModelError, match=r"needs a map \(1, 768, h, w\), but the stage ends in \(1, 7, 7, 768\)"):
        grad_cam(swin.network, swin.end, torch.zeros(3, 224, 224))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r"weights of resnet10t could not be had .* give resnet10t=PATH"):
        explained("resnet10t")


def test_figures_whose_parts_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="at least one image and one model"):
        cam_rows([], [], ["a"], [])
    with pytest.raises(DataError, match="1 images and 1 models need as many names and maps"):
        cam_rows([np.zeros((4, 4, 3), np.uint8)], ["x"], ["a"], [[]])
