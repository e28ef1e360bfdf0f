"""Jobs as a person starts them: processes of their own, with a home of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
JOB = ROOT / "jobs" / "sweep_wepadim.py"
TINY = "synthetic:?train=6&test=8&size=64&categories=weave"
SMALL_PARAMS = ("--image-size", "64", "--grid", "8")
JOB_SECONDS = 500
OUTSIDE = ("PYTHONPATH", "RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "MLFLOW_TRACKING_URI", "SUBBAND_HOME")


@dataclass
class Place:
    """Where jobs of one test run and leave results.

    Attributes:
        home: SUBBAND_HOME.
        folder: the current folder of the job; not the checkout.
        extra: further environment variables.
        job: the script that is run.
    """

    home: Path
    folder: Path
    extra: dict[str, str] = field(default_factory=dict)
    job: Path = JOB

    @property
    def environment(self) -> dict[str, str]:
        """The job's environment; nothing of the test run's own Ray, MLflow or import path reaches it."""
        kept = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
        path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "RAY_USAGE_STATS_ENABLED": "0"}
        return {**kept, **quiet, "PATH": path, "COLUMNS": "200", "SUBBAND_HOME": str(self.home), **self.extra}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the job; its output is one text."""
        return subprocess.Popen(
            [sys.executable, str(self.job), *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A test run that was started in the background ignores SIGINT, and so would the job.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run the job to its end: exit status and output."""
        return ended(self.start(*arguments))

    def smoke_training(self, method: str) -> tuple[Path, str]:
        """Where a smoke run of `jobs/train.py` on two workers left its training, and its output."""
        training = replace(self, job=ROOT / "jobs" / "train.py")
        status, output = training.run(method, "--smoke", "--workers", "2", "--name", "first")
        assert status == 0, output
        return self.home / "trainings" / "first", output

    def sweep(self, name: str) -> Path:
        """The folder of a sweep."""
        return self.home / "runs" / name

    def ledger(self, name: str) -> Path:
        """The ledger of a sweep."""
        return self.sweep(name) / "trials.jsonl"


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status and output of a process that is about to end."""
    try:
        output, _ = process.communicate(timeout=JOB_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        pytest.fail(f"the job did not end:\n{output[-4000:]}")
    return process.returncode, output


def wait_for_trials(process: subprocess.Popen[str], ledger: Path, count: int) -> None:
    """Wait until the ledger has so many lines."""
    deadline = time.monotonic() + JOB_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if ledger.exists() and ledger.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    pytest.fail(f"the job never ended {count} trials:\n{process.communicate()[0][-4000:]}")
