"""Every trained method under the contract; and proof that each of its checks can fail."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from torch import Tensor, nn

from subband.errors import ModelError
from subband.methods import Deployable, Step, TrainedMethod, registry, trained_method
from subband.testing import TrainedMethodContract
from tests.tuning.swept_blobs import SWEPT_BLOBS, SweptBlobs

SURFACE = "synthetic-surface:?train=10&test=3&size=64"


WITHIN = 1e-2
"""For networks that draw inside (drop path, sampled proposals), which differs between workers; a wrong scale would be a factor."""


class TestWPFormer(TrainedMethodContract):
    name = "wpformer"
    dataset = SURFACE
    params: ClassVar = {
        **trained_method("wpformer").recipes["smoke"],
        "weights": "random:0",
        "epochs": 2,
        "validate_from": 1,
    }
    bad_params: ClassVar = {"lr": -1, "channels": 7, "backbone": "pvt_v3"}
    workers_tolerance = WITHIN


class TestWSFViT(TrainedMethodContract):
    name = "wsfvit"
    dataset = trained_method("wsfvit").embedded_smoke
    params: ClassVar = {
        **trained_method("wsfvit").recipes["smoke"],
        "epochs": 2,
        "validate_from": 1,
        "drop_path": 0.0,
    }
    bad_params: ClassVar = {"lr": -1, "wavelet": "harr", "variant": "q"}


class TestWSFViTDetection(TrainedMethodContract):
    name = "wsfvit-detection"
    dataset = trained_method("wsfvit-detection").embedded_smoke
    params: ClassVar = {**trained_method("wsfvit-detection").recipes["smoke"], "epochs": 2, "validate_from": 1}
    bad_params: ClassVar = {"lr": -1, "kind": "yolo"}
    workers_tolerance = WITHIN


class TestWSFViTVideo(TrainedMethodContract):
    name = "wsfvit-video"
    dataset = trained_method("wsfvit-video").embedded_smoke
    params: ClassVar = {**trained_method("wsfvit-video").recipes["smoke"], "epochs": 2, "validate_from": 1}
    bad_params: ClassVar = {"lr": -1, "wavelet": "harr"}
    workers_tolerance = WITHIN


class Forgetful(SweptBlobs):
    """Draws its starting weights from the global generator."""

    def model(self, params: Any) -> nn.Module:
        network = super().model(params)
        for value in network.parameters():
            nn.init.normal_(value, std=0.1)
        return network


class Counting(SweptBlobs):
    """Its loss depends on how often it was asked in this process, which no checkpoint keeps."""

    def __init__(self) -> None:
        self.asked = 0

    def loss(self, params: Any, model: nn.Module, batch: Mapping[str, Tensor], step: Step) -> Tensor:
        self.asked += 1
        return super().loss(params, model, batch, step) * (1 + 1 / self.asked)


class Frozen(SweptBlobs):
    """Learns nothing."""

    def rate(self, params: Any, at: float) -> float:
        return 0.0


class Lonely(SweptBlobs):
    """Its loss depends on how many examples a worker sees at once."""

    def loss(self, params: Any, model: nn.Module, batch: Mapping[str, Tensor], step: Step) -> Tensor:
        return super().loss(params, model, batch, step) * len(next(iter(batch.values())))


class Lax(SweptBlobs):
    """Takes any value."""

    class Loose(SweptBlobs.params_type):  # type: ignore[name-defined]
        patience: int = 0

    params_type = Loose


class Blobs(TrainedMethodContract):
    name = "swept-blobs"
    dataset = "synthetic:?train=2&test=4&size=32&categories=weave"
    params: ClassVar = {"epochs": 2, "count": 24}
    bad_params: ClassVar = {"patience": -1}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._METHODS, "swept-blobs", "tests.tuning.swept_blobs:SWEPT_BLOBS")


def run(method: TrainedMethod, check: str, tmp_path: Path) -> None:
    class Contract(Blobs):
        def method(self) -> TrainedMethod:
            return method

    bound = getattr(Contract(), check)
    bound(*([tmp_path] if "tmp_path" in bound.__func__.__code__.co_varnames else []))


CHECKS = [name for name in vars(TrainedMethodContract) if name.startswith("test_")]


@pytest.mark.parametrize("check", CHECKS)
def test_a_sound_method_passes(check: str, tmp_path: Path) -> None:
    run(SWEPT_BLOBS, check, tmp_path)


BROKEN = {
    Frozen: ("test_it_learns_and_is_evaluated", "no weight has changed"),
    Forgetful: ("test_same_seed_same_weights", "weights of a second training: .* tensors differ"),
    Counting: ("test_resumed_ends_as_uninterrupted", "weights of the resumed training: .* tensors differ"),
    Lonely: ("test_two_workers", "the loss of the first update on two workers is"),
    Lax: ("test_bad_params", "patience=-1: expected ParamsError"),
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_method_fails(broken: type[SweptBlobs], tmp_path: Path) -> None:
    check, message = BROKEN[broken]
    with pytest.raises(AssertionError, match=message):
        run(broken(), check, tmp_path)


def test_a_method_that_gives_back_another_model_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restore = SweptBlobs.restore

    def drifting(self: Any, params: Any, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> Deployable:
        return restore(self, params, {name: 1.01 * value for name, value in tensors.items()}, description)

    monkeypatch.setattr(SweptBlobs, "restore", drifting)
    with pytest.raises(ModelError, match="loaded afresh, differs"):
        run(SWEPT_BLOBS, "test_save_and_load", tmp_path)


def test_every_check_can_fail() -> None:
    assert {check for check, _ in BROKEN.values()} | {"test_save_and_load"} == set(CHECKS)
