"""A realistic sweep for the tests of this folder: WE-PaDiM-like params, three categories, plausible numbers."""

from __future__ import annotations

import itertools
import random

from subband.tracking import DatasetInfo, SweepInfo
from subband.trials import TrialRecord

CATEGORIES = ("bolts", "leather", "weave")
METRICS = ("image_auroc", "image_ap", "image_f1max", "pixel_auroc", "pixel_ap", "pixel_f1max", "aupro_30", "aupro_5")
SEARCHED = ("wavelet", "level", "subbands", "sigma")


def info(**changes: object) -> SweepInfo:
    fields: dict[str, object] = {
        "experiment": "wepadim synthetic",
        "run_name": "wepadim on synthetic, 12 trials",
        "method": "wepadim",
        "selection": "holdout",
        "objectives": {"image_auroc": "max", "pixel_auroc": "max"},
        "seed": 0,
        "weights": "random:0",
        "dataset": DatasetInfo(
            name="synthetic", digest="5f3a" * 16, source="synthetic:?train=16&seed=0", categories=CATEGORIES
        ),
        "settings": {"trials": 12, "space": "wepadim", "preset": None, "budget": {"seconds": 60.0}},
    }
    return SweepInfo(**{**fields, **changes})


def trials(count: int = 12, seed: int = 0, **changes: object) -> list[TrialRecord]:
    """Complete trials, all different; ``changes`` replaces fields of each."""
    grid = list(itertools.product(("haar", "db4", "sym4"), (1, 2), ("LL", "LL+LH+HL", "LL+LH+HL+HH"), (2.0, 4.0)))
    random.Random(1).shuffle(grid)
    return [trial(number, *grid[number % len(grid)], seed=seed, **changes) for number in range(count)]


def trial(
    number: int, wavelet: str, level: int, subbands: str, sigma: float, seed: int = 0, **changes: object
) -> TrialRecord:
    draw = random.Random(1000 * seed + number)
    quality = {"haar": 0.93, "db4": 0.9, "sym4": 0.91}[wavelet] - 0.02 * (level - 1) - 0.004 * abs(sigma - 4)
    categories = {
        category: {
            part: {metric: min(1.0, quality - 0.03 * i + draw.gauss(0, 0.02)) for i, metric in enumerate(METRICS)}
            for part in ("choose", "report")
        }
        for category in CATEGORIES
    }
    means = {
        part: {metric: sum(categories[c][part][metric] for c in CATEGORIES) / len(CATEGORIES) for metric in METRICS}
        for part in ("choose", "report")
    }
    fields: dict[str, object] = {
        "trial_id": f"t{number:05d}",
        "number": number,
        "params": {
            "backbone": "resnet18",
            "weights": "random:0",
            "layers": ("layer1", "layer2", "layer3"),
            "wavelet": wavelet,
            "level": level,
            "subbands": subbands,
            "sigma": sigma,
            "cov_reg": 0.01,
            "mode": "corrected",
            "image_size": 224,
            "seed": seed,
        },
        "searched": SEARCHED,
        "status": "complete",
        "choose": means["choose"],
        "report": means["report"],
        "categories": categories,
        "timings": {"backbone": 0.8, "wavelet": 0.1, "gram": 0.2, "score": 0.05, "stages": 1.15, "trial": 1.2},
    }
    return TrialRecord(**{**fields, **changes})
