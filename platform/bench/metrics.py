"""How much faster one call of `pixel_metrics` is than the straightforward way, with equal values.

    python platform/bench/metrics.py
    python platform/bench/metrics.py --images 170 --json metrics.json

The straightforward way is scikit-learn's roc_auc_score and average_precision_score plus the official AU-PRO (one
argsort of all pixels, the full curve, the trapezoid rule) for each limit. Both run in this process on the same made
maps, alternately; the fastest of the repeats counts. Expect a ratio of about 20 at the default size.

Nearly all the time of one call is numpy's sort of the negatives. On AMD processors with AVX-512 numpy 2.4 picks a slow
variant: `NPY_DISABLE_CPU_FEATURES=X86_V4` in the environment made one call four times as fast there (ratio 90).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

from subband.metrics import label_regions, pixel_metrics

LIMITS = (0.3, 0.05)
TOLERANCE = 1e-9


def made_maps(images: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Smooth float32 maps (N, H, W) that answer to elliptic defects in half of the images, and their masks."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    masks = np.zeros((images, size, size), bool)
    for mask in masks[: (images + 1) // 2]:
        for _ in range(rng.integers(1, 4)):
            (cy, cx), (ry, rx) = rng.uniform(0.15, 0.85, 2), rng.uniform(0.02, 0.1, 2)
            mask |= ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
    noise = ndimage.gaussian_filter(rng.normal(size=masks.shape), (0, size / 40, size / 40))
    defects = ndimage.gaussian_filter(masks.astype(float), (0, size / 60, size / 60))
    return (noise / noise.std() + 2.5 * defects).astype(np.float32), masks


def official_au_pro(maps: np.ndarray, masks: np.ndarray, limit: float) -> float:
    """The definition, step by step: sort every pixel, build the curve, integrate it up to the limit."""
    labels, count = zip(*(ndimage.label(mask, np.ones((3, 3))) for mask in masks), strict=True)
    weight = np.zeros(maps.shape)
    for image, (label, regions) in enumerate(zip(labels, count, strict=True)):
        for region in range(1, regions + 1):
            weight[image][label == region] = 1.0 / (label == region).sum()
    order = np.argsort(-maps.ravel(), kind="stable")
    scores = maps.ravel()[order]
    negative = ~masks.ravel()[order]
    fpr = np.cumsum(negative) / negative.sum()
    pro = np.cumsum(weight.ravel()[order]) / sum(count)
    last_of_ties = np.append(np.diff(scores) != 0, True)
    fpr = np.concatenate([[0.0], fpr[last_of_ties], [1.0]])
    pro = np.concatenate([[0.0], pro[last_of_ties], [1.0]])
    inside = int(np.searchsorted(fpr, limit, side="right"))
    x, y = fpr[:inside], pro[:inside]
    if inside < len(fpr):
        share = (limit - fpr[inside - 1]) / (fpr[inside] - fpr[inside - 1])
        x = np.append(x, limit)
        y = np.append(y, pro[inside - 1] + share * (pro[inside] - pro[inside - 1]))
    return float(np.trapezoid(y, x)) / limit


def straightforward(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    """The same numbers from scikit-learn and the definition, each sorting for itself."""
    return {
        "pixel_auroc": float(roc_auc_score(masks.ravel(), maps.ravel())),
        "pixel_ap": float(average_precision_score(masks.ravel(), maps.ravel())),
        **{f"au_pro_{limit:g}": official_au_pro(maps, masks, limit) for limit in LIMITS},
    }


def seconds(call: Callable[[], dict[str, float]]) -> tuple[float, dict[str, float]]:
    """Wall time of one call, and its result."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def measure(images: int, size: int, repeats: int) -> dict[str, Any]:
    """Time both ways on the same maps; raises SystemExit if their values differ."""
    maps, masks = made_maps(images, size)
    label_s, regions = min((seconds_of_labels(masks) for _ in range(repeats)), key=lambda timed: timed[0])
    ours_s, direct_s = [], []
    for _ in range(repeats):
        taken, ours = seconds(lambda: pixel_metrics(maps, masks, LIMITS, regions))
        ours_s.append(taken)
        taken, direct = seconds(lambda: straightforward(maps, masks))
        direct_s.append(taken)
    differences = {name: abs(ours[name] - value) for name, value in direct.items()}
    if max(differences.values()) > TOLERANCE:
        raise SystemExit(f"values differ by more than {TOLERANCE:g}: {differences}")
    return {
        "images": images,
        "size": size,
        "regions": len(regions),
        "pixel_metrics_s": min(ours_s),
        "straightforward_s": min(direct_s),
        "label_regions_s": label_s,
        "ratio": min(direct_s) / min(ours_s),
        "values": ours,
        "straightforward_values": direct,
        "largest_difference": max(differences.values()),
    }


def seconds_of_labels(masks: np.ndarray) -> tuple[float, Any]:
    """Wall time of labelling the regions, which a sweep does once per category, and the regions."""
    start = time.perf_counter()
    regions = label_regions(masks)
    return time.perf_counter() - start, regions


def main(arguments: list[str] | None = None) -> None:
    """Parse the flags, measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument(
        "--images", type=int, default=52, help="test images of the made category (default: %(default)s)"
    )
    parser.add_argument("--size", type=int, default=224, help="height and width in pixels (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest of so many counts (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the result there as well")
    flags = parser.parse_args(arguments)
    result = measure(flags.images, flags.size, flags.repeats)
    print(f"{flags.images} maps of {flags.size} x {flags.size}, {result['regions']} defect regions, made data")
    print(f"{'metric':<12} {'pixel_metrics':>16} {'straightforward':>16}")
    for name, value in result["values"].items():
        direct = result["straightforward_values"].get(name)
        print(f"{name:<12} {value:>16.12f} {'(not computed)' if direct is None else format(direct, '.12f'):>16}")
    print(f"largest difference {result['largest_difference']:.1e}")
    print(f"one call {result['pixel_metrics_s']:.3f} s, straightforward {result['straightforward_s']:.3f} s")
    print(f"labelling the regions, once per category: {result['label_regions_s']:.3f} s")
    print(f"ratio {result['ratio']:.1f}")
    if flags.json:
        flags.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
