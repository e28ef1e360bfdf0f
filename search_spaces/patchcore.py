"""What a PatchCore sweep explores: `subband.methods.patchcore.space`."""

from subband.methods.patchcore.space import PRESETS, SPACE, suggest

__all__ = ["PRESETS", "SPACE", "suggest"]
