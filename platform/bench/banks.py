"""Banks: what a grid of WEDGE-Net costs beside one configuration, and the peak memory of fitting and scoring.

- all figures: `python platform/bench/banks.py --data mvtec:/data/MVTec?categories=leather`
- embedded data: `python platform/bench/banks.py`

Measured on one category, with one store that starts empty:

1. within one (wavelet, semantic, seed) variant: in-trial seconds of 9 points (3 ratios below 1, 3 sigmas) / those of the single
   configuration with the largest of these ratios, both from images (target: at most 1.3), and both from levels that are stored
   already, where the backbone's pass hides nothing;
2. backbone passes of the whole grid, 4 ratios x 3 sigmas x 2 wavelets x semantic on and off x 2 encoder seeds (target: 1; `--full`
   runs it with every vector as the largest bank, minutes on 2 cores; by default it leaves ratio 1 out);
3. peak resident memory, mapped files included, of fitting and scoring in a fresh process / bytes of the vectors that the variant
   must hold (target: 1.5), less what the process needs before it has read an image.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]

from subband.data import Category, open_dataset  # noqa: E402
from subband.evaluation import CategoryBench  # noqa: E402
from subband.methods import make_params, staged_method  # noqa: E402
from subband.methods.memorybank.embedding import LEVELS  # noqa: E402
from subband.methods.memorybank.stages import bank_chain  # noqa: E402
from subband.spaces import Point, product  # noqa: E402
from subband.stages import Store  # noqa: E402

METHOD = staged_method("wedgenet")
SHARING_TARGET, MEMORY_TARGET = 1.3, 1.5
RATIOS, SIGMAS = (0.1, 0.01, 0.001), (2.0, 4.0, 8.0)
_MEMORY = """
import json, resource, sys
sys.path[:0] = {paths!r}
import torch
torch.set_num_threads(2)
from subband.data import open_dataset
from subband.evaluation import CategoryBench
from subband.methods import staged_method, make_params
from subband.nn.backbones import Backbone
from subband.stages import Store
method = staged_method("wedgenet")
params = make_params(method, {values!r})
method.embedder(params, Backbone(params.backbone, params.weights))(torch.zeros(16, 3, params.image_size, params.image_size))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
dataset = open_dataset({uri!r})
bench = CategoryBench(dataset.category(dataset.categories[0]), "test", 0, Store({store!r}))
bench.evaluate(method, params)
method.fit(params, bench.runner)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
images = len(bench.split.fit) + len(bench.split.query)
held = images * params.grid_side() ** 2 * params.channels() * 4
print(json.dumps({{"before_gb": before * 1024 / 1e9, "peak_gb": after * 1024 / 1e9, "vectors_gb": held / 1e9}}))
"""


def main() -> int:
    """Measure and print; returns 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", default="synthetic:?categories=leather&train=64&test=52", help="the first category is used"
    )
    parser.add_argument("--weights", default="random:0")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--threads", type=int, default=1, help="torch threads; a trial of a sweep has one")
    parser.add_argument("--full", action="store_true", help="the whole grid with ratio 1")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    dataset = open_dataset(arguments.data)
    category = dataset.category(dataset.categories[0])
    print(
        f"{dataset.uri} {category.name}: {len(category.train)} training and {len(category.test)} test images, "
        f"{arguments.backbone} {arguments.weights}, {arguments.threads} threads"
    )
    base = {"weights": arguments.weights, "backbone": arguments.backbone}
    figures: dict[str, Any] = {"data": dataset.uri, "threads": arguments.threads}
    with tempfile.TemporaryDirectory() as folder:
        figures |= sharing(category, base, Path(folder))
        figures |= passes(category, base, (1.0, *RATIOS) if arguments.full else RATIOS, Path(folder) / "grid")
        values = {**base, "ratio": 0.01}
        code = _MEMORY.format(paths=sys.path[:2], values=values, uri=arguments.data, store=str(Path(folder) / "memory"))
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    figures |= json.loads(done.stdout.splitlines()[-1])
    figures["memory_ratio"] = (figures["peak_gb"] - figures["before_gb"]) / figures["vectors_gb"]
    print(
        f"memory: {figures['peak_gb']:.2f} GB at the peak, {figures['before_gb']:.2f} GB of it before the first image, "
        f"{figures['vectors_gb']:.2f} GB of vectors; ratio {figures['memory_ratio']:.2f} (target <= {MEMORY_TARGET})"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))
    met = figures["nine_over_one"] <= SHARING_TARGET and figures["backbone_passes"] == 1
    met &= figures["memory_ratio"] <= MEMORY_TARGET
    print("targets met" if met else "A TARGET IS MISSED")
    return 0 if met else 1


def sharing(category: Category, base: Point, folder: Path) -> dict[str, float]:
    """Seconds of nine points and of one, from images and from stored levels."""
    nine = product(ratio=RATIOS, sigma=SIGMAS)
    single = [{"ratio": max(RATIOS), "sigma": SIGMAS[1]}]
    figures: dict[str, float] = {}
    for start in ("pictures", "levels"):
        seconds = {}
        for name, points in (("one", single), ("nine", nine)):
            bench = CategoryBench(category, "test", 0, Store(folder / f"{start}-{name}"))
            if start == "levels":
                params = make_params(METHOD, base)
                embedding = METHOD.embedding(params)  # type: ignore[attr-defined]  # of memory-bank methods
                chain = bank_chain(embedding, params)
                bench.runner.run(chain[: chain.index(LEVELS) + 1], params.model_dump())
            seconds[name] = sum(sweep(bench, base, points))
        ratio = seconds["nine"] / seconds["one"]
        key = "nine_over_one" if start == "pictures" else "nine_over_one_from_levels"
        figures |= {f"{start}_{name}_seconds": spent for name, spent in seconds.items()} | {key: ratio}
        print(
            f"from {start}: 9 points {seconds['nine']:.2f} s, the largest ratio alone {seconds['one']:.2f} s; ratio {ratio:.2f} "
            f"(target <= {SHARING_TARGET})"
        )
    return figures


def passes(category: Category, base: Point, ratios: tuple[float, ...], folder: Path) -> dict[str, Any]:
    """The whole grid; how often each stage was computed."""
    points = product(
        wavelet=("haar", "bior2.2"), semantic=(True, False), encoder_seed=(0, 1), ratio=ratios, sigma=SIGMAS
    )
    bench = CategoryBench(category, "test", 0, Store(folder))
    seconds = sweep(bench, base, points)
    computed = dict(bench.runner.computed)
    print(
        f"{len(points)} points: {sum(seconds):.1f} s, the first alone {seconds[0]:.2f} s; backbone passes {computed['levels']} "
        f"(target 1)\n  computed: {computed}"
    )
    return {
        "grid_points": len(points),
        "grid_seconds": sum(seconds),
        "backbone_passes": computed["levels"],
        "computed": computed,
    }


def sweep(bench: CategoryBench, base: Point, points: list[Point]) -> list[float]:
    """In-trial seconds of every point in order."""
    seconds = []
    for point in points:
        started = time.perf_counter()
        bench.evaluate(METHOD, make_params(METHOD, {**base, **point}))
        seconds.append(time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
