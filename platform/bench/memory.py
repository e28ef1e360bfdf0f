"""Memory: peak of one WE-PaDiM evaluation on a category of 391 training images (the largest of MVTec AD), in a fresh process.

- `python platform/bench/memory.py`
- `python platform/bench/memory.py --images 391 --test 110 --grid 14`

The published grid (7 x 7) and the default one (14 x 14) are measured, level 1, all subbands; the target is below 6 GB. Anonymous
memory is what the process holds itself; resident memory also counts the store's mapped files, which the system may drop.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]

TARGET_GB = 6.0
_ONE = """
import json, resource, sys, threading, time
sys.path[:0] = {paths!r}
import torch
torch.set_num_threads({threads})
from subband.data import open_dataset
from subband.evaluation import CategoryBench
from subband.methods import staged_method, make_params
from subband.stages import Store
peak = 0
def watch():
    global peak
    while True:
        for line in open("/proc/self/status"):
            if line.startswith("RssAnon"):
                peak = max(peak, int(line.split()[1]))
        time.sleep(0.01)
threading.Thread(target=watch, daemon=True).start()
dataset = open_dataset({uri!r})
method = staged_method("wepadim")
params = make_params(method, {{"weights": "random:0", "subbands": "LL+LH+HL+HH", "level": 1, "grid": {grid!r}}})
bench = CategoryBench(dataset.category(dataset.categories[0]), "test", 0, Store({store!r}))
found = bench.evaluate(method, params)
resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
held = peak * 1024 / 1e9
print(json.dumps({{"resident_gb": resident, "anonymous_gb": held, "form": found.form}}))
"""


def main() -> int:
    """Measure and print; returns 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=391)
    parser.add_argument("--test", type=int, default=110)
    parser.add_argument("--grid", type=int, action="append", help="default: 7 and 14")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    uri = f"synthetic:?categories=leather&train={arguments.images}&test={arguments.test}"
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as store:
        for grid in arguments.grid or (7, 14):
            code = _ONE.format(paths=[str(ROOT / "platform"), str(ROOT)], threads=2, uri=uri, grid=grid, store=store)
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
            )
            found = json.loads(done.stdout.splitlines()[-1])
            figures[f"grid{grid}"] = found
            print(
                f"N = {arguments.images}, {grid} x {grid} cells: peak {found['anonymous_gb']:.2f} GB anonymous, "
                f"{found['resident_gb']:.2f} GB resident with mapped files (target < {TARGET_GB:.0f}); {found['form']}"
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))
    return 0 if all(found["resident_gb"] < TARGET_GB for found in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
