"""Coreset: our exact greedy k-center beside a torch.cdist loop in full dimension, and beside anomalib's in PatchCore's projection.

- `python platform/bench/coreset.py`
- `python platform/bench/coreset.py --rows 4000 --picks 100`: quick; the targets are for the default size

Both sides run in this process on the same made features: clusters of different spread, as image features have. The loop computes
one row of distances a pick, which is the published WEDGE-Net code's way; it must give the same picks (where it does not, the two
first different ones must be a tie in float32). anomalib's KCenterGreedy gets the same projected features and we start at the row
that it drew; it is optional: `python -m pip install --target PEER anomalib`, then `PYTHONPATH=PEER` before the command.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TQDM_DISABLE", "1")  # anomalib's progress bar would fill the screen; read when tqdm is imported

import numpy as np
import torch
from sklearn.random_projection import SparseRandomProjection
from torch import Tensor

from subband.banks import GreedyKCenter, Rows, distances_to

TARGET_LOOP = 8.0
TARGET_ANOMALIB = 3.0
PROJECTION_EPS = 0.9  # anomalib's, and the later PatchCore ports'


def made_features(rows: int, width: int, clusters: int = 60, seed: int = 0) -> np.ndarray:
    """Float32 (rows, width): clusters of unequal size and spread, most of which lies in few directions."""
    rng = np.random.default_rng(seed)
    which = rng.choice(clusters, rows, p=rng.dirichlet(np.full(clusters, 2.0)))
    centres = (rng.normal(size=(clusters, width)) * 0.97 ** np.arange(width)).astype(np.float32)
    spread = rng.uniform(0.05, 0.6, clusters).astype(np.float32)
    features = rng.standard_normal((rows, width), np.float32)
    features *= (0.99 ** np.arange(width) + 0.02).astype(np.float32)
    features *= spread[which, None]
    features += centres[which]
    return features


def cdist_loop(features: Tensor, picks: int) -> list[int]:
    """Greedy k-center with one torch.cdist row an iteration, from row 0."""
    chosen = [0]
    nearest = torch.cdist(features, features[:1])[:, 0]
    for _ in range(picks - 1):
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, torch.cdist(features, features[chosen[-1:]])[:, 0])
    return chosen


def first_difference(features: np.ndarray, ours: np.ndarray, theirs: list[int]) -> tuple[int, float] | None:
    """Where two selections part, and by how much the two rows' distances differ there, relative; None if they are the same."""
    different = np.flatnonzero(ours != np.array(theirs))
    if not len(different):
        return None
    place = int(different[0])
    pair = np.array([ours[place], theirs[place]])
    both = np.concatenate([ours[:place], pair])
    distances = distances_to(Rows.of(features[both]), np.arange(place))[place:]
    return place, float(1 - distances.min() / distances.max())


def fastest(call: Callable[[], Any], repeats: int) -> tuple[float, float, Any]:
    """Wall time and processor time of the fastest of some calls, and its result."""
    runs = []
    for _ in range(repeats):
        wall, used = time.perf_counter(), time.process_time()
        result = call()
        runs.append((time.perf_counter() - wall, time.process_time() - used, result))
    return min(runs, key=lambda run: run[0])


def full_dimension(features: np.ndarray, picks: int, repeats: int) -> dict[str, Any]:
    """Ours beside the cdist loop; the fastest of our repeats counts, the loop runs once (it takes minutes)."""
    ours_s, ours_cpu, ours = fastest(lambda: GreedyKCenter(Rows.of(features)).extend(picks), repeats)
    loop_s, loop_cpu, loop = fastest(lambda: cdist_loop(torch.from_numpy(features), picks), 1)
    parting = first_difference(features, ours, loop)
    return {
        "ours_s": ours_s,
        "loop_s": loop_s,
        "ratio": loop_s / ours_s,
        "processor_ratio": loop_cpu / ours_cpu,
        "target": TARGET_LOOP,
        "identical": picks if parting is None else parting[0],
        "tie_at_parting": 0.0 if parting is None else parting[1],
        "radius": float(distances_to(Rows.of(features), ours).max()),
        "loop_radius": float(distances_to(Rows.of(features), loop).max()),
    }


class _Projected:
    """Stands where anomalib keeps its own random projection, and gives features that are projected already."""

    def __init__(self, features: Tensor) -> None:
        self.features = features

    def fit(self, _: Tensor) -> None:
        """Nothing to fit."""

    def transform(self, _: Tensor) -> Tensor:
        """The projected features."""
        return self.features


def projected(features: np.ndarray, ratio: float, repeats: int) -> dict[str, Any] | None:
    """Ours beside anomalib's on one projection; None without anomalib."""
    try:
        peer = importlib.import_module("anomalib.models.components.sampling")
    except ImportError as error:
        print(
            f"anomalib is not there ({error}); `pip install --target PEER anomalib` and PYTHONPATH=PEER add the comparison"
        )
        return None
    projection = SparseRandomProjection(eps=PROJECTION_EPS, random_state=0)
    small = np.ascontiguousarray(projection.fit_transform(features), np.float32)
    sampler = peer.KCenterGreedy(torch.from_numpy(features), ratio)
    sampler.model = _Projected(torch.from_numpy(small))

    def anomalib() -> list[int]:
        torch.manual_seed(0)
        found: list[int] = sampler.select_coreset_idxs()
        return found

    theirs_s, theirs_cpu, theirs = fastest(anomalib, repeats)
    rows = Rows.of(small)
    ours_s, ours_cpu, ours = fastest(lambda: GreedyKCenter(rows, start=theirs[0]).extend(len(theirs)), repeats)
    parting = first_difference(small, ours, theirs)
    return {
        "anomalib": importlib.import_module("anomalib").__version__,
        "dimensions": small.shape[1],
        "picks": len(theirs),
        "ours_s": ours_s,
        "anomalib_s": theirs_s,
        "ratio": theirs_s / ours_s,
        "processor_ratio": theirs_cpu / ours_cpu,
        "target": TARGET_ANOMALIB,
        "identical": len(theirs) if parting is None else parting[0],
        "tie_at_parting": 0.0 if parting is None else parting[1],
        "radius": float(distances_to(rows, ours).max()),
        "anomalib_radius": float(distances_to(rows, theirs).max()),
    }


def main() -> int:
    """Measure and print; returns 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=1536)
    parser.add_argument("--picks", type=int, default=400, help="in full dimension (default: %(default)s)")
    parser.add_argument("--ratio", type=float, default=0.1, help="in the projection (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=2, help="the fastest of so many counts (default: %(default)s)")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    features = made_features(arguments.rows, arguments.width)
    found = {"full": full_dimension(features, arguments.picks, arguments.repeats)}
    full = found["full"]
    print(
        f"{arguments.rows} x {arguments.width} float32, {arguments.picks} picks: ours {full['ours_s']:.2f} s, one torch.cdist row "
        f"a pick {full['loop_s']:.1f} s, ratio {full['ratio']:.1f} (target {TARGET_LOOP:g}; of processor time "
        f"{full['processor_ratio']:.1f}); first {full['identical']} picks "
        f"identical, relative distance difference where they part {full['tie_at_parting']:.1e}; covering radius "
        f"{full['radius']:.6f} and {full['loop_radius']:.6f}",
        flush=True,
    )
    beside = projected(features, arguments.ratio, arguments.repeats)
    if beside is not None:
        found["projected"] = beside
        print(
            f"projected to {beside['dimensions']}, {beside['picks']} picks: ours {beside['ours_s']:.2f} s, anomalib "
            f"{beside['anomalib']} {beside['anomalib_s']:.1f} s, ratio {beside['ratio']:.1f} (target {TARGET_ANOMALIB:g}; "
            f"of processor time {beside['processor_ratio']:.1f}); first {beside['identical']} picks identical, difference "
            f"where they part {beside['tie_at_parting']:.1e}; covering radius {beside['radius']:.6f} and "
            f"{beside['anomalib_radius']:.6f}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    same = all(figures["tie_at_parting"] < 1e-5 for figures in found.values())
    fast = all(figures["ratio"] >= figures["target"] for figures in found.values())
    return 0 if same and fast else 1


if __name__ == "__main__":
    sys.exit(main())
