"""Golden files as they lie: a folder holds one folder a method, each with its arrays and perhaps manifests.

A ``cases.json`` names, per kind, the file and its cases. A case either shares the file of its kind, its arrays then named
``<key>_<array>``, or has a ``file`` of its own with plain array names. Where there is no cases.json, the cases are read off the
files: a file belongs to the kind that its name begins with, and keeps the seeds and shapes of its inputs itself.
"""

import functools
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

DEFAULT_FOLDER = Path(__file__).parent.parent / "golden"

Kinds = Mapping[str, str | None]
"""By kind, the array that every case of a shared file has; None for a kind whose files hold one case each."""


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


_read: set[tuple[Path, str]] = set()


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
    def has_own_file(self) -> bool:
        return "file" in self.case

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
        name = self._array_name(suffix)
        _read.add((self.folder / self.file, name))
        return _arrays(self.folder / self.file)[name]

    def has(self, suffix: str) -> bool:
        return self._array_name(suffix) in _arrays(self.folder / self.file)

    def names(self) -> list[str]:
        """Arrays of this case, without the key."""
        prefix = "" if self.has_own_file else f"{self['key']}_"
        return [name.removeprefix(prefix) for name in _arrays(self.folder / self.file) if name.startswith(prefix)]

    def unread(self) -> list[str]:
        """Arrays of this case that no check has looked at."""
        return [name for name in self.names() if (self.folder / self.file, self._array_name(name)) not in _read]

    def _array_name(self, suffix: str) -> str:
        if self.has_own_file:
            return suffix
        return f"{self['key']}_{suffix}" if suffix else self["key"]

    def input(self, seed: int, shape: Any) -> np.ndarray:
        return self.rule.golden_input(int(seed), tuple(int(side) for side in shape))

    def manifest(self, name: str) -> dict[str, tuple[int, ...]]:
        """Names and shapes of weights; the repository's own where the folder has none."""
        path = self.folder / name
        path = path if path.is_file() else DEFAULT_FOLDER / self.folder.name / name
        return {key: tuple(shape) for key, shape in dict(json.loads(path.read_text(encoding="utf-8"))).items()}

    def close(self, got: Any, suffix: str, default: float, what: str = "") -> None:
        """Assert max|got - stored| <= tolerance * max|stored|; a tolerance in cases.json wins over the default."""
        wanted = np.asarray(self.stored(suffix), np.float64)
        got = np.asarray(got, np.float64)
        assert got.shape == wanted.shape, f"{suffix}: shape {got.shape}, golden {wanted.shape}"
        difference = np.abs(got - wanted).max(initial=0) / max(np.abs(wanted).max(initial=0), 1e-30)
        limit = default if self.tolerance is None else self.tolerance
        assert difference <= limit, f"{suffix} {what}: relative difference {difference:.2e}, allowed {limit:.0e}"

    def near(self, got: Any, suffix: str, default: float) -> None:
        """Assert max|got - stored| <= tolerance; a tolerance in cases.json wins over the default."""
        wanted = np.asarray(self.stored(suffix), np.float64)
        got = np.asarray(got, np.float64)
        assert got.shape == wanted.shape, f"{suffix}: shape {got.shape}, golden {wanted.shape}"
        difference = np.abs(got - wanted).max(initial=0)
        limit = default if self.tolerance is None else self.tolerance
        assert difference <= limit, f"{suffix}: difference {difference:.2e}, allowed {limit:.0e}"


def method_folders(root: Path, kinds: Mapping[str, Kinds]) -> tuple[list[Path], list[Path]]:
    """Method folders with cases, and those without one."""
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "_")))
    with_cases = [folder for folder in folders if _has_list(folder) or read_cases(folder, kinds.get(folder.name, {}))]
    return with_cases, [folder for folder in folders if folder not in with_cases]


def read_cases(folder: Path, kinds: Kinds) -> list[GoldenCase]:
    """The cases that cases.json lists, or those that the files themselves show."""
    if not _has_list(folder):
        return [case for path in sorted(folder.glob("*.npz")) for case in _cases_of(path, kinds)]
    listed = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
    return [
        GoldenCase(folder, kind, case["file"] if "file" in case else spec["file"], spec.get("tolerance"), case)
        for kind, spec in listed.items()
        for case in spec["cases"]
    ]


def _has_list(folder: Path) -> bool:
    return (folder / "cases.json").is_file()


def _cases_of(path: Path, kinds: Kinds) -> list[GoldenCase]:
    kind = max((kind for kind in kinds if f"{path.stem}_".startswith(f"{kind}_")), key=len, default=None)
    if kind is None:
        return []
    if kinds[kind] is None:
        return [GoldenCase(path.parent, kind, path.name, None, {"key": path.stem, "file": path.name})]
    ending = f"_{kinds[kind]}"
    keys = [name.removesuffix(ending) for name in _arrays(path) if name.endswith(ending)]
    return [GoldenCase(path.parent, kind, path.name, None, {"key": key}) for key in keys]


def unread_files(folder: Path, kinds: Kinds) -> list[str]:
    """Files of arrays that belong to no case."""
    known = {case.file for case in read_cases(folder, kinds)}
    return [path.name for path in sorted(folder.glob("*.npz")) if path.name not in known]


def stray_arrays(folder: Path, kinds: Kinds) -> list[str]:
    """Stored arrays that belong to no case, of files that several cases share."""
    keys: dict[tuple[str, str], list[str]] = {}
    for case in read_cases(folder, kinds):
        if not case.has_own_file:
            keys.setdefault((case.kind, case.file), []).append(case["key"])
    return [
        f"{kind}/{name}"
        for (kind, file), own in keys.items()
        for name in _arrays(folder / file)
        if name not in own and not name.startswith(tuple(f"{key}_" for key in own))
    ]
