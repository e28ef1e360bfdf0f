"""What a WSF-ViT sweep explores: `subband.methods.wsfvit.space`."""

from subband.methods.wsfvit.space import PRESETS, SPACE, WINDOWS, suggest

__all__ = ["PRESETS", "SPACE", "WINDOWS", "suggest"]
