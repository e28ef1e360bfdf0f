"""Groups of real Ray Train workers: they talk to each other, their failures come out as ours, the dead are replaced."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from subband.errors import ClusterError, DataError, ParamsError
from tests.waiting import PATIENCE

pytest.importorskip("ray")
pytestmark = pytest.mark.usefixtures("local_ray")


def run(function, storage, name, **options):
    from subband.compute.group import run_on_workers

    return run_on_workers(function, {"start": 5}, name=name, storage=storage, use_gpu=False, **options)


def test_workers_reduce_together_and_rank_0_is_heard_in_order(tmp_path):
    def work(config):
        import torch
        from ray import train

        from subband.compute.group import send

        rank = train.get_context().get_world_rank()
        total = torch.tensor([config["start"] + rank])
        torch.distributed.all_reduce(total)
        for step in range(50):
            send({"rank": rank, "step": step})
        return int(total), str(Path.cwd()), torch.get_num_threads()

    heard = []
    result = run(work, tmp_path, "reduce", workers=2, on_message=heard.append)
    assert result.return_value == (11, str(Path.cwd()), 1)
    assert heard == [{"rank": 0, "step": step} for step in range(50)]


def test_a_dead_worker_is_replaced_with_its_checkpoint_and_what_one_raises_comes_out(tmp_path):
    def work(config):
        import tempfile

        import torch
        from ray import train

        rank, before = train.get_context().get_world_rank(), train.get_checkpoint()
        if before is None:
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "note").write_text(f"left by {rank}")
                train.report({"loss": 1.0}, checkpoint=train.Checkpoint.from_directory(folder) if rank == 0 else None)
            for _ in range(2):  # a report waits until the controller has taken the one before: the first is kept by now
                train.report({"loss": 1.0})
            if rank == 1:
                os._exit(1)
        elif rank == 1:
            with before.as_directory() as folder:
                raise DataError(f"the note says {(Path(folder) / 'note').read_text()}")
        torch.distributed.all_reduce(torch.ones(1))  # rank 0 waits here for the other, and sees the connection break

    with pytest.raises(DataError, match=r"^the note says left by 0$"):
        run(work, tmp_path, "restarted", workers=2, max_failures=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fail", "message"),
    [
        (lambda: {}["lost"], "worker 1 of 1 failed: KeyError: 'lost'"),
        (lambda: os._exit(1), "workers? died: its machine did"),
        (lambda: (time.sleep(2), os._exit(1)), "worker 1 of 1 died: its machine did"),
    ],
    ids=["a bug", "death at the start", "death later"],
)
def test_other_failures_name_the_worker(tmp_path, fail, message):
    with pytest.raises(ClusterError, match=message):
        run(lambda config: fail(), tmp_path, "failing", workers=1)


@pytest.mark.slow
def test_a_listener_that_fails_loses_neither_the_next_messages_nor_the_result(tmp_path, caplog):
    def work(config):
        from subband.compute.group import send

        for step in range(3):
            send({"step": step})
        return "done"

    heard = []

    def full(message):
        heard.append(message["step"])
        if message["step"] < 2:
            raise OSError(f"no space left for step {message['step']}")

    assert run(work, tmp_path, "unheard", workers=1, on_message=full).return_value == "done"
    assert heard == [0, 1, 2]
    warnings = [record.getMessage() for record in caplog.records if record.name == "subband.compute.group"]
    assert warnings == ["progress of the workers is not kept in full: OSError: no space left for step 0"]


@pytest.mark.parametrize(
    ("cpus", "gpus", "workers", "each"),
    [
        ((8,), (0,), 2, 4),
        ((6, 2), (0, 0), 2, 3),
        ((16, 4, 4), (0, 0, 0), 4, 4),
        ((5, 5, 5), (0, 0, 0), 4, 2),
        ((16, 2), (1, 1), 2, 2),
        ((2,), (0,), 4, 1),
    ],
)
def test_processors_are_divided_in_whole_workers_on_each_machine(cpus, gpus, workers, each):
    from subband.compute.shares import _equal_cpus

    nodes = [{"CPU": cpu, "GPU": gpu} for cpu, gpu in zip(cpus, gpus, strict=True)]
    assert _equal_cpus(nodes, workers, gpu=any(gpus)) == each


def test_a_group_that_would_wait_for_ever_is_refused():
    import ray

    from subband.compute.shares import check_fit

    cpus = int(ray.cluster_resources()["CPU"])
    check_fit(cpus, 1, use_gpu=False)
    with pytest.raises(ParamsError, match=f"the cluster has {cpus} CPUs on 1 machines; give at most {cpus} workers"):
        check_fit(cpus + 1, 1, use_gpu=False)
    with pytest.raises(ParamsError, match=f"the widest of the cluster has {cpus}; give at most so many"):
        check_fit(1, cpus + 1, use_gpu=False)
    gpus = int(ray.cluster_resources().get("GPU", 0))
    with pytest.raises(ParamsError, match=f"the cluster has {gpus} GPUs"):
        check_fit(gpus + 1, 1, use_gpu=True)
    with pytest.raises(ParamsError, match="workers 0: give at least 1"):
        check_fit(0, 1, use_gpu=False)


def test_the_processors_of_the_trial_that_starts_the_group_do_not_count():
    import ray

    from subband.compute.shares import check_fit

    cpus = int(ray.cluster_resources()["CPU"])

    def trial():
        check_fit(cpus, 1, use_gpu=False)

    with pytest.raises(ParamsError, match=f"{cpus} CPUs, 1 of which this trial itself holds"):
        ray.get(ray.remote(num_cpus=1)(trial).remote())


INTERRUPTED = """
import sys, time
from pathlib import Path
from subband.compute.group import run_on_workers, send

def work(config):
    from subband.compute.group import send
    send({"pid": __import__("os").getpid()})
    time.sleep(600)

try:
    run_on_workers(work, {}, name="long", workers=1, storage=Path(sys.argv[1]), use_gpu=False,
                   on_message=lambda message: print(message["pid"], flush=True))
except KeyboardInterrupt:
    import ray
    free = 0
    while free < ray.cluster_resources()["CPU"]:
        time.sleep(0.1)
        free = ray.available_resources().get("CPU", 0)
    print("interrupted", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_workers_and_is_a_keyboard_interrupt(tmp_path, number):
    paths = os.pathsep.join(str(Path.cwd() / part) for part in ("platform", "."))
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )
    worker = int(process.stdout.readline())
    process.send_signal(number)
    out, _ = process.communicate(timeout=PATIENCE)
    assert out.strip() == "interrupted"
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
