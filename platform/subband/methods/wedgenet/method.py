"""WEDGE-Net as the platform knows it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from subband.methods.memorybank.embedding import Embedding
from subband.methods.memorybank.method import MemoryBankMethod
from subband.methods.wedgenet.encoder import FrequencyEncoder, make_encoder
from subband.methods.wedgenet.guidance import frequency_map
from subband.methods.wedgenet.network import WedgeNetwork, semantic_map
from subband.methods.wedgenet.params import WedgeNetParams
from subband.methods.wedgenet.stages import embedding
from subband.nn.backbones import Backbone
from subband.nn.levels import feature_levels


class WedgeEmbedder(nn.Module):
    """Images to vectors, as the stages compute them for images that are scored.

    Args:
        params: of the method.
        backbone: frozen network.
        encoder: the frequency encoder, or None without gates.
    """

    def __init__(self, params: WedgeNetParams, backbone: Backbone, encoder: FrequencyEncoder | None) -> None:
        super().__init__()
        self.network = WedgeNetwork(backbone, encoder, params.wavelet, params.semantic, params.border)

    def forward(self, images: Tensor) -> Tensor:
        """Vectors (N, P, D) of images (N, 3, S, S) in [0, 1]."""
        features: Tensor = self.network(images)
        return features.flatten(2).transpose(1, 2)

    def explain(self, images: Tensor) -> Mapping[str, Tensor]:
        """The display maps of the published figures, each image scaled by itself.

        ``frequency`` (N, S, S) is the guidance; ``semantic`` (N, h, w) comes from squares: it is not the mask that weights
        the block.
        """
        backbone = self.network.backbone
        normalised = (images - backbone.mean) / backbone.std
        return {
            "frequency": frequency_map(normalised, self.network.wavelet),
            "semantic": semantic_map(feature_levels(backbone, normalised).layer2),
        }


class WedgeNet(MemoryBankMethod[WedgeNetParams]):
    """Memory bank of ResNet-50 features, gated by a random encoder of a wavelet map of the image, with a semantic block."""

    name = "wedgenet"
    params_type = WedgeNetParams

    def embedding(self, params: WedgeNetParams) -> Embedding:
        """The stages from images to vectors."""
        return embedding(params)

    def keeps_one(self, params: WedgeNetParams) -> bool:
        """As the published code does."""
        return params.mode == "reference"

    def as_scored(self, params: WedgeNetParams) -> WedgeNetParams:
        """Scored images are scaled by themselves, whatever scaled the bank."""
        return params.model_copy(update={"scope": "image"})

    def embedder(self, params: WedgeNetParams, backbone: Backbone, drawn: bool = True) -> nn.Module:
        """The network from images to vectors."""
        layer2, layer3 = (tap.channels for tap in params.levels())
        if not params.gate:
            return WedgeEmbedder(params, backbone, None)
        if not drawn:
            return WedgeEmbedder(params, backbone, FrequencyEncoder(layer2, layer3))
        encoder = make_encoder(params.encoder_seed, layer2, layer3, params.encoder_init == "published")
        return WedgeEmbedder(params, backbone, encoder)


WEDGENET = WedgeNet()
