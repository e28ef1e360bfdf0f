"""Every golden case, one test each: ``pytest tests/conformance [--golden DIR]``."""

import json
import shutil

import numpy as np
import pytest
from golden_files import DEFAULT_FOLDER, GoldenCase, method_folders, read_cases, stray_arrays, unread_files
from golden_kinds import CHECKS, KINDS


def test_golden(golden_case):
    check = CHECKS.get(golden_case.folder.name, {}).get(golden_case.kind)
    if check is None:
        pytest.fail(f"no conformance test for kind {golden_case.kind!r} of {golden_case.folder.name}")
    check(golden_case)
    if golden_case.has_own_file and golden_case.folder.parent == DEFAULT_FOLDER:
        assert golden_case.unread() == [], "the check does not look at these arrays"


def test_every_stored_array_belongs_to_a_case(golden_folder):
    assert stray_arrays(golden_folder, KINDS.get(golden_folder.name, {})) == []


@pytest.mark.parametrize("method", ["baselines", "wedgenet", "wepadim", "wpformer"])
def test_every_file_of_the_repository_belongs_to_a_case(method):
    assert unread_files(DEFAULT_FOLDER / method, KINDS.get(method, {})) == []


def test_a_kind_that_nobody_checks_fails_loudly(tmp_path):
    unknown = GoldenCase(tmp_path / "wepadim", "spectrogram", "none.npz", None, {"key": "one"})
    with pytest.raises(pytest.fail.Exception, match="no conformance test for kind 'spectrogram' of wepadim"):
        test_golden(unknown)


def test_another_folder_is_read_and_wrong_numbers_in_it_fail(tmp_path):
    """A folder elsewhere, without a fill.py of its own, whose stored embedding is off by 1e-4."""
    source = next(case for case in read_cases(DEFAULT_FOLDER / "wepadim", {}) if case.kind == "embedding")
    folder = tmp_path / "wepadim"
    folder.mkdir()
    (folder / "cases.json").write_text(json.dumps({"embedding": {"file": "other.npz", "cases": [source.case]}}))
    np.savez(folder / "other.npz", **{source["key"]: source.stored("") * np.float32(1.0001)})
    (copied,) = read_cases(folder, {})
    with pytest.raises(AssertionError, match="relative difference"):
        test_golden(copied)


def test_folders_without_cases_are_told_apart(tmp_path):
    for name in ("wepadim", "wsfvit"):
        (tmp_path / name).mkdir()
    (tmp_path / "wepadim" / "cases.json").write_text("{}")
    assert method_folders(tmp_path, KINDS) == ([tmp_path / "wepadim"], [tmp_path / "wsfvit"])


@pytest.mark.parametrize("method", ["baselines", "wedgenet"])
def test_the_same_cases_are_found_without_a_list(tmp_path, method):
    """Folders may come as a README and arrays; each file tells its kind by its name, and its inputs by its contents."""
    folder = tmp_path / method
    shutil.copytree(DEFAULT_FOLDER / method, folder, ignore=shutil.ignore_patterns("cases.json"))
    np.savez(folder / "spectrogram.npz", maps=np.zeros(1))
    found, listed = read_cases(folder, KINDS[method]), read_cases(DEFAULT_FOLDER / method, {})
    assert sorted((case.kind, case.file, case.names()) for case in found) == sorted(
        (case.kind, case.file, case.names()) for case in listed
    )
    assert unread_files(folder, KINDS[method]) == ["spectrogram.npz"]
    light = {"guidance", "kcenter", "metrics", "patchcore_coreset_nn", "patchcore_embed", "preprocess"}
    for case in found:
        if case.kind in light:
            test_golden(case)


def test_other_seeds_are_read_off_the_file_and_wrong_numbers_in_it_fail(tmp_path):
    """A file of another name without a list, whose maps belong to another seed than it says."""
    folder = tmp_path / "wedgenet"
    folder.mkdir()
    with np.load(DEFAULT_FOLDER / "wedgenet" / "guidance.npz") as stored:
        np.savez(folder / "guidance_other.npz", **dict(stored) | {"seed": np.array(7)})
    (case,) = read_cases(folder, KINDS["wedgenet"])
    assert case.kind == "guidance"
    with pytest.raises(AssertionError, match="haar_batch: difference"):
        test_golden(case)


@pytest.mark.parametrize(("seed", "passes"), [(101, True), (7, False)])
def test_seeds_of_networks_are_read_off_the_file_where_it_has_one(tmp_path, seed, passes):
    """A file of another name in a folder without README, list or manifest."""
    folder = tmp_path / "wpformer"
    folder.mkdir()
    with np.load(DEFAULT_FOLDER / "wpformer" / "b2_64.npz") as stored:
        np.savez(folder / "b2_64_again.npz", **dict(stored) | {"seed": np.array(seed)})
    (case,) = read_cases(folder, KINDS["wpformer"])
    if passes:
        test_golden(case)
    else:
        with pytest.raises(AssertionError, match="c1: difference"):
            test_golden(case)


def test_a_network_case_whose_seed_nobody_names_fails_loudly(tmp_path):
    case = GoldenCase(tmp_path / "wpformer", "b2", "b2_96.npz", None, {"key": "b2_96", "file": "b2_96.npz"})
    (tmp_path / "wpformer").mkdir()
    np.savez(tmp_path / "wpformer" / "b2_96.npz", pred4=np.zeros((1, 1, 24, 24)))
    with pytest.raises(AssertionError, match=r"the seed of b2_96\.npz is unknown"):
        test_golden(case)
