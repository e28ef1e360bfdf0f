import csv
import json
import os
import signal

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from subband.analysis.coreset_job import coreset_job
from subband.banks import GreedyKCenter, Rows, distances_to
from subband.runs.progress import ProgressBar

ray = pytest.importorskip("ray")


@pytest.fixture
def features(tmp_path):
    rng = np.random.default_rng(0)
    found = (rng.normal(size=(9, 16))[rng.integers(0, 9, 800)] + 0.1 * rng.normal(size=(800, 16))).astype(np.float32)
    np.save(tmp_path / "features.npy", found)
    return found


def job(*flags):
    return coreset_job("About.", [str(flag) for flag in flags])


def read(folder):
    with safe_open(folder / "coreset.safetensors", "np") as file:
        bank, about = file.get_tensor("memory_bank"), json.loads(file.metadata()["selection"])
    with (folder / "radii.csv").open() as file:
        table = [(int(row["rows"]), float(row["covering_radius"])) for row in csv.DictReader(file)]
    return np.load(folder / "indices.npy"), table, bank, about


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_is_written_is_the_exact_selection(workers, features, tmp_path, capsys, request):
    if workers > 1:
        request.getfixturevalue("local_ray")
    assert job("--features", tmp_path / "features.npy", "--ratio", 0.1, "--workers", workers) == 0
    wanted = GreedyKCenter(Rows.of(features))
    wanted.extend(80)
    picks, table, bank, about = read(tmp_path / "features.npy.coreset")
    np.testing.assert_array_equal(picks, wanted.picks)
    assert table == list(enumerate(wanted.radii.tolist(), start=1))
    np.testing.assert_array_equal(bank, features[picks])
    assert about["covering_radius"] == wanted.radii[-1]
    assert (about["method"], about["ratio"], about["start"], about["rows"]) == ("greedy", 0.1, 0, 800)
    shown = capsys.readouterr().out
    assert "800 rows of 16, greedy selection of 80" in shown
    assert f"covering radius  {wanted.radii[-1]:.6g}" in shown
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features.npy", "features.npy.coreset"]


def test_an_interrupted_job_goes_on(features, tmp_path, capsys, monkeypatch):
    show = ProgressBar.update

    def interrupted(self, picked, text, total):
        show(self, picked, text, total)
        if picked < total:
            os.kill(os.getpid(), signal.SIGINT)

    begun = []
    extend = GreedyKCenter.extend

    def noted(self, *given):
        begun.append(len(self.picks))
        return extend(self, *given)

    monkeypatch.setattr(GreedyKCenter, "extend", noted)
    flags = ("--features", tmp_path / "features.npy", "--count", 300)
    with monkeypatch.context() as patch:
        patch.setattr(ProgressBar, "update", interrupted)
        assert job(*flags) == 130
    assert "interrupted; the same command resumes" in capsys.readouterr().out
    assert not (tmp_path / "features.npy.coreset").exists()
    assert job(*flags) == 0
    assert begun[0] == 1
    assert begun[1] > 1
    picks, _, _, _ = read(tmp_path / "features.npy.coreset")
    np.testing.assert_array_equal(picks, extend(GreedyKCenter(Rows.of(features)), 300))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features.npy", "features.npy.coreset"]


def test_other_features_do_not_go_on_with_an_interrupted_selection(features, tmp_path, monkeypatch):
    flags = ("--features", tmp_path / "features.npy", "--count", 300)
    with monkeypatch.context() as patch:
        patch.setattr(ProgressBar, "update", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        assert job(*flags) == 130
    np.save(tmp_path / "features.npy", features[::-1])
    assert job(*flags) == 0
    picks, _, _, _ = read(tmp_path / "features.npy.coreset")
    np.testing.assert_array_equal(picks, GreedyKCenter(Rows.of(features[::-1].copy())).extend(300))


@pytest.mark.parametrize("method", ["merged", "random"])
def test_other_methods_report_the_true_radius(method, features, tmp_path, capsys):
    out = tmp_path / "made"
    flags = ("--features", tmp_path / "features.npy", "--count", 40, "--method", method, "--workers", 3, "--out", out)
    assert job(*flags) == 0
    picks, table, bank, _ = read(out)
    assert len(set(picks.tolist())) == 40
    np.testing.assert_array_equal(bank, features[picks])
    assert table == [(40, distances_to(Rows.of(features), picks).max())]
    assert f"{table[0][1]:.6g}" in capsys.readouterr().out


def test_a_tensor_of_a_safetensors_file(features, tmp_path):
    save_file({"bank": features, "other": features[:3]}, tmp_path / "bank.safetensors")
    out = tmp_path / "made"
    assert job("--features", tmp_path / "bank.safetensors", "--tensor", "bank", "--count", 9, "--out", out) == 0
    np.testing.assert_array_equal(read(out)[0], GreedyKCenter(Rows.of(features)).extend(9))


def test_all_rows_keep_their_order(features, tmp_path):
    out = tmp_path / "made"
    assert job("--features", tmp_path / "features.npy", "--ratio", 1, "--out", out) == 0
    picks, table, bank, _ = read(out)
    assert picks.tolist() == list(range(800))
    np.testing.assert_array_equal(bank, features)
    assert table == [(800, 0.0)]


def broken_files(folder, features):
    save_file({"a": features, "b": features}, folder / "two.safetensors")
    save_file({"a": features.astype(np.float16)}, folder / "half.safetensors")
    whole = folder / "whole.safetensors"
    save_file({"a": features}, whole)
    (folder / "cut.safetensors").write_bytes(whole.read_bytes()[:-100])
    (folder / "text.safetensors").write_text("no features at all")
    (folder / "text.npy").write_text("no features at all")
    np.save(folder / "double.npy", features.astype(np.float64))
    np.save(folder / "flat.npy", features[0])
    wrong = features.copy()
    wrong[5, 5] = np.inf
    np.save(folder / "wrong.npy", wrong)


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("features.npy", ("--ratio", 0), "ratio: 0 is not a share"),
        ("features.npy", ("--ratio", 0.001), "of 800 rows leaves none"),
        ("features.npy", ("--count", 801), "1 to 800 can"),
        ("features.npy", (), "either as a ratio or as a count"),
        ("features.npy", ("--count", 5, "--start", 800), "row 800 does not exist"),
        ("features.npy", ("--count", 5, "--workers", 0), "workers"),
        ("features.npy", ("--count", 5, "--out", "HERE"), "exists; name another folder"),
        ("none.npy", ("--count", 5), "is not a file"),
        ("two.safetensors", ("--count", 5), r"holds 2 tensors (a, b); name one"),
        ("two.safetensors", ("--count", 5, "--tensor", "c"), "'c' is not a tensor"),
        ("half.safetensors", ("--count", 5), "'a' is F16; features are float32"),
        ("cut.safetensors", ("--count", 5), "is cut short"),
        ("text.safetensors", ("--count", 5), "is not a safetensors file"),
        ("text.npy", ("--count", 5), "is not a .npy file"),
        ("double.npy", ("--count", 5), "float64 of shape (800, 16)"),
        ("flat.npy", ("--count", 5), "of shape (16,)"),
        ("wrong.npy", ("--count", 5), "row 5 of the features is not finite"),
    ],
)
def test_bad_input_is_told_in_one_line_and_leaves_nothing(name, flags, message, features, tmp_path, capsys):
    broken_files(tmp_path, features)
    before = sorted(tmp_path.iterdir())
    flags = [tmp_path if flag == "HERE" else flag for flag in flags]
    assert job("--features", tmp_path / name, *flags) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert message in shown
    assert "Traceback" not in shown
    assert sorted(tmp_path.iterdir()) == before
