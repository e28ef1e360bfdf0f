"""Ray Serve: champions and saved detectors answer over HTTP.

Importing this package makes the checkout around it importable, wherever the process runs and whether or not the platform is
installed: Serve's replicas import it by name.
"""

import sys
from pathlib import Path

_PLATFORM = Path(__file__).resolve().parents[1] / "platform"
if _PLATFORM.is_dir() and str(_PLATFORM) not in sys.path:
    sys.path.insert(0, str(_PLATFORM))
