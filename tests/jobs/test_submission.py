"""The three ways to start a job: as a script, and submitted to a cluster that has the checkout or only the dependencies.

The clusters are real, with token authentication (Ray's default from 2.61 on), a home and ports of their own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from job_runs import JOB_SECONDS, ROOT, Place

from subband.trials import read_records
from tests.waiting import until


@dataclass
class Cluster:
    """A running head node.

    Attributes:
        address: of its dashboard, for ``ray job``.
        place: whose environment the head was started with; jobs inherit it.
    """

    address: str
    place: Place

    def ray(self, *arguments: str, check: bool = True) -> str:
        """Run the ``ray`` command from the checkout, as a person does; gives its output."""
        done = subprocess.run(
            [Path(sys.executable).with_name("ray"), *arguments],
            cwd=ROOT,
            env={**self.place.environment, "RAY_API_SERVER_ADDRESS": self.address},
            capture_output=True,
            text=True,
            timeout=JOB_SECONDS,
        )
        output = done.stdout + done.stderr
        assert done.returncode == 0 or not check, output[-6000:]
        return output


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now; above the range that Ray gives to workers."""
    with contextlib.ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]


@contextlib.contextmanager
def cluster(started_in: Path) -> Iterator[Cluster]:
    """A head node of 2 CPUs, started in that folder; everything of it ends with the block."""
    folder = Path(
        tempfile.mkdtemp(prefix="sb-")
    )  # short: Ray puts sockets below it, whose paths are limited to 107 bytes
    person = folder / "person"
    (person / ".config").mkdir(parents=True)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    secret = {"HOME": str(person), "RAY_AUTH_MODE": "token", "PYTHONDONTWRITEBYTECODE": "1"}
    place = Place(folder / "home", elsewhere, secret)
    gcs, dashboard, client, agent = free_ports(4)
    found = Cluster(f"http://127.0.0.1:{dashboard}", place)
    found.ray("get-auth-token", "--generate")
    command = [Path(sys.executable).with_name("ray"), "start", "--head", "--block", "--num-cpus=2", f"--port={gcs}"]
    command += [f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}"]
    command += [f"--dashboard-agent-listen-port={agent}", f"--temp-dir={folder / 'ray'}"]
    with (folder / "head.log").open("wb") as log:
        head = subprocess.Popen(
            command, cwd=started_in, env=place.environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_until_up(found, head, folder / "head.log")
        yield found
    finally:
        head.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            head.wait(timeout=30)
        _kill_what_names(folder / "ray")
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_up(found: Cluster, head: subprocess.Popen[bytes], log: Path) -> None:
    def answers() -> bool:
        if head.poll() is not None:
            pytest.fail(f"the cluster did not start:\n{log.read_text()}")
        try:
            with urllib.request.urlopen(f"{found.address}/api/version", timeout=30):
                return True
        except urllib.error.HTTPError:
            return True  # it answers, and asks for the token
        except OSError:
            return False

    until(answers, log.read_text, pause=0.3)


def _kill_what_names(folder: Path) -> None:
    """End what is left of this cluster, and of no other: its processes name its folder."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(process.name) != os.getpid() and str(folder).encode() in (process / "cmdline").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)


def the_only_sweep(place: Place) -> Path:
    (folder,) = (place.home / "runs").iterdir()
    return folder


@pytest.mark.slow
def test_as_a_script_from_another_folder(place, check_ending):
    status, output = place.run("--smoke")
    assert status == 0, output
    check_ending(output)
    folder = the_only_sweep(place)
    assert [record.status for record in read_records(folder)] == ["complete"] * 2
    assert list(place.folder.iterdir()) == [], "the job left files in the current folder"
    assert sorted(path.name for path in (folder / "champions").iterdir()) == ["nut", "weave"]


def test_submitted_with_its_working_dir_to_a_cluster_that_has_only_the_dependencies(tmp_path, check_ending):
    with cluster(tmp_path) as found:
        output = found.ray("job", "submit", "--working-dir", ".", "--", "jobs/sweep_wepadim.py", "--smoke")
        assert "succeeded" in output
        check_ending(output)
        assert [record.status for record in read_records(the_only_sweep(found.place))] == ["complete"] * 2


@pytest.mark.slow
def test_submitted_to_a_cluster_that_has_the_checkout(check_ending):
    with cluster(ROOT) as found:
        output = found.ray("job", "submit", "--", "jobs/sweep_wepadim.py", "--smoke")
        assert "succeeded" in output
        check_ending(output)
        assert [record.status for record in read_records(the_only_sweep(found.place))] == ["complete"] * 2
        shutil.rmtree(found.place.home / "runs")

        # Without "--" and flags: the demo itself, stopped once it has found something.
        submitted = found.ray("job", "submit", "--no-wait", "--submission-id", "demo", "jobs/sweep_wepadim.py")
        assert "demo" in submitted
        until(
            lambda: list(found.place.home.glob("runs/*/trials.jsonl")),
            lambda: found.ray("job", "logs", "demo", check=False),
            pause=0.5,
        )
        found.ray("job", "stop", "demo", check=False)
        output = found.ray("job", "logs", "demo", check=False)
        assert "Traceback" not in output, output
        assert read_records(the_only_sweep(found.place))
