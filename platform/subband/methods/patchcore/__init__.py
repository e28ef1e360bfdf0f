"""PatchCore: a memory bank of locally averaged convolutional features, the strong baseline of the memory-bank family."""
