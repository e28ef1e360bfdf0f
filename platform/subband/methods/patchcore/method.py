"""PatchCore as the platform knows it."""

from __future__ import annotations

from torch import Tensor, nn

from subband.methods.memorybank.embedding import Embedding
from subband.methods.memorybank.method import MemoryBankMethod
from subband.methods.patchcore.params import PatchCoreParams
from subband.methods.patchcore.patches import averaged_features, patch_embedding
from subband.methods.patchcore.stages import embedding
from subband.nn.backbones import Backbone
from subband.nn.levels import distinct, feature_levels


class PatchEmbedder(nn.Module):
    """Images to vectors, as the stages compute them.

    Args:
        params: of the method.
        backbone: frozen network.
    """

    def __init__(self, params: PatchCoreParams, backbone: Backbone) -> None:
        super().__init__()
        self.params = params
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """Vectors (N, P, D) of images (N, 3, S, S) in [0, 1]."""
        levels = distinct(feature_levels(self.backbone, (images - self.backbone.mean) / self.backbone.std))
        if self.params.features == "averages":
            return averaged_features(levels).flatten(2).transpose(1, 2)
        return patch_embedding(levels, self.params.patch, self.params.pooled, self.params.target)


class PatchCore(MemoryBankMethod[PatchCoreParams]):
    """Memory bank of pooled ResNet neighbourhoods (Roth et al., Towards Total Recall in Industrial Anomaly Detection)."""

    name = "patchcore"
    params_type = PatchCoreParams

    def embedding(self, params: PatchCoreParams) -> Embedding:
        """The stages from images to vectors."""
        return embedding(params)

    def embedder(self, params: PatchCoreParams, backbone: Backbone, drawn: bool = True) -> nn.Module:
        """The network from images to vectors."""
        return PatchEmbedder(params, backbone)


PATCHCORE = PatchCore()
