"""A tiny video model, and sequences of its size."""

import numpy as np

from subband.data import open_dataset
from subband.methods.wsfvit.video.params import WSFViTVideoParams

TINY = {
    "image_size": 32,
    "frames_in": 4,
    "frames_out": 4,
    "frame_channels": 8,
    "translator_channels": 64,
    "frame_layers": 2,
    "batch": 4,
    "epochs": 2,
    "lr": 3e-3,
}
DATA = "moving-digits:?train=8&validation=3&test=5&length=8&size=32"


def tiny(**values) -> WSFViTVideoParams:
    return WSFViTVideoParams(**{**TINY, **values})


def sequences():
    return open_dataset(DATA)


def noise(frames=4, side=32, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, side, side), np.uint8)
