"""What a WPFormer sweep explores: `subband.methods.wpformer.space`."""

from subband.methods.wpformer.space import PRESETS, SPACE, suggest

__all__ = ["PRESETS", "SPACE", "suggest"]
