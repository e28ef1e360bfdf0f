"""WEDGE-Net: a memory bank of gated convolutional features, with a published and a corrected mode."""
