"""What a WSF-ViT sweep explores: `subband.methods.wsfvit.classify.space`."""

from subband.methods.wsfvit.classify.space import PRESETS, SPACE, WINDOWS, suggest

__all__ = ["PRESETS", "SPACE", "WINDOWS", "suggest"]
