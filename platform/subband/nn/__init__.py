"""Reusable torch parts: wavelet transforms, backbones, smoothing."""
