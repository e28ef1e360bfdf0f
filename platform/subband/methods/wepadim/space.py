"""What a WE-PaDiM sweep explores.

Search (default): wavelet, level, subband set, sigma and cov_reg are proposed by Optuna; the backbone too when several are
given, since each costs a pass over all images. On 2 CPU cores one new (wavelet, level) of a category with 64 training images
costs about a second, every other change some tens of milliseconds, the backbone pass about 30 ms an image (resnet18).

    python jobs/sweep_wepadim.py --data mvtec:/data/MVTec --trials 200
    python jobs/sweep_wepadim.py --data mvtec:/data/MVTec --preset phase1 --mode reference
    ray job submit --working-dir . -- python jobs/sweep_wepadim.py --preset comprehensive

The presets are the grids of the published scripts (names and sizes as there). They give points only: `--mode reference` runs them
as published, the default `--mode corrected` with the defects mended.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pywt

from subband.nn.wavelets import SUBBANDS
from subband.spaces import Point, Preset, Space, grid, product
from subband.trials import TrialRecord
from subband.trials.ranking import complete_with

if TYPE_CHECKING:
    import optuna

WAVELETS = ("haar", "db2", "db4", "sym3", "sym4", "coif1", "coif2", "bior2.2")
EVERY_SUBSET = tuple("+".join(names) for size in range(1, 5) for names in combinations(SUBBANDS, size))
ALL = "LL+LH+HL+HH"
LONGEST_FOR_TWO_LEVELS = 8


def suggest(trial: optuna.Trial) -> Point:
    """One configuration. A second level is tried with short filters only: with long ones it is hardly coarser than the first."""
    wavelet = trial.suggest_categorical("wavelet", list(WAVELETS))
    point: Point = {"wavelet": wavelet}
    short = pywt.Wavelet(wavelet).dec_len <= LONGEST_FOR_TWO_LEVELS
    point["level"] = trial.suggest_int("level", 1, 2) if short else 1
    point["subbands"] = trial.suggest_categorical("subbands", list(EVERY_SUBSET))
    point["sigma"] = trial.suggest_float("sigma", 1.5, 8.0, step=0.5)
    point["cov_reg"] = trial.suggest_float("cov_reg", 1e-4, 1.0, log=True)
    return point


# The phase 2 table of the published code: one operating point per backbone and target (not per data set).
_IMAGE_TARGET = {
    "efficientnet_b0": ("sym4", 1, 2.0, 0.1),
    "efficientnet_b1": ("sym4", 1, 2.0, 0.1),
    "efficientnet_b2": ("haar", 1, 4.0, 0.1),
    "efficientnet_b3": ("haar", 1, 4.0, 0.01),
    "efficientnet_b4": ("sym4", 1, 2.0, 0.01),
    "efficientnet_b5": ("haar", 1, 4.0, 0.001),
    "efficientnet_b6": ("haar", 1, 4.0, 0.01),
    "resnet18": ("sym4", 2, 2.0, 0.01),
}
_PIXEL_TARGET = {
    **{f"efficientnet_b{n}": ("haar", 1, 2.0, 0.1) for n in (0, 1, 2, 3, 4, 6)},
    "efficientnet_b5": ("haar", 2, 4.0, 0.1),
    "resnet18": ("haar", 1, 2.0, 0.001),
}
_PHASE2_BACKBONES = ("efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b6", "resnet18")


def _operating_point(backbone: str, row: tuple[str, int, float, float]) -> Point:
    wavelet, level, sigma, cov_reg = row
    return {"backbone": backbone, "wavelet": wavelet, "level": level, "sigma": sigma, "cov_reg": cov_reg}


def _phase2(records: Sequence[TrialRecord], objective: str) -> list[Point]:
    tables = (_IMAGE_TARGET, _PIXEL_TARGET)
    return [{**_operating_point(b, table[b]), "subbands": "LL+LH+HL"} for b in _PHASE2_BACKBONES for table in tables]


def _winner(records: Sequence[TrialRecord], objective: str, *names: str) -> Point:
    best = complete_with(records, objective)[0]
    return {name: best.params[name] for name in names}


def _follow(fixed: Sequence[str], **axes: Sequence[Any]) -> Any:
    """A round that keeps the best trial's values of `fixed` and goes through the axes."""

    def points(records: Sequence[TrialRecord], objective: str) -> list[Point]:
        kept = _winner(records, objective, *fixed)
        return [{**kept, **point} for point in product(**axes)]

    return points


_PROBE_AXES: dict[str, Sequence[Any]] = {
    "wavelet": ("haar", "db2", "db4", "sym3", "sym4", "coif2"),
    "level": (1, 2),
    "subbands": ("LL", "LL+LH", "LL+HL", "LL+LH+HL", ALL, "LL+HL+HH"),
    "sigma": (1.5, 2.0, 3.0, 4.0, 6.0),
    "cov_reg": (0.001, 0.01, 0.05, 0.1),
}


def _probe_sample(records: Sequence[TrialRecord], objective: str) -> list[Point]:
    return random.Random(1024).sample(product(**_PROBE_AXES), 10)


def _probe_neighbours(records: Sequence[TrialRecord], objective: str) -> list[Point]:
    """Change one param at a time about the two best by image and the two best by pixel AUROC."""
    anchors: list[Point] = []
    for metric in ("image_auroc", "pixel_auroc"):
        for record in complete_with(records, metric)[:2]:
            anchor = {name: record.params[name] for name in _PROBE_AXES}
            if anchor not in anchors:
                anchors.append(anchor)
    done = [{name: record.params[name] for name in _PROBE_AXES} for record in records]
    points: list[Point] = []
    for anchor in anchors:
        for name, values in _PROBE_AXES.items():
            for value in values:
                point = {**anchor, name: value}
                if point not in done and point not in points:
                    points.append(point)
    return points


PRESETS = {
    "demo": grid(
        "48 points: {haar, sym4} x {1, 2} x 3 subband sets x sigma {2, 4} x cov_reg {0.01, 0.1}; under a minute on 2 cores.",
        wavelet=("haar", "sym4"),
        level=(1, 2),
        subbands=("LL", "LL+LH+HL", ALL),
        sigma=(2.0, 4.0),
        cov_reg=(0.01, 0.1),
    ),
    "full": grid(
        "32 points, the published run_full_grid_search.",
        published=True,
        wavelet=("haar", "sym4"),
        level=(1, 2),
        subbands=("LL+LH+HL", ALL),
        sigma=(2.0, 4.0),
        cov_reg=(0.01, 0.1),
    ),
    "comprehensive": grid(
        "192 points, the published comprehensive grid.",
        published=True,
        wavelet=("haar", "db2", "db4", "sym4"),
        level=(1, 2),
        subbands=("LL", "LL+LH", "LL+LH+HL", ALL),
        sigma=(2.0, 4.0, 6.0),
        cov_reg=(0.01, 0.001),
    ),
    "phase1": grid(
        "216 points, the published phase 1.",
        published=True,
        wavelet=("haar", "db4", "sym4"),
        level=(1, 2),
        subbands=("LL+LH+HL", "LL+LH+HH", "LL+HL+HH", ALL),
        sigma=(2.0, 4.0, 6.0),
        cov_reg=(0.1, 0.01, 0.001),
    ),
    "phase2": Preset("10 points: 5 backbones x 2 targets, the published operating points.", (_phase2,), published=True),
    "ablation": grid("15 points: every non-empty subband set about the base params.", subbands=EVERY_SUBSET),
    "ablation_image": grid(
        "15 points: the published ablation about resnet18's image-optimised point (other backbones: give theirs by flags).",
        published=True,
        base=_operating_point("resnet18", _IMAGE_TARGET["resnet18"]),
        subbands=EVERY_SUBSET,
    ),
    "ablation_pixel": grid(
        "15 points: the published ablation about resnet18's pixel-optimised point.",
        published=True,
        base=_operating_point("resnet18", _PIXEL_TARGET["resnet18"]),
        subbands=EVERY_SUBSET,
    ),
    "sequential": Preset(
        "8 + 9 + 135 points in three rounds that each follow the winner of the one before.",
        (
            lambda records, objective: product(
                wavelet=("haar", "db4", "sym4", "coif1"),
                level=(1, 2),
                subbands=("LL+LH+HL",),
                sigma=(4.0,),
                cov_reg=(0.01,),
            ),
            _follow(("wavelet", "level", "subbands"), sigma=(2.0, 4.0, 8.0), cov_reg=(0.1, 0.01, 0.001)),
            _follow(("wavelet", "level"), subbands=EVERY_SUBSET, sigma=(2.0, 4.0, 8.0), cov_reg=(0.1, 0.01, 0.001)),
        ),
    ),
    "probe": Preset(
        "10 random points of 1440, then one change at a time about the best four (at most 82 in all).",
        (_probe_sample, _probe_neighbours),
    ),
    "main_comparison": Preset(
        "2 points: the published main comparison.",
        (
            lambda records, objective: [
                {**_operating_point("efficientnet_b0", ("db4", 1, 4.0, 0.01)), "subbands": "LL+LH+HL"},
                {**_operating_point("resnet18", ("haar", 1, 4.0, 0.01)), "subbands": "LL+LH+HL"},
            ],
        ),
        published=True,
    ),
}

SPACE = Space(
    method="wepadim",
    suggest=suggest,
    presets=PRESETS,
    about="wavelet, level, subband set, sigma and cov_reg; give several backbones to search them too",
    smoke={"image_size": 64, "grid": 8},
)
