"""From two feature levels and their gates to one vector a grid cell (specification 2.2 to 2.5).

The parts are functions, so that the stages of a sweep share them: feature levels serve every wavelet, seed, scope and
ablation; gates serve semantic on and off. `WedgeNetwork` puts them together for a deployed detector.

Shapes: N images of H x W pixels; layer2 (N, C2, h, w) gives the grid, layer3 (N, C3, h', w') is brought to it; D = C2 + C3
channels without the semantic block, 2 C2 + C3 with it.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from subband.errors import ModelError
from subband.methods.wedgenet.encoder import FrequencyEncoder, Gates
from subband.methods.wedgenet.guidance import GuidanceWavelet, check_guidance_wavelet, frequency_guidance
from subband.methods.wedgenet.scope import Extremes, Scope
from subband.nn.backbones import Backbone
from subband.nn.levels import check_finite, feature_levels, level_channels
from subband.nn.wavelets import resize_maps

Border = Literal["zero", "inside"]
BORDERS: tuple[Border, ...] = ("zero", "inside")
SHORTEST = 1e-12  # lengths are floored here, as torch's normalize does


def pooled(maps_NCHW: Tensor, border: Border) -> Tensor:
    """3 x 3 mean with stride 1.

    Args:
        maps_NCHW: (N, C, h, w).
        border: ``zero`` divides by 9 everywhere, as published, which shortens vectors to 2/3 at edges and 4/9 in corners;
            ``inside`` divides by the number of cells inside (specification B13).
    """
    return functional.avg_pool2d(maps_NCHW, 3, stride=1, padding=1, count_include_pad=border == "zero")


def gated_features(layer2: Tensor, layer3: Tensor, gates: Gates | None, border: Border) -> Tensor:
    """The two gated levels, each of unit length at every cell, then pooled.

    Args:
        layer2: (N, C2, h, w).
        layer3: (N, C3, h', w'), resized bilinearly to h x w.
        gates: on the grid h x w; None leaves the levels as they are (the gate-off ablation).
        border: see `pooled`.

    Returns:
        (N, C2 + C3, h, w).

    Raises:
        ModelError: a feature is NaN or infinite. Checked on the CPU only: elsewhere the host would wait for every batch, so
            what comes to the host is checked there.
    """
    if layer2.is_cpu and not torch.compiler.is_compiling():
        check_finite(layer2, "layer2")
        check_finite(layer3, "layer3")
    channels, height, width = layer2.shape[1:]
    # With the channels of a cell side by side in memory everything below runs several times faster.
    layer2, layer3 = (maps.contiguous(memory_format=torch.channels_last) for maps in (layer2, layer3))
    layer3 = resize_maps(layer3, (height, width), antialias=False)
    joined = torch.cat([layer2, layer3], dim=1).contiguous(memory_format=torch.channels_last)
    for index, level in enumerate((joined[:, :channels], joined[:, channels:])):
        if gates is not None:
            level *= gates[index]
        level /= _length(level)
    return pooled(joined, border)


def _length(maps_NCHW: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(maps_NCHW, dim=1, keepdim=True)
    return length.clamp_min(SHORTEST)


def saliency(layer2: Tensor) -> Tensor:
    """Mean over channels of the magnitudes of layer2, (N, h, w): the semantic mask before min-max scaling."""
    return layer2.abs().mean(dim=1)


def semantic_block(layer2: Tensor, border: Border, extremes: Extremes | None = None) -> Tensor:
    """The third block: layer2 without gate, of unit length, weighted by 0 at the weakest cell to 2 at the strongest, pooled.

    Args:
        layer2: (N, C2, h, w).
        border: see `pooled`.
        extremes: of the saliency, one pair an image, as `Extremes.of(saliency(layer2)).scoped(...)` gives them; None
            takes each image's own.

    Returns:
        (N, C2, h, w).
    """
    layer2 = layer2.contiguous(memory_format=torch.channels_last)
    strength = saliency(layer2)
    mask = (extremes or Extremes.of(strength)).scale(strength)
    return pooled(layer2 * (2 * mask.unsqueeze(1) / _length(layer2)), border)


def semantic_map(layer2: Tensor, scope: Scope = "image") -> Tensor:
    """The display map ``sem`` (N, h, w) in [0, 1): from squares, so it is not the mask that weights the block (B9)."""
    strength = layer2.square().mean(dim=1)
    return Extremes.of(strength).scoped(scope).scale(strength)


class WedgeNetwork(nn.Module):
    """Images to features, in eval mode and without gradient.

    Args:
        backbone: a ResNet.
        encoder: with the backbone's channels; None is the gate-off ablation.
        wavelet: of the guidance; not read without an encoder.
        semantic: whether the semantic block is appended.
        border: see `pooled`.
        scope: whose extremes scale the guidance and the mask: each image's own, or those of the batch it comes in.

    Raises:
        ParamsError: unknown wavelet, or a backbone without layer2 and layer3.
        ModelError: the encoder is of another width than the backbone.
    """

    def __init__(
        self,
        backbone: Backbone,
        encoder: FrequencyEncoder | None,
        wavelet: GuidanceWavelet = "haar",
        semantic: bool = True,
        border: Border = "inside",
        scope: Scope = "image",
    ) -> None:
        super().__init__()
        channels = level_channels(backbone)
        if encoder is not None and encoder.channels != channels:
            raise ModelError(
                f"the encoder gates {encoder.channels[0]} + {encoder.channels[1]} channels, but {backbone.name} has "
                f"{channels[0]} + {channels[1]}; make it with these widths"
            )
        self.backbone = backbone
        self.encoder = encoder
        self.wavelet = check_guidance_wavelet(wavelet)
        self.semantic = semantic
        self.border = border
        self.scope = scope
        self.width = sum(channels) + (channels[0] if semantic else 0)

    def forward(self, images: Tensor) -> Tensor:
        """Features (N, D, h, w) of images (N, 3, H, W) in [0, 1].

        Raises:
            DataError: the images are smaller than 16 x 16 pixels.
        """
        return self.features((images - self.backbone.mean) / self.backbone.std)

    def features(self, normalised_N3HW: Tensor) -> Tensor:
        """Features (N, D, h, w) of images that are normalised already."""
        levels = feature_levels(self.backbone, normalised_N3HW)
        gates = None
        if self.encoder is not None:
            height, width = levels.layer2.shape[2:]
            gates = self.encoder(frequency_guidance(normalised_N3HW, self.wavelet, (height, width), self.scope))
        features = gated_features(*levels, gates, self.border)
        if not self.semantic:
            return features
        extremes = Extremes.of(saliency(levels.layer2)).scoped(self.scope)
        return torch.cat([features, semantic_block(levels.layer2, self.border, extremes)], dim=1)
