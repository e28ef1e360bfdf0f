"""Every golden case, one test each: ``pytest tests/conformance [--golden DIR]``."""

import json

import golden_baselines
import golden_wepadim
import numpy as np
import pytest
from golden_files import DEFAULT_FOLDER, GoldenCase, method_folders, read_cases, stray_arrays

CHECKS = {"wepadim": golden_wepadim.CHECKS, "baselines": golden_baselines.CHECKS}


def test_golden(golden_case):
    check = CHECKS.get(golden_case.folder.name, {}).get(golden_case.kind)
    if check is None:
        pytest.fail(f"no conformance test for kind {golden_case.kind!r} of {golden_case.folder.name}")
    check(golden_case)


def test_every_stored_array_belongs_to_a_case(golden_folder):
    assert stray_arrays(golden_folder) == []


def test_a_kind_that_nobody_checks_fails_loudly(tmp_path):
    unknown = GoldenCase(tmp_path / "wepadim", "spectrogram", "none.npz", None, {"key": "one"})
    with pytest.raises(pytest.fail.Exception, match="no conformance test for kind 'spectrogram' of wepadim"):
        test_golden(unknown)


def test_another_folder_is_read_and_wrong_numbers_in_it_fail(tmp_path):
    """A folder elsewhere, without a fill.py of its own, whose stored embedding is off by 1e-4."""
    source = next(case for case in read_cases(DEFAULT_FOLDER / "wepadim") if case.kind == "embedding")
    folder = tmp_path / "wepadim"
    folder.mkdir()
    (folder / "cases.json").write_text(json.dumps({"embedding": {"file": "other.npz", "cases": [source.case]}}))
    np.savez(folder / "other.npz", **{source["key"]: source.stored("") * np.float32(1.0001)})
    (copied,) = read_cases(folder)
    with pytest.raises(AssertionError, match="relative difference"):
        test_golden(copied)


def test_folders_without_cases_are_told_apart(tmp_path):
    for name in ("wepadim", "wsfvit"):
        (tmp_path / name).mkdir()
    (tmp_path / "wepadim" / "cases.json").write_text("{}")
    assert method_folders(tmp_path) == ([tmp_path / "wepadim"], [tmp_path / "wsfvit"])
