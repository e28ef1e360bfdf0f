"""All benchmarks, one after the other; every figure is a ratio or a bound, measured in one run on this machine.

- `make bench`
- `make bench ARGS='--data mvtec:/data/MVTec?categories=leather'`
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TAKES_DATA = {"sharing", "banks", "overhead"}
ORDER = (
    "sharing",
    "banks",
    "overhead",
    "memory",
    "metrics",
    "coreset",
    "neighbours",
    "segmenter",
    "classifier",
    "training",
)


def main() -> int:
    """Run every bench; returns 1 if one missed its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="dataset URI for the benches that take one; by default synthetic:")
    parser.add_argument("--only", choices=ORDER, action="append", help="some benches only")
    parser.add_argument("--json", type=Path, help="also write all figures there")
    arguments = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}\n",
        flush=True,
    )
    missed, figures = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only or ORDER:
            print(f"== {name}", flush=True)
            found = Path(folder) / f"{name}.json"
            command = [sys.executable, "-W", "ignore", str(HERE / f"{name}.py"), "--json", str(found)]
            if arguments.data and name in TAKES_DATA:
                command += ["--data", arguments.data]
            if subprocess.run(command, check=False).returncode:
                missed.append(name)
            if found.exists():
                figures[name] = json.loads(found.read_text())
            print(flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))
    print(f"missed or failed: {', '.join(missed)}" if missed else "every target met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
