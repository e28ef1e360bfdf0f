"""Counting a network: its parameters, and the multiply-adds of one pass.

Publications count differently. Two counts are given here, in multiply-adds ("MACs", often published as "FLOPs"):

- **products**: matrix products (attention among them) and convolutions, by torch's own flop counter, whose two operations a
  multiply-add are halved. Everything else is free.
- **with norms**: besides, each element of a batch normalisation counts 2 in inference or 5 in training, and each of a layer
  normalisation 5. That is the convention of fvcore's counter, hence of many published tables; activations, softmax and sums are
  free there too.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

BATCH_NORM_INFERENCE, BATCH_NORM_TRAINING, LAYER_NORM = 2, 5, 5


@dataclass(frozen=True)
class Operations:
    """What one forward pass computes.

    Attributes:
        products: multiply-adds of matrix products and convolutions.
        batch_norm_elements: elements that pass a batch normalisation.
        layer_norm_elements: elements that pass a layer normalisation.
    """

    products: int
    batch_norm_elements: int
    layer_norm_elements: int

    def with_norms(self, training: bool = False) -> int:
        """Multiply-adds, normalisations included."""
        batch_norm = BATCH_NORM_TRAINING if training else BATCH_NORM_INFERENCE
        return self.products + batch_norm * self.batch_norm_elements + LAYER_NORM * self.layer_norm_elements


def count_parameters(network: nn.Module) -> int:
    """Numbers in all parameters, trained or not; buffers are not counted."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_operations(network: nn.Module, shape: Sequence[int]) -> Operations:
    """Operations of one forward pass of a network in training mode; nothing is computed (meta device).

    Args:
        network: stays as it is; one that is built on the meta device is counted without memory.
        shape: of its input, for instance (1, 3, 224, 224).
    """
    replica = copy.deepcopy(network).to("meta").train()
    elements = {"batch": 0, "layer": 0}

    def watch(kind: str, module: nn.Module) -> None:
        def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            elements[kind] += inputs[0].numel()

        module.register_forward_hook(add)

    for module in replica.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            watch("batch", module)
        elif isinstance(module, nn.LayerNorm):
            watch("layer", module)
    # Fused attention is opaque to the counter on some devices: written out, its two products are seen on all.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        replica(torch.empty(tuple(shape), device="meta"))
    return Operations(counter.get_total_flops() // 2, elements["batch"], elements["layer"])
