"""PVTv2 (Wang et al., CVMJ 2022) as timm builds it, and where its weights come from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn

from subband.errors import ModelError, ParamsError, unknown_name


@dataclass(frozen=True)
class Variant:
    """What tells one size of PVTv2 from another.

    Attributes:
        depths: blocks of the four stages.
        widths: channels of the four stages.
    """

    depths: tuple[int, int, int, int]
    widths: tuple[int, int, int, int] = (64, 128, 320, 512)


VARIANTS: Mapping[str, Variant] = {
    "pvt_v2_b0": Variant((2, 2, 2, 2), (32, 64, 160, 256)),
    "pvt_v2_b1": Variant((2, 2, 2, 2)),
    "pvt_v2_b2": Variant((3, 4, 6, 3)),
    "pvt_v2_b3": Variant((3, 4, 18, 3)),
    "pvt_v2_b4": Variant((3, 8, 27, 3)),
    "pvt_v2_b5": Variant((3, 6, 40, 3)),
}


def check_backbone(name: str) -> str:
    """The name of a PVTv2 as timm spells it.

    Raises:
        ParamsError: there is none of that name; near matches are given.
    """
    spelt = name.replace("-", "_")
    if spelt not in VARIANTS:
        raise ParamsError(unknown_name("PVTv2 backbone", name, VARIANTS))
    return spelt


def build_backbone(name: str, drop_path: float, seed: int) -> Any:
    """A PVTv2 without classifier, its weights drawn by `seed`; the global generator is left as it was.

    Linear weights start truncated normal (0.02), convolutions N(0, 2 / fan-out), biases zero.

    Args:
        name: key of `VARIANTS`.
        drop_path: rate of stochastic depth of the last block; it grows linearly from 0 at the first.
        seed: of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        backbone = timm.create_model(name, pretrained=False, num_classes=0, drop_path_rate=drop_path)
    for stage in backbone.stages:
        for block in stage.blocks:
            block.mlp = TokenMlp(block.mlp)
    return backbone


class TokenMlp(nn.Module):
    """The feed-forward part of a block, its depth-wise convolution on the tokens as they lie in memory.

    It computes what timm's does, which for a single image copies the widened map back and forth (a quarter of the forward pass on
    a processor): a view of its tokens does not look channels-last to torch there.

    Args:
        mlp: timm's, whose layers it takes under their names.
    """

    def __init__(self, mlp: Any) -> None:
        super().__init__()
        self.fc1, self.dwconv, self.act, self.fc2 = mlp.fc1, mlp.dwconv, mlp.act, mlp.fc2

    def forward(self, tokens_BTC: Tensor, feat_size: tuple[int, int]) -> Tensor:
        """(B, T, C), T the cells of a map of `feat_size`, rows first."""
        widened = self.fc1(tokens_BTC).unflatten(1, feat_size).permute(0, 3, 1, 2)
        mixed = self.act(self.dwconv(widened)).permute(0, 2, 3, 1).flatten(1, 2)
        return self.fc2(mixed)  # type: ignore[no-any-return]


def pretrained_state(name: str) -> dict[str, Tensor]:
    """The ImageNet-1k weights, fetched once from timm's hub.

    Raises:
        ModelError: they cannot be fetched; the message names the two other choices.
    """
    try:
        state: dict[str, Tensor] = timm.create_model(f"{name}.in1k", pretrained=True, num_classes=0).state_dict()
    except Exception as error:
        raise ModelError(
            f"the pretrained weights of {name} could not be fetched ({type(error).__name__}: {str(error)[:200]}). Without a "
            "network choose weights=PATH of a state dict, or weights=random:0 (untrained)"
        ) from error
    return state


def backbone_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a PVTv2 under timm's names, whether they come under the published ones or timm's; without classifier."""
    return {timm_name(name): tensor for name, tensor in state.items() if not name.startswith("head.")}


def timm_name(published: str) -> str:
    """The timm name of a published one; names of timm come back unchanged."""
    name = published.replace(".mlp.dwconv.dwconv.", ".mlp.dwconv.")
    name = re.sub(r"^block(\d)\.", lambda found: f"stages.{int(found[1]) - 1}.blocks.", name)
    name = re.sub(r"^norm(\d)\.", lambda found: f"stages.{int(found[1]) - 1}.norm.", name)
    name = re.sub(r"^patch_embed([2-4])\.", lambda found: f"stages.{int(found[1]) - 1}.downsample.", name)
    name = re.sub(r"^patch_embed1\.", "patch_embed.", name)
    return re.sub(r"^stages_(\d)\.", r"stages.\1.", name)  # timm's feature extractor writes an underscore


def published_name(timms: str) -> str:
    """The inverse of `timm_name`."""
    name = timms.replace(".mlp.dwconv.", ".mlp.dwconv.dwconv.")
    name = re.sub(r"^stages\.(\d)\.blocks\.", lambda found: f"block{int(found[1]) + 1}.", name)
    name = re.sub(r"^stages\.(\d)\.norm\.", lambda found: f"norm{int(found[1]) + 1}.", name)
    name = re.sub(r"^stages\.(\d)\.downsample\.", lambda found: f"patch_embed{int(found[1]) + 1}.", name)
    return re.sub(r"^patch_embed\.", "patch_embed1.", name)
