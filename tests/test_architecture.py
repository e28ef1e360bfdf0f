"""The house's rules: who may import whom, how large a file may be, and what a file may not say."""

import ast
import graphlib
import itertools
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLATFORM = ROOT / "platform"
CODE = sorted(
    path for folder in ("platform", "search_spaces", "jobs", "serve") for path in (ROOT / folder).rglob("*.py")
)
LEAVES = {"errors", "home", "decisions", "extras", "files", "validating"}
FOUNDATIONS = {"data", "nn", "metrics", "stages", "banks"}
ROOMS_WITH_RAY = {"compute", "tuning", "training", "serving"}
# The one exception: `subband.load` fetches models:/ URIs through the registry, and imports it only when it meets one.
LAZY = {("platform/subband/methods/loading.py", "subband.tracking")}


def module_name(path: Path) -> str:
    """Dotted name as it is imported: platform/ is on the path and no package."""
    parts = path.relative_to(PLATFORM if path.is_relative_to(PLATFORM) else ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name: str) -> str:
    """``subband.nn.wavelets`` is in the room nn, ``jobs.sweep`` in jobs."""
    parts = name.split(".")
    return parts[1] if parts[0] == "subband" and len(parts) > 1 else parts[0]


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module that a file imports, wherever in it, and whether that happens at the file's top level."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in tree.body}
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [node.module])])
            yield base, id(node) in top
            if base == "subband" or (base.startswith("subband.") and (PLATFORM / base.replace(".", "/")).is_dir()):
                yield from ((f"{base}.{alias.name}", id(node) in top) for alias in node.names)


def imported_by(path: Path) -> set[str]:
    allowed = {module for file, module in LAZY if file == relative(path)}
    return {
        name
        for name, at_top in imports(path)
        if at_top or not any(name == module or name.startswith(f"{module}.") for module in allowed)
    }


def subband_rooms(path: Path) -> set[str]:
    return {room(name) for name in imported_by(path) if name.startswith("subband.")}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def in_rooms(*rooms: str) -> list[Path]:
    return [path for path in CODE if room(module_name(path)) in rooms]


def outside(*rooms: str) -> list[Path]:
    return [path for path in CODE if room(module_name(path)) not in rooms]


def other_rooms(paths: list[Path], allowed: set[str]) -> list[str]:
    """Every import of a room that is not allowed, as ``file imports room``."""
    return [
        f"{relative(path)} imports {other}"
        for path in paths
        for other in sorted(subband_rooms(path) - allowed - {room(module_name(path))})
    ]


def packages(paths: list[Path], *names: str) -> list[str]:
    """Every import of one of these packages, as ``file imports package``."""
    return [
        f"{relative(path)} imports {package}"
        for path in paths
        for package in sorted({name.split(".")[0] for name in imported_by(path)} & set(names))
    ]


def test_the_rooms_are_found():
    """An empty list would let every rule pass."""
    named = {"methods", "compute", "runs", "trials", "champions", "training", "tuning", "tracking", "jobs", "testing"}
    assert {room(module_name(path)) for path in CODE} >= FOUNDATIONS | LEAVES | named


def cycle_of(graph: dict[str, dict[str, str]]) -> list[str]:
    """The imports of one cycle, by importing room and imported room; empty where there is none."""
    try:
        tuple(graphlib.TopologicalSorter({name: set(others) for name, others in graph.items()}).static_order())
    except graphlib.CycleError as error:
        found = error.args[1][::-1]
        return [graph[one][other] for one, other in itertools.pairwise(found)]
    return []


def test_the_graph_of_rooms_has_no_cycle():
    graph: dict[str, dict[str, str]] = {}
    for path in CODE:
        if path.is_relative_to(PLATFORM / "subband"):
            name = room(module_name(path))
            for other in subband_rooms(path) - {name}:
                graph.setdefault(name, {})[other] = f"{relative(path)} imports {other}"
    assert len(graph) > 10
    assert cycle_of(graph) == []


def test_a_cycle_of_rooms_is_named():
    graph = {"a": {"b": "a/x.py imports b"}, "b": {"c": "b/y.py imports c"}, "c": {"a": "c/z.py imports a"}, "d": {}}
    assert sorted(cycle_of(graph)) == ["a/x.py imports b", "b/y.py imports c", "c/z.py imports a"]


def test_foundations_know_nothing_above_them():
    assert other_rooms(in_rooms(*FOUNDATIONS), FOUNDATIONS | LEAVES) == []


def test_methods_stand_on_the_foundations():
    spaces = {
        "spaces",
        "trials",
    }  # a search space is part of a method's room, and a later round of a preset follows its trials
    assert other_rooms(in_rooms("methods", "synthesis"), FOUNDATIONS | LEAVES | spaces) == []


def test_what_every_job_shares_knows_no_method():
    assert other_rooms(in_rooms("runs", "compute"), LEAVES | {"stages", "banks"}) == []


def test_the_final_scorer_knows_methods_only_by_their_interface():
    assert other_rooms(in_rooms("evaluation"), FOUNDATIONS | LEAVES | {"methods"}) == []
    (path,) = in_rooms("evaluation")
    assert {name for name in imported_by(path) if name.startswith("subband.methods")} <= {
        "subband.methods",
        "subband.methods.base",
        "subband.methods.base.StagedMethod",
    }


def test_only_the_cluster_rooms_import_ray():
    assert packages(outside(*ROOMS_WITH_RAY), "ray") == []


def test_only_tracking_imports_mlflow():
    assert packages(outside("tracking"), "mlflow") == []


def test_nothing_that_runs_imports_the_test_suite():
    assert packages(outside("testing"), "pytest", "hypothesis") == []
    assert [line for line in other_rooms(outside("testing"), set()) if line.endswith(" testing")] == []


METHOD_ROOMS = {path.name for path in (PLATFORM / "subband" / "methods").iterdir() if (path / "__init__.py").exists()}
KNOW_BY_NAME = [
    path
    for path in CODE
    if not (
        path.relative_to(ROOT).as_posix() == "platform/subband/methods/registry.py"
        or (path.is_relative_to(PLATFORM / "subband" / "methods") and METHOD_ROOMS & set(path.parts))
        or room(module_name(path)) in ("search_spaces", "jobs")
        or path.is_relative_to(PLATFORM / "bench")
    )
]


def test_methods_are_known_by_name_only_in_the_registry_and_their_own_rooms():
    """Prose may name a method; code, that is an import or a string that is the name, may not."""
    assert METHOD_ROOMS
    offenders = []
    for path in KNOW_BY_NAME:
        modules = [name for name in imported_by(path) if name.startswith("subband.methods.")]
        strings = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
        named = {name.split(".")[2] for name in modules} | {text for text in strings if isinstance(text, str)}
        offenders += [f"{relative(path)} names {name}" for name in sorted(named & METHOD_ROOMS)]
    assert offenders == []


def test_imports_are_found_wherever_they_hide(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PLATFORM", tmp_path)
    file = tmp_path / "subband" / "nn" / "made.py"
    (tmp_path / "subband" / "tracking").mkdir(parents=True)
    file.parent.mkdir()
    file.write_text(
        "from subband import tracking\n"
        "from . import wavelets\n"
        "from ..tuning.sweep import run\n"
        "def late():\n"
        "    import ray.tune as tune\n"
        "    if True:\n"
        "        from mlflow.entities import Run\n"
    )
    found = dict(imports(file))
    assert {"subband.tracking", "subband.nn", "subband.tuning.sweep", "ray.tune", "mlflow.entities"} <= found.keys()
    assert {name for name, at_top in found.items() if not at_top} == {"ray.tune", "mlflow.entities"}


def test_machine_paths_are_recognised_and_other_paths_are_not():
    for text in ("/wo" + "rk/data", "open('/ro" + "ot/x')", "--data /ho" + "me/someone/pictures"):
        assert MACHINE_PATH.search(text)
    for text in ("/ho" + "me/ray/subband", "the network/work of", "https://example.org/ho" + "me", "./ro" + "ot"):
        assert not MACHINE_PATH.search(text)


def test_the_exceptions_are_still_there():
    """An exception that nobody needs any more is taken out of the list."""
    for file, name in LAZY:
        found = {(imported, at_top) for imported, at_top in imports(ROOT / file)}
        assert (name, False) in found
        assert (name, True) not in found


def test_a_file_is_read_in_one_sitting():
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines()) for path in [*CODE, *(ROOT / "tests").rglob("*.py")]
    }
    assert [f"{relative(path)}: {length} lines" for path, length in lengths.items() if length > 400] == []


# Ray's container images have their home in one fixed place, which manifests may name.
FOLDERS = "|".join(("work", "root", "home(?!/ray)", "Users"))
MACHINE_PATH = re.compile(rf"(?<![\w.:/<])/(?:{FOLDERS})\b")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:  # an unpacked archive, for instance
        return [path for path in ROOT.rglob("*.py") if ".venv" not in path.parts]
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def test_no_file_names_the_machine_it_was_written_on():
    named = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        named += [f"{path.relative_to(ROOT)}: {found.group()}" for found in MACHINE_PATH.finditer(text)]
    assert named == []


def test_jobs_can_be_submitted_by_their_path():
    jobs = sorted((ROOT / "jobs").glob("[!_]*.py"))
    assert jobs
    for path in jobs:
        assert path.read_text().startswith("#!/usr/bin/env python\n"), relative(path)
        assert path.stat().st_mode & stat.S_IXUSR, relative(path)


def test_platform_is_no_package_and_the_standard_librarys_stays_importable():
    assert not (PLATFORM / "__init__.py").exists()
    code = "import platform; print(platform.__file__, platform.system())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout.split()[0]).is_relative_to(ROOT)


def test_no_exported_name_is_replaced_by_a_module_that_is_imported_later():
    """Python binds a submodule to its package when it is first imported; a function of that name would be gone from then on."""
    offenders = []
    for path in (path for path in CODE if path.name == "__init__.py"):
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        exported = {alias.asname or alias.name: node.module or "" for node in nodes for alias in node.names}
        submodules = {file.stem for file in path.parent.glob("*.py")} | {each.name for each in path.parent.glob("*/")}
        taken = [name for name in exported.keys() & submodules if exported[name].split(".")[-1] != name]
        offenders += [f"{relative(path)} exports {name}, and a module beside it is named so too" for name in taken]
    assert offenders == []


def test_methods_need_neither_ray_nor_mlflow_nor_pytest():
    """Not even indirectly: a notebook with torch alone can fit and load."""
    code = (
        "import sys, subband.methods, subband.evaluation; subband.methods.get_method('wepadim');"
        "sys.exit(', '.join({'ray', 'mlflow', 'pytest'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PLATFORM, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
