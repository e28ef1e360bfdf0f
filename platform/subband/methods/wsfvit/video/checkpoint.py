"""Published checkpoints of the video model: their sizes are read off the tensors, and they are loaded strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from subband.errors import ModelError
from subband.methods.wsfvit.checkpoint import compare

WRAPPERS = ("state_dict", "model")
FILTERS = ("dwt_l2.w_l", "dwt_l2.w_h")
_WIDTH = "hid.enc.0.block.conv.pre_norm.weight"
_FIRST = "enc.enc.0.conv.conv.weight"
_MIDDLE = "hid.enc.0.reduction.weight"
_CHANNEL_MLP = "hid.enc.0.block.attn_channel.mlp.fc1.weight"


def bare_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the prefix of a distributed training."""
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def sizes_of(state: Mapping[str, Tensor], origin: str) -> dict[str, Any]:
    """What the tensors tell of the params; of the frame's size they tell nothing.

    Raises:
        ModelError: they are of no video model of WSF-ViT.
    """
    signs = (_FIRST, _WIDTH, _CHANNEL_MLP)
    if lacking := [name for name in signs if name not in state]:
        raise ModelError(f"{origin} is no checkpoint of a WSF-ViT video model: it has no {lacking[0]}")
    channels, width = len(state[_FIRST]), len(state[_WIDTH])
    return {
        "frame_channels": channels,
        "frames_in": width // channels,
        "translator_channels": len(state[_MIDDLE]) if _MIDDLE in state else width,
        "frame_layers": _count(r"enc\.enc\.(\d+)\.", state),
        "translator_blocks": _count(r"hid\.enc\.(\d+)\.", state),
        "channel_mlp_ratio": len(state[_CHANNEL_MLP]) // width,
        **({} if "norm.weight" in state else {"wavelet": "none"}),
    }


def load_published(network: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Load a published state dict: every tensor must have its place; the fixed filters may be left out.

    Raises:
        ModelError: something is missing, over or of another shape, or the filters are of another wavelet; the message says what.
    """
    own = network.state_dict()
    given = {**{name: own[name] for name in FILTERS if name in own}, **state}
    if found := compare(own, given):
        raise ModelError(f"{origin} does not fit this video model: {found.summary()}")
    for name in FILTERS:
        if name in own and not torch.allclose(given[name].to(own[name]), own[name], atol=1e-3):
            raise ModelError(
                f"{origin} was made with another wavelet: {name} is {given[name].flatten().tolist()[:8]}, this network has "
                f"{own[name].flatten().tolist()[:8]}"
            )
    network.load_state_dict(given)


def _count(pattern: str, state: Mapping[str, Tensor]) -> int:
    return len({found[1] for name in state if (found := re.match(pattern, name))})
