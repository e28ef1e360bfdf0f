"""``pytest tests/conformance --golden DIR`` runs the golden cases of another folder; DIR holds one folder a method."""

from pathlib import Path

import pytest
from golden_files import DEFAULT_FOLDER, method_folders, read_cases


def pytest_addoption(parser):
    parser.addoption(
        "--golden",
        metavar="DIR",
        default=str(DEFAULT_FOLDER),
        help="folder of the golden cases: DIR/<method>/cases.json, and perhaps DIR/fill.py (default: tests/golden)",
    )


def golden_root(config) -> Path:
    # The option is unknown where pytest was started on a folder above this one: the default then stands.
    root = Path(config.getoption("--golden", str(DEFAULT_FOLDER)))
    root = root if root.is_absolute() else Path(config.invocation_params.dir) / root
    if not root.is_dir():
        raise pytest.UsageError(f"--golden {root} is no folder")
    if (root / "cases.json").is_file():
        raise pytest.UsageError(
            f"--golden {root} is a method's own folder; give the folder that holds it: {root.parent}"
        )
    return root


def pytest_generate_tests(metafunc):
    if "golden_case" not in metafunc.fixturenames and "golden_folder" not in metafunc.fixturenames:
        return
    folders, _ = method_folders(golden_root(metafunc.config))
    if not folders:
        raise pytest.UsageError(
            f"{golden_root(metafunc.config)} has no folder with a cases.json, so nothing would be checked"
        )
    if "golden_folder" in metafunc.fixturenames:
        metafunc.parametrize("golden_folder", folders, ids=lambda folder: folder.name)
        return
    cases = [case for folder in folders for case in read_cases(folder)]
    metafunc.parametrize("golden_case", cases, ids=lambda case: case.id)


def pytest_terminal_summary(terminalreporter, config):
    """Say what was run, and name the folders that could not be: a README alone cannot be checked and must not look so."""
    root = golden_root(config)
    folders, without = method_folders(root)
    counts = ", ".join(f"{folder.name} ({len(read_cases(folder))} cases)" for folder in folders)
    terminalreporter.write_line(f"golden cases of {root}: {counts}")
    if without:
        names = ", ".join(folder.name for folder in without)
        terminalreporter.write_line(f"NOT RUN, because they have no cases.json: {names}", yellow=True)
