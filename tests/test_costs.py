"""Costs: known sizes, times of the right region, and nothing that is not asked for."""

import numpy as np
import pytest
import torch

from subband import costs
from subband.costs import measure_costs
from subband.data import Preprocess, open_dataset
from subband.evaluation import CategoryBench
from subband.methods import UNCALIBRATED, Detector, get_method, make_params

METHOD = get_method("wepadim")


class Clock:
    """Time that passes only when a detector says so."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(costs, "time", clock)
    return clock


class Spending(Detector):
    """Spends as many seconds of a clock as it is told to; keeps 1500 float32 outside its backbone and 2 parameters inside."""

    def __init__(self, seconds=(0.0,), clock=None):
        super().__init__(
            "spending", make_params(METHOD, {"weights": "random:0"}), Preprocess(image_size=32), UNCALIBRATED, {}
        )
        self.register_buffer("bank", torch.zeros(1500))
        self.backbone = torch.nn.Linear(1, 1)
        self.seconds = list(seconds)
        self.clock = clock or Clock()
        self.seen = []

    def forward(self, images):
        self.seen.append(images)
        self.clock.now += self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]
        return images.mean(dim=1), images.mean(dim=(1, 2, 3))


def test_the_bank_is_what_lies_outside_the_frozen_network():
    detector = Spending()
    assert measure_costs(detector, ["bank_mb"]) == ({"bank_mb": 6000 / 1e6}, "")
    assert detector.seen == [], "the size was asked for, and the detector ran"


def test_another_name_of_the_frozen_network_is_respected():
    class Renamed(Spending):
        frozen = ("backbone", "bank")

    assert Renamed().fitted_bytes() == 0


def test_wepadim_stores_its_gaussians():
    params = make_params(METHOD, {"weights": "random:0", "image_size": 64, "grid": 4, "subbands": "LL"})
    category = open_dataset("synthetic:?train=5&test=4&size=64&categories=weave").category("weave")
    detector = METHOD.build(params, CategoryBench(category, "test", 0, None).runner)
    positions, pictures, channels = 16, 5, 64 + 128 + 256
    mean, basis, variances = positions * channels * 8, positions * pictures * channels * 4, positions * pictures * 4
    assert detector.fitted_bytes() == mean + basis + variances


def test_one_picture_is_timed_after_the_warm_up(clock):
    detector = Spending([*[5.0] * costs.WARM_UP, 0.02], clock)
    found, conditions = measure_costs(detector)
    assert found == pytest.approx({"bank_mb": 0.006, "latency_ms": 20, "fps": 50})
    assert "1 torch thread" in conditions or "torch threads" in conditions
    assert {tuple(images.shape) for images in detector.seen} == {(1, 3, 32, 32)}
    assert costs.FEWEST < len(detector.seen) - costs.WARM_UP < costs.MOST
    assert all(float(images.min()) >= 0 and float(images.max()) <= 1 for images in detector.seen)


def test_a_stall_moves_the_throughput_and_not_the_median(clock):
    detector = Spending([*[0.0] * costs.WARM_UP, 0.91, 0.01], clock)
    found, _ = measure_costs(detector, ["latency_ms", "fps"])
    assert found == pytest.approx({"latency_ms": 10, "fps": 10})


@pytest.mark.parametrize(("seconds", "repetitions"), [(60.0, costs.FEWEST), (1e-6, costs.MOST)])
def test_repetitions_are_bounded(clock, seconds, repetitions):
    detector = Spending([seconds], clock)
    measure_costs(detector, ["fps"])
    assert len(detector.seen) == costs.WARM_UP + repetitions


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_detector_is_measured_there():
    detector = Spending()
    _, conditions = measure_costs(detector)
    assert {images.device.type for images in detector.seen} == {"cuda"}
    assert torch.cuda.get_device_name() in conditions


def test_the_scores_are_those_of_the_pictures():
    """Being measured changes nothing of a detector."""
    params = make_params(METHOD, {"weights": "random:0", "image_size": 64, "grid": 4})
    category = open_dataset("synthetic:?train=4&test=4&size=64&categories=weave").category("weave")
    detector = METHOD.build(params, CategoryBench(category, "test", 0, None).runner)
    images = np.random.default_rng(1).integers(0, 256, (2, 3, 64, 64), dtype=np.uint8)
    before = detector.score(images)[1]
    measure_costs(detector)
    np.testing.assert_allclose(detector.score(images)[1], before, rtol=1e-5)
