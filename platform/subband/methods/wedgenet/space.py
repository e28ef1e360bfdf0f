"""What a WEDGE-Net sweep explores.

Search (default): ratio and sigma, whether the semantic block and the gates are on, the scope of scaling, and with gates the
wavelet and the encoder's seed. All of them share one backbone pass; all ratios and sigmas of a variant share one greedy
selection and one search of the bank.

    python jobs/sweep_wedgenet.py --data mvtec:/data/MVTec --objective image_auroc latency_ms
    python jobs/sweep_wedgenet.py --data mvtec:/data/MVTec --preset ratios --mode reference
    python jobs/sweep_wedgenet.py --data mvtec:/data/MVTec --preset controls

A ratio of 1 searches every training vector for every cell: seconds an image without a GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from subband.spaces import Point, Preset, Space, grid, product

if TYPE_CHECKING:
    import optuna

WAVELETS = ("haar", "bior2.2")
SEEDS = (0, 1, 2)


def suggest(trial: optuna.Trial) -> Point:
    """One configuration. Wavelet and encoder seed only matter where the gates are on, the scope where something is scaled."""
    point: Point = {
        "ratio": trial.suggest_float("ratio", 0.001, 0.1, log=True),
        "sigma": trial.suggest_float("sigma", 1.0, 8.0, step=0.5),
        "semantic": trial.suggest_categorical("semantic", [True, False]),
        "gate": trial.suggest_categorical("gate", [True, False]),
    }
    if point["gate"]:
        point["wavelet"] = trial.suggest_categorical("wavelet", list(WAVELETS))
        point["encoder_seed"] = trial.suggest_categorical("encoder_seed", list(SEEDS))
    if point["gate"] or point["semantic"]:
        point["scope"] = trial.suggest_categorical("scope", ["image", "batch"])
    return point


def _controls(**common: object) -> Preset:
    """Every claim about the frequency stream and the semantic block beside its control."""
    gated = product(
        gate=(True,), wavelet=WAVELETS, encoder_seed=SEEDS, scope=("image", "batch"), semantic=(True, False)
    )
    plain = product(gate=(False,), scope=("image", "batch"), semantic=(True, False))
    # Without gates and without the semantic block nothing is scaled, so the scope does not matter.
    plain = [point for point in plain if point["semantic"] or point["scope"] == "image"]
    return Preset(
        "27 points: gates on (2 wavelets x 3 seeds) or off, semantic block on or off, scaling by image or by batch.",
        (lambda records, objective: [*gated, *plain],),
        common,
    )


PRESETS = {
    "demo": grid(
        "24 points: 3 ratios x 2 sigmas x 2 wavelets x semantic on and off; a few minutes on 2 cores.",
        ratio=(0.1, 0.01, 0.001),
        sigma=(2.0, 4.0),
        wavelet=WAVELETS,
        semantic=(True, False),
    ),
    "ratios": grid("4 points: the published coreset ratios.", published=True, ratio=(1.0, 0.1, 0.01, 0.001)),
    "full": grid(
        "96 points: 4 ratios x 3 sigmas x 2 wavelets x semantic on and off x 2 encoder seeds, one backbone pass in all.",
        ratio=(1.0, 0.1, 0.01, 0.001),
        sigma=(2.0, 4.0, 8.0),
        wavelet=WAVELETS,
        semantic=(True, False),
        encoder_seed=(0, 1),
    ),
    "controls": _controls(),
}

SPACE = Space(
    method="wedgenet",
    suggest=suggest,
    presets=PRESETS,
    about="ratio, sigma, semantic block, gates, scope, and with gates wavelet and encoder seed",
    smoke={"image_size": 64, "ratio": 0.1},
)
