"""Nearest neighbours: `nearest` beside torch.cdist in row blocks and beside faiss; what all prefixes cost; memory.

- `python platform/bench/neighbours.py`
- `python platform/bench/neighbours.py --queries 3136 --repeats 3 --threads 1`
- faiss is no dependency: `pip install --target peer faiss-cpu`, then `PYTHONPATH=peer python platform/bench/neighbours.py`

All searches run in this process on the same made features, in turn, with the same number of threads; the fastest of the repeats
counts, by the clock and (more telling where others use the machine) by processor time. Distances must agree: with cdist's and
faiss's up to the error of their products, among ours bit for bit. A bank of 160,000 x 2,048 numbers is then searched on disk by a
fresh process, whose peak resident memory, mapped pages included, must stay below 4 GB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch import Tensor

from subband.banks import nearest, nearest_in_prefixes

try:
    import faiss
except ImportError:
    faiss = None

SHAPES = ((2000, 1536), (2000, 2048), (20000, 1536), (20000, 2048))
PREFIXES = (20, 200, 2000, 20000)
POSITIONS = 784
BIG_BANK = (160_000, 2048)
MEMORY_TARGET_GB = 4.0
BLOCK = 2048
_SCORE_FROM_DISK = """
import json, resource, sys, time
sys.path.insert(0, {platform!r})
import numpy as np, torch
torch.set_num_threads({threads})
from subband.banks import Rows, nearest
bank = np.memmap({path!r}, np.float32, "r", shape={shape!r})
queries = torch.from_numpy(bank[:: {shape!r}[0] // {queries}][: {queries}] + np.float32(0.01))
start = time.perf_counter()
found = nearest(queries, Rows.of(bank))
print(json.dumps({{
    "seconds": time.perf_counter() - start,
    "resident_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    "farthest": found.distances.max().item(),
}}))
"""


def made_features(count: int, width: int, seed: int) -> Tensor:
    """Vectors like a network's: clusters with 20 directions of variation and noise, a common offset, cut at 0."""
    shape = np.random.default_rng(0)
    centres, directions = shape.normal(size=(100, width)), 0.15 * shape.normal(size=(20, width))
    rng = np.random.default_rng(seed)
    vectors = centres[rng.integers(0, 100, count)] + rng.normal(size=(count, 20)) @ directions
    vectors += 0.1 * rng.normal(size=vectors.shape)
    return torch.from_numpy(np.maximum(vectors + 0.3, 0).astype(np.float32))


def by_cdist(queries: Tensor, bank: Tensor) -> Tensor:
    """torch.cdist of one block of queries after another, and the minimum."""
    return torch.cat([torch.cdist(block, bank).min(dim=1).values for block in queries.split(BLOCK)])


class Timed(NamedTuple):
    """The fastest of some repeats."""

    seconds: float
    processor_seconds: float
    result: Tensor


def fastest(calls: dict[str, Callable[[], Tensor]], repeats: int) -> dict[str, Timed]:
    """Time each call, in turn, so that all meet the same machine."""
    taken: dict[str, list[Timed]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start, processor_start = time.perf_counter(), time.process_time()
            result = call()
            taken[name].append(Timed(time.perf_counter() - start, time.process_time() - processor_start, result))
    return {
        name: Timed(min(one.seconds for one in every), min(one.processor_seconds for one in every), every[-1].result)
        for name, every in taken.items()
    }


def without_results(timed: dict[str, Timed]) -> dict[str, dict[str, float]]:
    """Times alone, for JSON."""
    return {name: {"seconds": one.seconds, "processor_seconds": one.processor_seconds} for name, one in timed.items()}


def compare(rows: int, width: int, count: int, repeats: int) -> dict[str, Any]:
    """Time all searches on one shape; raises SystemExit if their distances differ."""
    bank, queries = made_features(rows, width, 1), made_features(count, width, 2)
    calls = {
        "nearest": lambda: nearest(queries, bank).distances[:, 0],
        "nearest, float32": lambda: nearest(queries, bank, coarse="none").distances[:, 0],
        "torch.cdist": lambda: by_cdist(queries, bank),
    }
    if faiss is not None:
        index = faiss.IndexFlatL2(width)
        index.add(bank.numpy())
        calls["faiss"] = lambda: torch.from_numpy(index.search(queries.numpy(), 1)[0][:, 0]).clamp_min(0).sqrt()
    timed = fastest(calls, repeats)
    found = {name: one.result for name, one in timed.items()}
    if not torch.equal(found["nearest"], found["nearest, float32"]):
        raise SystemExit("half-precision and float32 searches differ")
    errors = {name: (part - found["nearest"]).abs().max().item() for name, part in found.items()}
    if max(errors.values()) > 1e-2:
        raise SystemExit(f"distances differ by more than 1e-2: {errors}")
    return {
        "bank": rows,
        "width": width,
        "queries": count,
        "times": without_results(timed),
        "differences": errors,
    }


def compare_prefixes(count: int, repeats: int) -> dict[str, Any]:
    """Time one pass for all prefixes beside a search of each; raises SystemExit if results differ."""
    bank, queries = made_features(PREFIXES[-1], 1536, 1), made_features(count, 1536, 2)
    calls = {
        "one pass": lambda: torch.cat([part.distances for part in nearest_in_prefixes(queries, bank, PREFIXES)]),
        "separate": lambda: torch.cat([nearest(queries, bank[:prefix]).distances for prefix in PREFIXES]),
        "largest": lambda: nearest(queries, bank).distances,
    }
    timed = fastest(calls, repeats)
    if not torch.equal(timed["one pass"].result, timed["separate"].result):
        raise SystemExit("one pass and separate searches differ")
    return {"prefixes": PREFIXES, "queries": count, "times": without_results(timed)}


def search_from_disk(queries: int, threads: int) -> dict[str, Any]:
    """Search a large bank that lies in a file, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bank.f32"
        bank = np.memmap(path, np.float32, "w+", shape=BIG_BANK)
        for number, start in enumerate(range(0, BIG_BANK[0], 8000)):
            bank[start : start + 8000] = made_features(8000, BIG_BANK[1], number)
        bank.flush()
        code = _SCORE_FROM_DISK.format(
            platform=str(Path(__file__).resolve().parents[1]),
            threads=threads,
            path=str(path),
            shape=BIG_BANK,
            queries=queries,
        )
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    return {"queries": queries, **json.loads(done.stdout.splitlines()[-1])}


def print_times(times: dict[str, dict[str, float]]) -> None:
    """One line a search, as multiples of the first."""
    first = next(iter(times.values()))
    for name, one in times.items():
        ratios = (one[kind] / first[kind] for kind in ("seconds", "processor_seconds"))
        print(
            "  {:<18} {:7.2f} s  {:5.2f} times by the clock, {:5.2f} by processor time".format(
                name, one["seconds"], *ratios
            )
        )
    sys.stdout.flush()


def main() -> int:
    """Measure and print; returns 1 if the memory target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=16 * POSITIONS, help="16 images (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=2, help="the fastest of so many counts (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write the result there as well")
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    if faiss is None:
        print("faiss is not installed and not compared; the head of this file says how to get it")
    else:
        faiss.omp_set_num_threads(flags.threads)
    figures: dict[str, Any] = {"threads": flags.threads, "shapes": []}
    for rows, width in SHAPES:
        found = compare(rows, width, flags.queries, flags.repeats)
        figures["shapes"].append(found)
        print(f"{flags.queries} queries, bank {rows} x {width}")
        print_times(found["times"])
    found = figures["prefixes"] = compare_prefixes(flags.queries, flags.repeats)
    print(f"{flags.queries} queries, prefixes {PREFIXES}")
    print_times(found["times"])
    found = figures["from_disk"] = search_from_disk(POSITIONS, flags.threads)
    print(
        f"bank of {BIG_BANK[0]} x {BIG_BANK[1]} in a file, {POSITIONS} queries: {found['seconds']:.1f} s, peak "
        f"{found['resident_gb']:.2f} GB resident with mapped pages (target < {MEMORY_TARGET_GB:.0f})"
    )
    if flags.json:
        flags.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0 if found["resident_gb"] < MEMORY_TARGET_GB else 1


if __name__ == "__main__":
    sys.exit(main())
