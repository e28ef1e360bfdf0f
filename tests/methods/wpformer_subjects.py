"""Small networks of WPFormer for tests."""

import importlib.util
from pathlib import Path

import torch

from subband.methods.wpformer.network import WPFormer
from subband.methods.wpformer.params import WPFormerParams
from subband.methods.wpformer.segmenter import make_network

SMALL = {"backbone": "pvt_v2_b0", "weights": "random:3", "channels": 16, "image_size": 64}
QUIET = {"dropout": 0, "drop_path": 0}


def small_params(**values) -> WPFormerParams:
    return WPFormerParams(**{**SMALL, **values})


def small_network(**values) -> WPFormer:
    return make_network(small_params(**values))


def awake(network: WPFormer) -> WPFormer:
    """With normalisation statistics, scales and biases that are not the neutral ones they start with."""
    generator = torch.Generator().manual_seed(5)
    for name, tensor in network.state_dict().items():
        if tensor.ndim == 1 and tensor.is_floating_point():
            noise = 0.1 * torch.randn(tensor.shape, generator=generator)
            tensor.copy_(tensor.abs() + noise.abs() if name.endswith("running_var") else tensor + noise)
    return network


def pictures(count=2, height=64, width=64, seed=0):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def plain_form(network: WPFormer):
    """The network written as its equations say."""
    path = Path(__file__).parents[2] / "platform" / "bench" / "plain_wpformer.py"
    spec = importlib.util.spec_from_file_location("plain_wpformer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PlainWPFormer(network)
