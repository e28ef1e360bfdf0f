"""Sharing: what 64 configurations and the 216-point phase 1 grid cost, beside one configuration and beside a plain loop.

- all figures: `python platform/bench/sharing.py --data mvtec:/data/MVTec?categories=leather`
- embedded data: `python platform/bench/sharing.py`

Three ratios are measured in one process with one store that starts empty:

1. in-trial seconds of 64 configurations / those of the first one from an empty store (target: at most 3);
2. seconds of the plain loop over the 216 points / seconds of the shared sweep over them (target: at least 50). The plain loop is
   measured on one configuration per (wavelet, level) drawn by seed, from scratch, and scaled by 216 / 6 (`--oracle 216` runs all);
3. the same configurations' maps and metrics, compared (targets: maps 1e-4 relative, AUROC and AU-PRO 1e-6).
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]

from bench import oracle  # noqa: E402
from search_spaces.wepadim import SPACE  # noqa: E402
from subband.data import open_dataset  # noqa: E402
from subband.evaluation import CategoryBench  # noqa: E402
from subband.methods import make_params, staged_method  # noqa: E402
from subband.spaces import Point, product  # noqa: E402
from subband.stages import Store  # noqa: E402

SWEEP_64 = product(
    wavelet=("haar", "sym4"),
    level=(1, 2),
    subbands=("LL", "LL+LH+HL", "LL+HH", "LL+LH+HL+HH"),
    sigma=(2.0, 4.0),
    cov_reg=(0.01, 0.1),
)
METHOD = staged_method("wepadim")


def main() -> int:
    """Measure and print; returns 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data",
        default="synthetic:?categories=leather&train=64&test=52",
        help="dataset URI; its first category is used",
    )
    parser.add_argument("--weights", default="random:0")
    parser.add_argument("--oracle", type=int, default=6, help="configurations that the plain loop computes (6 to 216)")
    parser.add_argument("--threads", type=int, default=1, help="torch threads; a trial of a sweep has one")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    dataset = open_dataset(arguments.data)
    name = dataset.categories[0]
    category = dataset.category(name)
    print(
        f"{dataset.uri} {name}: {len(category.train)} training and {len(category.test)} test images, {arguments.threads} threads"
    )
    base = {"weights": arguments.weights, "placement": "resized"}  # the oracle knows the published placement
    figures: dict[str, Any] = {"data": dataset.uri, "threads": arguments.threads}

    with tempfile.TemporaryDirectory() as folder:
        seconds, computed = sweep(CategoryBench(category, "test", 0, Store(f"{folder}/a")), base, SWEEP_64)
        figures["single_seconds"], figures["sweep64_seconds"] = seconds[0], sum(seconds)
        figures["sweep64_over_single"] = sum(seconds) / seconds[0]
        figures["sweep64_computed"] = computed
        ratio = figures["sweep64_over_single"]
        print(
            f"64 configurations: {sum(seconds):.2f} s; the first alone: {seconds[0]:.2f} s; ratio {ratio:.2f} (target <= 3)"
        )
        print(f"  computed: {computed}")

        points = SPACE.preset("phase1").rounds[0]((), "image_auroc")
        bench = CategoryBench(category, "test", 0, Store(f"{folder}/b"))
        seconds, computed = sweep(bench, base, points)
        figures["phase1_seconds"] = sum(seconds)
        print(f"216 points of phase 1: {sum(seconds):.2f} s; computed: {computed}")

        chosen = _stratified(points, arguments.oracle)
        plain, worst = [], {"maps": 0.0, "image_auroc": 0.0, "pixel_auroc": 0.0, "au_pro_0.3": 0.0}
        for point in chosen:
            params = make_params(METHOD, {**base, **point})
            started = time.perf_counter()
            expected = oracle.evaluate(bench.split, bench.truth, params)
            plain.append(time.perf_counter() - started)
            ours, _ = bench.maps(METHOD, params)
            metrics = bench.evaluate(METHOD, params).report
            differences = {
                "maps": float(np.abs(ours - expected.maps).max() / np.abs(expected.maps).max()),
                "image_auroc": abs(metrics["image_auroc"] - expected.image_auroc),
                "pixel_auroc": abs(metrics["pixel_auroc"] - expected.pixel_auroc),
                "au_pro_0.3": abs(metrics["au_pro_0.3"] - expected.au_pro),
            }
            worst = {key: max(worst[key], value) for key, value in differences.items()}
            print(f"  plain: {plain[-1]:6.1f} s  D = {params.channels():5d}  {point}")
    scaled = float(np.mean(plain)) * len(points)
    figures |= {
        "plain_measured": len(plain),
        "plain_seconds_scaled": scaled,
        "phase1_ratio": scaled / figures["phase1_seconds"],
        "differences": worst,
    }
    print(f"plain loop: {sum(plain):.0f} s for {len(plain)} points, {scaled:.0f} s scaled to 216;", end=" ")
    print(f"ratio {figures['phase1_ratio']:.0f} (target >= 50)")
    print("greatest differences: " + ", ".join(f"{key} {value:.1e}" for key, value in worst.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))
    met = figures["sweep64_over_single"] <= 3 and figures["phase1_ratio"] >= 50
    met &= worst["maps"] <= 1e-4 and max(worst["image_auroc"], worst["pixel_auroc"], worst["au_pro_0.3"]) <= 1e-6
    print("targets met" if met else "A TARGET IS MISSED")
    return 0 if met else 1


def sweep(bench: CategoryBench, base: dict[str, Any], points: list[Point]) -> tuple[list[float], dict[str, int]]:
    """In-trial seconds of every point in order, and how often each stage was computed."""
    seconds = []
    for point in points:
        started = time.perf_counter()
        bench.evaluate(METHOD, make_params(METHOD, {**base, **point}))
        seconds.append(time.perf_counter() - started)
    return seconds, dict(bench.runner.computed)


def _stratified(points: list[Point], count: int) -> list[Point]:
    """Points drawn by seed, equally many of every (wavelet, level): the transform decides most of a configuration's cost."""
    groups: dict[tuple[Any, Any], list[Point]] = {}
    for point in points:
        groups.setdefault((point["wavelet"], point["level"]), []).append(point)
    each = max(1, count // len(groups))
    draw = random.Random(0)
    return [point for group in groups.values() for point in draw.sample(group, min(each, len(group)))]


if __name__ == "__main__":
    sys.exit(main())
