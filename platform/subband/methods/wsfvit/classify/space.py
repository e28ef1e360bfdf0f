"""What a sweep of WSF-ViT as a classifier explores.

Search (default): learning rate, variant, input size with a window that divides it, heads of the channel attention, stochastic depth
and the wavelet of the stem are proposed by Optuna; poor trials stop after a ninth and after a third of their epochs. Every trial is
a training: its cost is that of `jobs/train.py wsfvit` with the same recipe. The embedded data are trained by the recipe `small`
where no other is named.

    python jobs/sweep_wsfvit.py --data imagefolder:/data/parts --recipe imagenet-p0 --batch 128 --lr 5e-4 --trials 24
    python jobs/sweep_wsfvit.py --preset wavelets --epochs 9
    python jobs/sweep_wsfvit.py --search pbt --trials 4 --epochs 20
    python jobs/sweep_wsfvit.py --variant p0 --image-size 64 --epochs 9 --trials 6   # minutes on 2 cores

Nothing of this is published: the authors describe one setting for each variant (specification 9.1), which the recipes hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from subband.spaces import Point, Preset, Space, grid

if TYPE_CHECKING:
    import optuna

VARIANTS = ("p0", "p1", "p2", "n")
# Windows that divide the last map, which has a 32nd of the image's cells a side; published are 7 at 224 and 8 at 256 pixels.
WINDOWS = {64: (2, 1), 96: (3, 1), 128: (4, 2), 224: (7,), 256: (8, 4)}
HEADS = ("2-4-8-16", "4-8-16-32")
WAVELETS = ("haar", "db2", "sym4", "bior2.2")
DROP_PATHS = (0.0, 0.1, 0.2)
RATES = (2e-4, 5e-4, 1e-3, 2e-3)


def suggest(trial: optuna.Trial) -> Point:
    """One configuration. A window that the user gives holds for every size; else those are searched that fit the size drawn."""
    point: Point = {
        "lr": trial.suggest_float("lr", 1e-4, 4e-3, log=True),
        "variant": trial.suggest_categorical("variant", list(VARIANTS)),
        "image_size": trial.suggest_categorical("image_size", [64, 96, 128]),
        "channel_heads": trial.suggest_categorical("channel_heads", list(HEADS)),
        "drop_path": trial.suggest_float("drop_path", 0.0, 0.3, step=0.05),
        "wavelet": trial.suggest_categorical("wavelet", list(WAVELETS)),
    }
    window = trial.suggest_categorical("window", [0])
    size = point["image_size"]
    if window == 0 and size in WINDOWS:
        window = trial.suggest_categorical(f"window at {size}", list(WINDOWS[size]))
    return {**point, "window": window}


PRESETS = {
    "wavelets": grid(f"{len(WAVELETS)} points: the fixed stem of {', '.join(WAVELETS)}.", wavelet=WAVELETS),
    "windows": Preset(
        "Sizes of 64, 96 and 128 pixels, each with every window that divides it.",
        (
            lambda records, objective: [
                {"image_size": size, "window": window} for size in (64, 96, 128) for window in WINDOWS[size]
            ],
        ),
    ),
    "heads": grid(
        "2 points: the channel attention's heads of the earlier and of the last published version.", channel_heads=HEADS
    ),
    "drop_path": grid("3 points: stochastic depth of 0, 0.1 and 0.2.", drop_path=DROP_PATHS),
    "variants": grid("4 points: P0, P1, P2 and N.", variant=VARIANTS),
    "lr": grid("4 points: rates from 2e-4 to 2e-3.", lr=RATES),
}

SPACE = Space(
    method="wsfvit",
    suggest=suggest,
    presets=PRESETS,
    about="lr, variant, image_size, window, channel_heads, drop_path, wavelet",
    smoke={
        "variant": "p0",
        "image_size": 32,
        "batch": 8,
        "epochs": 2,
        "warmup_epochs": 1,
        "validate_from": 1,
    },
    embedded_recipe="small",
)
