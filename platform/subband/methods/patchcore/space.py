"""What a PatchCore sweep explores.

Search (default): ratio, sigma, re-weighting, and the width of the vectors. All ratios and sigmas of a width share one
backbone pass, one greedy selection and one search of the bank.

    python jobs/sweep_patchcore.py --data mvtec:/data/MVTec --objective image_auroc bank_mb
    python jobs/sweep_patchcore.py --data mvtec:/data/MVTec --preset ratios --mode reference

A ratio of 1 searches every training vector for every cell: seconds an image without a GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from subband.spaces import Point, Space, grid

if TYPE_CHECKING:
    import optuna


def suggest(trial: optuna.Trial) -> Point:
    """One configuration."""
    point: Point = {
        "ratio": trial.suggest_float("ratio", 0.001, 0.1, log=True),
        "sigma": trial.suggest_float("sigma", 1.0, 8.0, step=0.5),
        "reweight": trial.suggest_categorical("reweight", [0, 9]),
        "target": trial.suggest_categorical("target", [384, 1024]),
    }
    if point["reweight"]:
        point["distance"] = "euclidean"  # of which the paper's weights are made; mode=reference squares
    return point


PRESETS = {
    "demo": grid(
        "12 points: 3 ratios x 2 sigmas x re-weighting on and off; a few minutes on 2 cores.",
        ratio=(0.1, 0.01, 0.001),
        sigma=(2.0, 4.0),
        reweight=(0, 9),
        distance=("euclidean",),
    ),
    "ratios": grid("4 points: all vectors, 10 %, 1 % and 0.1 %.", ratio=(1.0, 0.1, 0.01, 0.001)),
    "backbones": grid(
        "4 points: the official vectors and plain averages, each of resnet50 (as WEDGE-Net has) and wide_resnet50_2.",
        published=True,
        backbone=("resnet50", "wide_resnet50_2"),
        features=("patches", "averages"),
    ),
}

SPACE = Space(
    method="patchcore",
    suggest=suggest,
    presets=PRESETS,
    about="ratio, sigma, re-weighting and the width of the vectors",
    smoke={"image_size": 64, "ratio": 0.1, "target": 256},
)
