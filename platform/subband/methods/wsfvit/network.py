"""WSF-ViT: images to logits of classes, with the members that timm's models have.

Shapes: B images of H x W pixels, C channels, K classes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from timm.layers import LayerNorm2d, NormMlpClassifierHead
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from subband.errors import DataError, ParamsError
from subband.methods.wsfvit.architecture import Architecture, Four, check_channel_heads, size_problem
from subband.methods.wsfvit.block import Block
from subband.methods.wsfvit.stem import COLOURS, Stem


class Stage(nn.Module):
    """Blocks of one width, the first of which halves the map.

    Args:
        inputs: channels that come in.
        channels: channels that go out.
        heads: of the window and grid attentions.
        channel_heads: of the channel attention.
        window: side of windows and grids.
        drop_paths: rate of stochastic depth of each block.
    """

    def __init__(
        self, inputs: int, channels: int, heads: int, channel_heads: int, window: int, drop_paths: list[float]
    ) -> None:
        super().__init__()
        self.grad_checkpointing = False
        self.blocks = nn.ModuleList(
            Block(channels if i else inputs, channels, heads, channel_heads, window, 1 if i else 2, rate)
            for i, rate in enumerate(drop_paths)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, channels, H / 2, W / 2)."""
        for block in self.blocks:
            if self.grad_checkpointing and torch.is_grad_enabled():
                maps = checkpoint(block, maps, use_reentrant=False)
            else:
                maps = block(maps)
        return maps


class WSFViT(nn.Module):
    """The network.

    Args:
        architecture: widths, depths and heads.
        window: side w of windows and grids in every stage; both sides of an image must be multiples of 32 w.
        num_classes: K; 0 leaves the last linear layer out.
        in_chans: 3.
        img_size: side, or (height, width), of images to come; only checked.
        global_pool: timm's name of the pooling before the head.
        drop_rate: dropout before the last linear layer.
        drop_path_rate: rate of stochastic depth of the last block; it grows linearly from 0 at the first. Published default 0.2.
        channel_heads: heads of the channel attention in the four stages; by default the architecture's.
        wavelet: of the stem; published is Haar.

    Raises:
        ParamsError: colours other than three, channel heads that do not divide the widths, an unknown wavelet, or an image size
            that the windows do not divide (the message names the nearest legal sizes).
    """

    def __init__(
        self,
        architecture: Architecture,
        window: int = 7,
        num_classes: int = 1000,
        in_chans: int = 3,
        img_size: int | tuple[int, int] | None = None,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.2,
        channel_heads: Four | None = None,
        wavelet: str = "haar",
    ) -> None:
        super().__init__()
        if in_chans != COLOURS:
            raise ParamsError(f"in_chans {in_chans}: the wavelet stem of WSF-ViT reads images of 3 channels")
        if window < 1:
            raise ParamsError(f"window {window}: a window has at least one cell along each side")
        if img_size is not None:
            height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
            if problem := size_problem(height, width, window):
                raise ParamsError(f"img_size: {problem}")
        widths = architecture.widths
        per_stage = check_channel_heads(channel_heads or architecture.channel_heads, widths)
        self.architecture, self.window, self.num_classes = architecture, window, num_classes
        self.stem = Stem(architecture.stem, wavelet)
        rates = iter(drop_path_rates(drop_path_rate, sum(architecture.depths)))
        self.stages = nn.Sequential(
            *(
                Stage(inputs, channels, heads, channel_head, window, [next(rates) for _ in range(depth)])
                for inputs, channels, depth, heads, channel_head in zip(
                    (architecture.stem, *widths[:3]),
                    widths,
                    architecture.depths,
                    architecture.heads,
                    per_stage,
                    strict=True,
                )
            )
        )
        self.num_features = self.head_hidden_size = widths[3]
        self.head = NormMlpClassifierHead(
            widths[3],
            num_classes,
            hidden_size=widths[3],
            pool_type=global_pool,
            drop_rate=drop_rate,
            norm_layer=partial(LayerNorm2d, eps=1e-5),
            act_layer="tanh",
        )
        self.feature_info = [
            {"num_chs": channels, "reduction": 4 << i, "module": f"stages.{i}"} for i, channels in enumerate(widths)
        ]

    def forward(self, images_B3HW: Tensor) -> Tensor:
        """Logits (B, K) of normalised images (B, 3, H, W).

        Raises:
            DataError: the windows do not divide the images; the message names the nearest legal sizes.
        """
        return self.forward_head(self.forward_features(images_B3HW))

    def forward_features(self, images_B3HW: Tensor) -> Tensor:
        """The last stage's map, (B, C, H / 32, W / 32), as it comes: no normalisation follows."""
        check_images(images_B3HW, self.window)
        maps: Tensor = self.stages(self.stem(images_B3HW))
        return maps

    def forward_head(self, maps: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits of the last stage's map, or what the last linear layer reads."""
        out: Tensor = self.head(maps, pre_logits=pre_logits)
        return out

    def get_classifier(self) -> nn.Module:
        """The last linear layer."""
        classifier: nn.Module = self.head.fc
        return classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new last linear layer in its place; all other weights stay."""
        self.num_classes = num_classes
        self.head.reset(num_classes, global_pool)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute the activations of blocks again in the backward pass, or keep them."""
        stage: Any
        for stage in self.stages:
            stage.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Parameters that must not decay, besides those of one dimension: the position bias tables."""
        return {name for name, _ in self.named_parameters() if name.endswith("relative_position_bias_table")}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """How timm groups parameters by depth: stem, then stages (coarse) or blocks."""
        blocks = r"^stages\.(\d+)" if coarse else r"^stages\.(\d+)\.blocks\.(\d+)"
        return {"stem": r"^stem", "blocks": [(blocks, None)]}


def drop_path_rates(highest: float, blocks: int) -> list[float]:
    """Rates that grow linearly from 0 at the first block to the highest at the last."""
    return [highest * i / max(blocks - 1, 1) for i in range(blocks)]


def check_images(images: Tensor, window: int) -> None:
    """Say early what is wrong with a batch.

    Raises:
        DataError: not (B, 3, H, W), or sides that the windows do not divide; the message names the nearest legal sizes.
    """
    if images.dim() != 4 or images.shape[1] != COLOURS:
        raise DataError(f"expected images as (B, 3, H, W), not {tuple(images.shape)}")
    if problem := size_problem(images.shape[2], images.shape[3], window):
        raise DataError(problem)
