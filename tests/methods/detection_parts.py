"""Small detectors, images and targets for the tests of object detection."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from subband.data import ExampleKey, open_dataset
from subband.data.detection.augment import Sizes
from subband.data.detection.examples import DetectionTraining
from subband.data.detection.instances import DetectionData
from subband.methods import make_params
from subband.methods.wsfvit.detect.detector import make_network
from subband.methods.wsfvit.detect.method import WSFVIT_DETECTION
from subband.methods.wsfvit.detect.network import DetectionNetwork
from subband.methods.wsfvit.detect.params import WSFViTDetectionParams

CLASSES = ("disc", "square")
DATA = "synthetic-coco:?train=8&validation=4&test=4&size=64&classes=2"


def params(**values: Any) -> WSFViTDetectionParams:
    given = {**WSFVIT_DETECTION.recipes["smoke"], "classes": CLASSES, **values}
    made: WSFViTDetectionParams = make_params(WSFVIT_DETECTION, given)
    return made


def data() -> DetectionData:
    opened = open_dataset(DATA)
    assert isinstance(opened, DetectionData)
    return opened


def batch(*indices: int, side: int = 64) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Images of the embedded data, index 7 without an object, and what is marked in them."""
    examples = DetectionTraining(data().split("train"), "none", Sizes((side,), 2 * side), 0)
    drawn = [examples[ExampleKey(index)] for index in indices]
    images = [example.pop("images") for example in drawn]
    return images, drawn


def exhaustive(network: DetectionNetwork) -> DetectionNetwork:
    """The network, learning from all anchors and regions instead of some drawn by lot."""
    network.rpn.fg_bg_sampler.batch_size_per_image = 10**6
    network.heads.regions = 10**6
    return network


def network(**values: Any) -> DetectionNetwork:
    return make_network(params(**values))


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()
