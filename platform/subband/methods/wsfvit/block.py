"""The one block that WSF-ViT repeats: MBConv, window attention, channel attention, grid attention (section 4).

Shapes: B images, C channels, H x W cells; maps are NCHW, channels last in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from subband.methods.wsfvit.channel_attention import ChannelAttention
from subband.methods.wsfvit.gelu import Kind
from subband.methods.wsfvit.mbconv import MBConv, Padding
from subband.methods.wsfvit.spatial_attention import BiasTable, QkvOrder, SpatialAttention


@dataclass(frozen=True)
class BlockOptions:
    """How a block is written in detail; the defaults are the classifier's, `VIDEO` the video translator's.

    Attributes:
        gelu: of MBConv and of the spatial attentions; the channel attention's is exact in both.
        batch_norm_eps: in MBConv.
        layer_norm_eps: in the spatial attentions; that of the channel attention is 1e-5 in both.
        padding: of strided convolutions.
        qkv: order of the outputs of the spatial attentions' projections; the channel attention's are thirds in both.
        bias_table: layout of the relative position biases.
        mlp_ratio: in the spatial attentions.
        channel_mlp_ratio: in the channel attention.
        part_names: modules of the window, channel and grid attention, which state dicts spell.
    """

    gelu: Kind = "tanh"
    batch_norm_eps: float = 1e-3
    layer_norm_eps: float = 1e-5
    padding: Padding = "same"
    qkv: QkvOrder = "thirds"
    bias_table: BiasTable = "square"
    mlp_ratio: int = 4
    channel_mlp_ratio: int = 4
    part_names: tuple[str, str, str] = ("attn_local", "attn_inter", "attn_global")


CLASSIFIER = BlockOptions()
VIDEO = BlockOptions(
    gelu="none",
    batch_norm_eps=1e-5,
    layer_norm_eps=1e-6,
    padding="symmetric",
    qkv="heads",
    bias_table="flat",
    channel_mlp_ratio=8,
    part_names=("attn_block", "attn_channel", "attn_grid"),
)


class Block(nn.Module):
    """MBConv, then attention inside windows, among channels and inside grids.

    Args:
        inputs: channels that come in.
        channels: C, that go out.
        heads: of the window and the grid attention, a divisor of C.
        channel_heads: of the channel attention, a divisor of C.
        window: side w of windows and grids, a divisor of both sides of the map behind MBConv.
        stride: of MBConv, 1 or 2.
        drop_path: rate of stochastic depth of all seven residual branches.
        options: details.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        heads: int,
        channel_heads: int,
        window: int,
        stride: int = 1,
        drop_path: float = 0.0,
        options: BlockOptions = CLASSIFIER,
    ) -> None:
        super().__init__()
        gelu, eps, padding = options.gelu, options.batch_norm_eps, options.padding
        self.conv = MBConv(inputs, channels, stride, gelu, eps, padding, drop_path)
        self.part_names = options.part_names
        spatial = (gelu, options.layer_norm_eps, options.qkv, options.bias_table, options.mlp_ratio, drop_path)
        windows, among_channels, grids = options.part_names
        self.add_module(windows, SpatialAttention(channels, heads, window, "window", *spatial))
        ratio = options.channel_mlp_ratio
        self.add_module(among_channels, ChannelAttention(channels, channel_heads, mlp_ratio=ratio, drop_path=drop_path))
        self.add_module(grids, SpatialAttention(channels, heads, window, "grid", *spatial))

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, C, H / stride, W / stride)."""
        maps = self.conv(maps_BCHW).permute(0, 2, 3, 1).contiguous()
        for name in self.part_names:
            maps = getattr(self, name)(maps)
        out: Tensor = maps.permute(0, 3, 1, 2)
        return out
