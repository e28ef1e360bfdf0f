"""Makes `serve` and the platform importable when a file of this folder runs as a script."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Python puts a script's own folder first; its files are modules of the package `serve`, not top-level ones.
sys.path[:] = [str(HERE.parent), *(path for path in sys.path if Path(path).resolve() != HERE)]

import serve  # noqa: E402, F401  # it makes the platform importable
