"""The analysis jobs from the command line to MLflow, on one local Ray; and what a person can get wrong."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from job_runs import OUTSIDE, ROOT

from subband.analysis.gap import GapSettings
from subband.analysis.gap import run as score_gap
from subband.analysis.job import analysis_job
from subband.analysis.qualitative import QualitativeSettings
from subband.analysis.qualitative import run as figures
from subband.analysis.robustness import RobustnessSettings
from subband.analysis.robustness import run as robustness
from subband.analysis.speed import SpeedSettings
from subband.analysis.speed import run as benchmark_fps
from subband.analysis.value_table import ValueTableSettings
from subband.analysis.value_table import run as evaluate

TINY = ("--data", "synthetic:?train=6&test=8&size=64&categories=nut,weave")
SMALL = "wepadim:image_size=64,grid=8"
JOBS = ("robustness", "evaluate", "figures", "benchmark_fps", "score_gap")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One SUBBAND_HOME for all jobs here, and no Ray or MLflow of the test run's surroundings."""
    folder = tmp_path_factory.mktemp("home")
    settled = {
        "SUBBAND_HOME": str(folder),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "COLUMNS": "300",
    }
    before = {name: os.environ.get(name) for name in (*settled, *OUTSIDE)}
    for name in before:
        os.environ.pop(name, None)
    os.environ.update(settled)
    yield folder
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture(scope="module")
def local_ray(home):
    import ray

    from subband.compute.cluster import connect

    connect()
    yield
    ray.shutdown()


@pytest.fixture
def job(home, capsys):
    """Run a job's body in this process: exit status, output with single spaces, and the results' folder."""
    runs = {
        "robustness": (RobustnessSettings, robustness, {"positional": ("kind",)}),
        "evaluate": (ValueTableSettings, evaluate, {"method": "wepadim"}),
        "figures": (QualitativeSettings, figures, {}),
        "benchmark_fps": (SpeedSettings, benchmark_fps, {}),
        "score_gap": (GapSettings, score_gap, {}),
    }

    def start(name, *arguments):
        settings, run, options = runs[name]
        status = analysis_job(name, settings, run, "", list(arguments), **options)
        output = capsys.readouterr().out
        assert "Traceback" not in output
        return status, " ".join(output.split())

    return start


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def logged(home: Path, name: str):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("analysis/synthetic")
    (run,) = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{name}'")
    return client, run


@pytest.mark.usefixtures("local_ray")
def test_robustness_of_two_detectors(job, home):
    levels = ("--levels", "0", "30")
    detectors = ("--detectors", f"{SMALL},sigma=2", f"{SMALL},sigma=4")
    status, output = job("robustness", "noise", *TINY, *levels, *detectors, "--name", "noisy")
    assert status == 0, output
    folder = home / "analysis" / "noisy"
    assert {"noise_nut.csv", "noise_mean.csv", "noise_curves_weave.png", "noise_tile_nut.png"} <= names(folder)
    assert "nut, wepadim sigma=2: noise 30: image AUROC" in output
    client, run = logged(home, "noisy")
    assert run.info.status == "FINISHED"
    assert run.data.params["kind"] == "noise"
    assert run.data.tags["selection"].startswith("none: ")
    assert any(name.startswith("mean/image_auroc/") for name in run.data.metrics)
    assert names(folder) == {
        entry.path for entry in client.list_artifacts(run.info.run_id)
    }  # nothing lies in the folder that MLflow has not


@pytest.mark.usefixtures("local_ray")
def test_evaluation_table_over_a_param(job, home):
    params = ("--image-size", "64", "--grid", "8", "--sigma", "2", "4")
    status, output = job("evaluate", "wepadim", *TINY, *params, "--name", "table")
    assert status == 0, output
    text = (home / "analysis" / "table" / "evaluation_image_auroc.csv").read_text()
    assert re.fullmatch(r"Category,sigma=2,sigma=4\nnut,.*\nweave,.*\nAVERAGE,.*\n", text)
    _, run = logged(home, "table")
    assert run.data.params["varied"] == "sigma"
    assert any(name.startswith("au_pro_0.3/") for name in run.data.metrics)


@pytest.mark.usefixtures("local_ray")
@pytest.mark.slow
def test_figures_speed_and_gap(job, home):
    one = ("--data", "synthetic:?train=6&test=8&size=64&categories=nut")
    status, output = job("figures", *one, "--detectors", SMALL, "--defective", "2", "--name", "seen")
    assert status == 0, output
    assert sum(name.startswith("nut/") for name in names(home / "analysis" / "seen")) == 4
    quick = ("--iterations", "3", "--warm-up", "1", "--batches", "1", "2", "--device", "cpu")
    status, output = job("benchmark_fps", *one, "--detectors", SMALL, *quick, "--name", "speed")
    assert status == 0, output
    assert {"fps.csv", "fps.png"} <= names(home / "analysis" / "speed")
    pair = ("--detectors", f"{SMALL},subbands=LL", SMALL)
    status, output = job("score_gap", *one, *pair, "--name", "gap")
    assert status == 0, output
    assert "Score gap, published form (grid scores)" in output
    assert {"score_gap.csv", "score_gap_fair.csv", "score_gap.png"} <= names(home / "analysis" / "gap")
    for name in ("seen", "speed", "gap"):
        assert logged(home, name)[1].info.status == "FINISHED"


@pytest.mark.usefixtures("local_ray")
def test_a_server_that_is_down_leaves_the_results_and_says_how_to_log_them(job, home):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = ("--levels", "0", "--detectors", SMALL, "--tracking-uri", f"http://127.0.0.1:{port}", "--name", "down")
    status, output = job("robustness", "colour", *TINY, *flags)
    assert status == 1
    assert output.count("problem:") == 1
    assert "does not answer" in output
    assert f"python -m subband.tracking push {home / 'analysis' / 'down'}" in output
    assert "colour_nut.csv" in names(home / "analysis" / "down")


@pytest.mark.usefixtures("local_ray")
@pytest.mark.slow
def test_a_detector_of_one_category_fails_in_part(job, home, tmp_path):
    from subband.analysis.detectors import obtain, parse_detectors
    from subband.analysis.settings import Source

    data = TINY[1]
    (spec,) = parse_detectors([SMALL], data)
    source = Source(data, tmp_path / "store")
    saved = obtain(spec, source.category("weave"), source).detector.save(tmp_path / "weave")
    status, output = job(
        "figures", *TINY, "--detectors", str(saved), "--defective", "1", "--good", "0", "--name", "part"
    )
    assert status == 1
    assert "problem: nut, weave: " in output
    assert any(name.startswith("weave/") for name in names(home / "analysis" / "part"))
    alone = ("--data", "synthetic:?train=6&test=8&size=64&categories=nut", "--detectors", str(saved))
    status, output = job("figures", *alone, "--name", "nothing")
    assert status == 1
    assert "was fitted to the category 'weave' and cannot judge 'nut'" in output
    assert not (home / "analysis" / "nothing").exists()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("robustness", ["--detectors", "wepadin"], "did you mean 'wepadim'"),
        ("robustness", ["--levels", "-1"], "level -1 is out of range; give numbers from 0"),
        ("robustness", ["--data", "mvtek:/tmp"], "did you mean 'mvtec'"),
        ("robustness", ["--name", "a/b"], r"settings\.name: 'a/b' cannot be a name: use letters"),
        ("robustness", ["--tracking-uri", "file:///tmp/mlruns"], "MLflow keeps no file store"),
        ("robustness", ["--store", "/proc/store"], "store folder /proc/store cannot be used"),
        ("robustness", ["--out", "/proc/results"], "no results can be kept in /proc/results"),
        ("evaluate", ["wepadin"], "did you mean 'wepadim'"),
        ("evaluate", ["--sigma", "2", "4", "--level", "1", "2"], "one param may have several values"),
        ("evaluate", ["--sigma", "-2"], r"wepadim\.sigma"),
        ("evaluate", ["--metrics", "aurok"], r"settings\.metrics: 'aurok' is not a metric"),
        ("figures", ["--defective", "-1"], r"settings\.defective"),
        ("figures", ["--detectors", "/no/such/detector"], "there is no such folder"),
        ("benchmark_fps", ["--iterations", "1"], r"settings\.iterations"),
        ("score_gap", ["--detectors", "wepadim"], "compares two detectors, not 1"),
        ("score_gap", ["--detectors", "wepadim", "wepadim"], "'wepadim' is given twice"),
    ],
)
def test_wrong_flags_are_told_before_anything_is_started(job, home, name, arguments, message):
    before = names(home) if home.exists() else set()
    default = () if "--data" in arguments else TINY
    first = arguments[:1] if not arguments[0].startswith("-") else []
    status, output = job(name, *first, *default, *arguments[len(first) :])
    assert status == 1
    assert output.count("error:") == 1
    assert re.search(message, output), output
    assert {path for path in names(home) if not path.startswith(("store/", "mlflow.db"))} == {
        path for path in before if not path.startswith(("store/", "mlflow.db"))
    }


@pytest.mark.parametrize("name", JOBS)
def test_a_job_is_a_program_that_explains_itself(name, home):
    path = ROOT / "jobs" / f"{name}.py"
    assert path.stat().st_mode & stat.S_IXUSR
    assert path.read_text().startswith("#!/usr/bin/env python\n")
    done = subprocess.run([sys.executable, str(path), "--help"], capture_output=True, text=True, cwd=home, check=False)
    assert done.returncode == 0, done.stderr
    assert "--smoke" in done.stdout
    assert f"jobs/{name}.py --smoke" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", JOBS)
def test_the_smoke_run_of_the_docstring(name, home, tmp_path):
    path = ROOT / "jobs" / f"{name}.py"
    (command,) = re.findall(rf"`python jobs/{name}\.py (.*--smoke.*)`", path.read_text())
    environment = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
    done = subprocess.run(
        [sys.executable, str(path), *command.split(), "--out", str(tmp_path / "out")],
        capture_output=True, text=True, cwd=tmp_path, env={**environment, "SUBBAND_HOME": str(home)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(path.suffix == ".png" for path in (tmp_path / "out").rglob("*"))
