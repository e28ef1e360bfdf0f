"""What a WEDGE-Net sweep explores: `subband.methods.wedgenet.space`."""

from subband.methods.wedgenet.space import PRESETS, SPACE, suggest

__all__ = ["PRESETS", "SPACE", "suggest"]
