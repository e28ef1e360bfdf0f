"""WSF-ViT: a vision transformer behind a fixed wavelet stem, for classes, objects and coming frames.

Importing this package registers the classifiers with timm.
"""

from subband.methods.wsfvit import registration as _registration  # noqa: F401
from subband.methods.wsfvit.features import WSFViTFeatures
from subband.methods.wsfvit.network import WSFViT

__all__ = ["WSFViT", "WSFViTFeatures"]
