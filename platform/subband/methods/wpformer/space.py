"""What a WPFormer sweep explores.

Search (default): learning rate, channels (the width of the queries), wavelet attention and prototype attention on or off, and the
input size are proposed by Optuna; poor trials stop after a ninth and after a third of their epochs. Every trial is a training: its
cost is that of `jobs/train.py wpformer` with the same recipe. The embedded data are trained by the recipe `small` where no other
is named.

    python jobs/sweep_wpformer.py --data pairs:/data/cracks --recipe crackseg9k --trials 24
    python jobs/sweep_wpformer.py --data pairs:/data/cracks --recipe crackseg9k --preset ablation
    python jobs/sweep_wpformer.py --search pbt --trials 4 --epochs 40
    python jobs/sweep_wpformer.py --epochs 9 --image-size 64 96 --trials 6   # minutes on 2 cores

Population-based training (`--search pbt`) varies the learning rate alone: it changes on the way, the network cannot. The published
ablations (Yan et al., CVPR 2025) turn off one attention at a time about the published settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from subband.spaces import Point, Space, grid

if TYPE_CHECKING:
    import optuna

CHANNELS = (32, 64, 128)
SIZES = (128, 256, 384)
RATES = (1e-5, 4e-5, 8e-5, 2e-4, 5e-4)


def suggest(trial: optuna.Trial) -> Point:
    """One configuration. The rates reach from a fifth of the published ones to what small networks bear from random weights."""
    return {
        "lr": trial.suggest_float("lr", 1e-5, 1e-3, log=True),
        "channels": trial.suggest_categorical("channels", list(CHANNELS)),
        "wavelet": trial.suggest_categorical("wavelet", [True, False]),
        "prototypes": trial.suggest_categorical("prototypes", [True, False]),
        "image_size": trial.suggest_categorical("image_size", list(SIZES)),
    }


PRESETS = {
    "ablation": grid(
        "4 points: wavelet attention x prototype attention, each on and off.",
        wavelet=(True, False),
        prototypes=(True, False),
    ),
    "sizes": grid("3 points: the input at 128, 256 and 384 pixels.", image_size=SIZES),
    "channels": grid("3 points: queries of 32, 64 and 128 channels.", channels=CHANNELS),
    "lr": grid("5 points: rates from 1e-5 to 5e-4.", lr=RATES),
}

SPACE = Space(
    method="wpformer",
    suggest=suggest,
    presets=PRESETS,
    about="lr, channels, wavelet and prototype attention, image_size",
    smoke={
        "backbone": "pvt_v2_b0",
        "weights": "random:0",
        "channels": 16,
        "image_size": 64,
        "batch": 4,
        "epochs": 2,
        "validate_from": 1,
    },
    embedded_recipe="small",
)
