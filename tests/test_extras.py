"""Without the extras everything else works, and what needs one says how to get it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[1]
WITHOUT = """
import importlib.abc, sys

class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in ("captum", "pycocotools"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

sys.meta_path.insert(0, Hide())
"""


def said(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "platform"), str(ROOT)])}
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT + code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_works_without_the_extras() -> None:
    code = (
        "import subband\n"
        "from subband.methods import list_staged_methods\n"
        "detector = subband.fit('wepadim', 'synthetic:?train=4&test=2&size=64&categories=weave', weights='random:0')\n"
        "print(list_staged_methods(), len(subband.list_methods()))\n"
        "import subband.analysis.explanation, subband.report\n"
    )
    assert said(code).startswith("('patchcore', 'wedgenet', 'wepadim') 7")


def test_what_needs_an_extra_names_it(tmp_path: Path) -> None:
    code = (
        "import subband\n"
        "from subband.errors import SubbandError\n"
        "try:\n"
        "    data = subband.open_dataset('synthetic-coco:?train=2&validation=2&size=64')\n"
        "    subband.fit('wsfvit-detection', data, recipe='smoke')\n"
        "except SubbandError as error:\n"
        "    print(error)\n"
    )
    assert said(code) == "pycocotools is not installed: pip install 'subband[detect]'\n"
