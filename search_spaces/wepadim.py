"""What a WE-PaDiM sweep explores: `subband.methods.wepadim.space`."""

from subband.methods.wepadim.space import PRESETS, SPACE, suggest

__all__ = ["PRESETS", "SPACE", "suggest"]
