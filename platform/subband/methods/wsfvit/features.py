"""WSF-ViT as a backbone: the maps of its stages, for detectors and for timm's ``features_only`` (section 11.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timm.models import FeatureInfo
from torch import Tensor, nn

from subband.errors import ParamsError
from subband.methods.wsfvit.network import WSFViT, check_images

STAGES = 4


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of an NCHW map, with the epsilon (1e-6) of the published detection backbone.

    Args:
        channels: of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W)."""
        out: Tensor = self.norm(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out


class WSFViTFeatures(nn.Module):
    """Stem and stages of a network, whose modules it takes over; what lies behind the last map asked for is left out.

    Args:
        network: a classifier; its head is left out.
        out_indices: stages whose maps are given (0 to 3, negative ones count from the end), or the number of last stages.
        output_norms: whether each map passes a layer normalisation of its own (``norm0.norm`` to ``norm3.norm``) on its way out;
            the next stage receives it as it was.
        frozen_batch_norm: whether batch normalisations stay in eval mode for ever: their statistics do not move, their weights and
            biases are trained.

    Raises:
        ParamsError: `out_indices` names no stage, or one that does not exist.
    """

    def __init__(
        self,
        network: WSFViT,
        out_indices: int | Sequence[int] = (0, 1, 2, 3),
        output_norms: bool = False,
        frozen_batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.wanted = _indices(out_indices)
        self.output_norms, self.frozen_batch_norm = output_norms, frozen_batch_norm
        self.architecture, self.window = network.architecture, network.window
        self.feature_info = FeatureInfo(network.feature_info, self.wanted)
        self.stem = network.stem
        self.stages = network.stages[: max(self.wanted) + 1]
        if output_norms:
            for i in self.wanted:
                self.add_module(f"norm{i}", ChannelNorm(self.feature_info[i]["num_chs"]))
        self.train(self.training)

    def train(self, mode: bool = True) -> WSFViTFeatures:
        """Training or eval mode; frozen batch normalisations stay in eval mode."""
        super().train(mode)
        if self.frozen_batch_norm:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute the activations of blocks again in the backward pass, or keep them."""
        stage: Any
        for stage in self.stages:
            stage.grad_checkpointing = enable

    def forward(self, images_B3HW: Tensor) -> list[Tensor]:
        """Maps (B, C, H / s, W / s), s = 4, 8, 16, 32, of the stages asked for.

        Raises:
            DataError: the windows do not divide the images; the message names the nearest legal sizes.
        """
        check_images(images_B3HW, self.window)
        maps = self.stem(images_B3HW)
        found = {}
        for i, stage in enumerate(self.stages):
            maps = stage(maps)
            if i in self.wanted:
                found[i] = getattr(self, f"norm{i}")(maps) if self.output_norms else maps
        return [found[i] for i in self.wanted]


def _indices(out_indices: int | Sequence[int]) -> tuple[int, ...]:
    given = range(-out_indices, 0) if isinstance(out_indices, int) else out_indices
    if not given or not all(-STAGES <= i < STAGES for i in given):
        raise ParamsError(f"out_indices {out_indices}: the stages are 0 to {STAGES - 1}, or -1 for the last and so on")
    return tuple(i % STAGES for i in given)
