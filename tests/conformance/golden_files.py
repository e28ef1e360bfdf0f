"""Golden files as they lie: a folder holds one folder a method, each with a cases.json, its arrays, and perhaps manifests."""

import functools
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

DEFAULT_FOLDER = Path(__file__).parent.parent / "golden"


@functools.cache
def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return dict(stored)


@functools.cache
def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_fill", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class GoldenCase:
    """One case of one kind: its description, and access to what is stored with it."""

    folder: Path
    kind: str
    file: str
    tolerance: float | None
    case: dict[str, Any]

    @property
    def id(self) -> str:
        return f"{self.folder.name}-{self.kind}-{self['key']}"

    @property
    def rule(self) -> ModuleType:
        """fill.py beside the method folders, else the repository's own."""
        own = self.folder.parent / "fill.py"
        return _module(own if own.is_file() else DEFAULT_FOLDER / "fill.py")

    def __getitem__(self, name: str) -> Any:
        return self.case[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self.case.get(name, default)

    def stored(self, suffix: str) -> np.ndarray:
        """The array ``<key>_<suffix>``, or ``<key>`` for an empty suffix; a missing one is a KeyError that names it."""
        return _arrays(self.folder / self.file)[self._array_name(suffix)]

    def has(self, suffix: str) -> bool:
        return self._array_name(suffix) in _arrays(self.folder / self.file)

    def _array_name(self, suffix: str) -> str:
        return f"{self['key']}_{suffix}" if suffix else self["key"]

    def input(self, seed: int, shape: list[int]) -> np.ndarray:
        return self.rule.golden_input(seed, tuple(shape))

    def close(self, got: Any, suffix: str, default: float, what: str = "") -> None:
        """Assert max|got - stored| <= tolerance * max|stored|; a tolerance in cases.json wins over the default."""
        wanted = np.asarray(self.stored(suffix), np.float64)
        got = np.asarray(got, np.float64)
        assert got.shape == wanted.shape, f"{suffix}: shape {got.shape}, golden {wanted.shape}"
        difference = np.abs(got - wanted).max(initial=0) / max(np.abs(wanted).max(initial=0), 1e-30)
        limit = default if self.tolerance is None else self.tolerance
        assert difference <= limit, f"{suffix} {what}: relative difference {difference:.2e}, allowed {limit:.0e}"


def method_folders(root: Path) -> tuple[list[Path], list[Path]]:
    """Method folders with a cases.json, and those without one."""
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "_")))
    with_cases = [folder for folder in folders if (folder / "cases.json").is_file()]
    return with_cases, [folder for folder in folders if folder not in with_cases]


def read_cases(folder: Path) -> list[GoldenCase]:
    kinds = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
    return [
        GoldenCase(folder, kind, spec["file"], spec.get("tolerance"), case)
        for kind, spec in kinds.items()
        for case in spec["cases"]
    ]


def stray_arrays(folder: Path) -> list[str]:
    """Stored arrays that belong to no case."""
    stray = []
    for kind, spec in json.loads((folder / "cases.json").read_text(encoding="utf-8")).items():
        keys = {case["key"] for case in spec["cases"]}
        prefixes = tuple(f"{key}_" for key in keys)
        names = _arrays(folder / spec["file"])
        stray += [f"{kind}/{name}" for name in names if name not in keys and not name.startswith(prefixes)]
    return stray
