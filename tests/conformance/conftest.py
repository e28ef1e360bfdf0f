"""``pytest tests/conformance --golden DIR`` runs the golden cases of another folder; DIR holds one folder a method."""

from pathlib import Path

import pytest
from golden_files import DEFAULT_FOLDER, method_folders, read_cases, unread_files
from golden_kinds import KINDS


def pytest_addoption(parser):
    parser.addoption(
        "--golden",
        metavar="DIR",
        default=str(DEFAULT_FOLDER),
        help="folder of the golden cases: DIR/<method>/*.npz, with or without a cases.json, and perhaps DIR/fill.py "
        "(default: tests/golden)",
    )


def golden_root(config) -> Path:
    # The option is unknown where pytest was started on a folder above this one: the default then stands.
    root = Path(config.getoption("--golden", str(DEFAULT_FOLDER)))
    root = root if root.is_absolute() else Path(config.invocation_params.dir) / root
    if not root.is_dir():
        raise pytest.UsageError(f"--golden {root} is no folder")
    if (root / "cases.json").is_file() or any(root.glob("*.npz")):
        raise pytest.UsageError(
            f"--golden {root} is a method's own folder; give the folder that holds it: {root.parent}"
        )
    return root


def cases_of(folder: Path):
    return read_cases(folder, KINDS.get(folder.name, {}))


def pytest_generate_tests(metafunc):
    if "golden_case" not in metafunc.fixturenames and "golden_folder" not in metafunc.fixturenames:
        return
    root = golden_root(metafunc.config)
    folders, _ = method_folders(root, KINDS)
    if not folders:
        raise pytest.UsageError(f"{root} has no folder with cases that can be read, so nothing would be checked")
    if "golden_folder" in metafunc.fixturenames:
        metafunc.parametrize("golden_folder", folders, ids=lambda folder: folder.name)
        return
    metafunc.parametrize(
        "golden_case", [case for folder in folders for case in cases_of(folder)], ids=lambda case: case.id
    )


def pytest_terminal_summary(terminalreporter, config):
    """Say what was run, and name what could not be: a file that nobody reads must not look checked."""
    root = golden_root(config)
    folders, without = method_folders(root, KINDS)
    counts = ", ".join(f"{folder.name} ({len(cases_of(folder))} cases)" for folder in folders)
    terminalreporter.write_line(f"golden cases of {root}: {counts}")
    left = [folder.name for folder in without]
    left += [f"{folder.name}/{name}" for folder in folders for name in unread_files(folder, KINDS.get(folder.name, {}))]
    if left:
        terminalreporter.write_line(f"NOT RUN, because no test reads them: {', '.join(left)}", yellow=True)
