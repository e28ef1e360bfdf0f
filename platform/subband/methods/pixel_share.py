"""Limits of the share of good pixels that a model may call defective; they stand here because flags show them without torch."""

PIXEL_FPR = 0.001
HIGHEST_PIXEL_FPR = 0.01
