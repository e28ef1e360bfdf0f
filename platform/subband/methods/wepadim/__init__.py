"""WE-PaDiM: wavelet-enhanced patch distribution modelling (arXiv 2508.16034)."""

from subband.methods.wepadim.method import WEPADIM
from subband.methods.wepadim.params import WEPaDiMParams

__all__ = ["WEPADIM", "WEPaDiMParams"]
