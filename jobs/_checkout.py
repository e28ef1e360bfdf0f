"""Makes this checkout importable, wherever the job runs and whether or not the package is installed."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(path) for path in (ROOT / "platform", ROOT) if str(path) not in sys.path]
