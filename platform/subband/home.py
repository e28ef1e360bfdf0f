"""Where results lie when the user names no other place."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The platform's folder: the environment's ``SUBBAND_HOME``, else ``~/.subband``.

    It holds ``store/`` (shared stages), ``runs/`` (one folder a sweep) and ``mlflow.db``. It does not depend on the current folder,
    because a submitted job runs in a folder that its cluster removes later.
    """
    return Path(os.environ.get("SUBBAND_HOME", "~/.subband")).expanduser().absolute()
