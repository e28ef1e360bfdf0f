"""A Ray Train worker group: one function on N workers that can talk to each other, restarted where one dies.

Everything that is trained, and everything that is fitted on several workers, runs here::

    def work(config):                       # on every worker, with torch.distributed ready (gloo, or nccl with GPUs)
        rank = ray.train.get_context().get_world_rank()
        for epoch in range(config["epochs"]):
            ...
            send({"epoch": epoch})          # rank 0 alone is heard; the driver's `on_message` gets it at once

    result = run_on_workers(work, {"epochs": 3}, name="unique", workers=2, storage=folder, use_gpu=False, on_message=print)
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
import torch
from ray import train
from ray.train.torch import TorchConfig, TorchTrainer

from subband.compute import cluster
from subband.compute.messages import Mailbox, Message
from subband.compute.shares import check_fit
from subband.errors import ClusterError, SubbandError

_log = logging.getLogger(__name__)
Function = Callable[[dict[str, Any]], Any]

STARTS = 10
"""How often a group that does not start within Ray's patience (a minute) is tried again before that is an error."""
_LISTEN_SECONDS = 0.2
_LAST_WORDS_SECONDS = 5.0


def run_on_workers(
    function: Function,
    config: dict[str, Any],
    *,
    name: str,
    workers: int,
    storage: Path,
    use_gpu: bool,
    cpus_per_worker: int = 1,
    max_failures: int = 0,
    keep: train.CheckpointConfig | None = None,
    callbacks: Sequence[train.UserCallback] = (),
    on_message: Callable[[Message], None] | None = None,
) -> train.Result:
    """Run a function on N workers at the same time and wait until all have returned.

    Life cycle: Ray is connected if it is not. The group starts, or an error says why it cannot, before anything waits. A worker
    that raises or dies ends the attempt of all; while `max_failures` allows it, all start again, and `ray.train.get_checkpoint()`
    gives them the last checkpoint that they reported.

    Args:
        function: called with `config` on every worker; torch.distributed is set up, and torch has `cpus_per_worker` threads.
        config: plain values.
        name: of the run. The run of that name in `storage`, if there is one, is continued from its last checkpoint: give a new
            name to what is new.
        workers: how many; at least 1.
        storage: folder of runs and their checkpoints. On a cluster every machine must see it.
        use_gpu: whether each worker has a GPU for itself (nccl); otherwise none (gloo).
        cpus_per_worker: processors reserved for each.
        max_failures: attempts after the first.
        keep: which checkpoints are kept; by default all.
        callbacks: Ray Train's, called in its controller (`TuneReportCallback` in a trial).
        on_message: called in a thread of this process with each message that rank 0 sends, in order, while they run. What it
            raises ends nothing: the first error is logged as a warning, and the next messages come.

    Returns:
        Ray's result: rank 0's `return_value`, the checkpoints, and the metrics of the last one.

    Raises:
        ParamsError: more workers, processors or GPUs than the cluster has.
        SubbandError: the one that a worker raised; of several, the lowest rank's.
        ClusterError: a worker raised something else or died, once too often; or the group did not start.
        KeyboardInterrupt: SIGINT or SIGTERM arrived; the workers have been ended.
    """
    cluster.connect()
    check_fit(workers, cpus_per_worker, use_gpu)
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    messages = ray.remote(Mailbox).options(num_cpus=0).remote() if on_message else None

    def work(given: dict[str, Any]) -> Any:
        return _work(function, given, cpus_per_worker, messages)

    v2: Any = train  # at run time it gives the classes of Train V2; type checkers see those of the first version
    trainer = TorchTrainer(
        work,
        train_loop_config=config,
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
        scaling_config=v2.ScalingConfig(
            num_workers=workers,
            use_gpu=use_gpu,
            resources_per_worker={"CPU": cpus_per_worker, **({"GPU": 1} if use_gpu else {})},
        ),
        run_config=v2.RunConfig(
            name=name,
            storage_path=str(storage.expanduser().absolute()),
            failure_config=v2.FailureConfig(max_failures=max_failures, controller_failure_limit=STARTS),
            checkpoint_config=keep or v2.CheckpointConfig(),
            callbacks=[*callbacks],
            logging_config=v2.LoggingConfig(log_level="ERROR"),
        ),
    )
    with _heard(messages, on_message), _interruptible():
        try:
            return trainer.fit()
        except train.TrainingFailedError as error:
            raise _as_ours(error, workers) from error
        except ray.exceptions.RayActorError as death:
            raise ClusterError(f"Ray Train's controller of {name} died: {_first_line(death)}") from death


def send(message: Message) -> None:
    """Tell the driver something, from a worker's function. Only what rank 0 sends is heard; it costs no waiting.

    Args:
        message: a plain dict. Nothing happens to it where no driver listens, or none is left.
    """
    if _mailbox is not None and train.get_context().get_world_rank() == 0:
        with contextlib.suppress(ray.exceptions.RayError):
            _mailbox.put.remote(dict(message))


_mailbox: Any = None


def _work(function: Function, config: dict[str, Any], threads: int, messages: Any) -> Any:
    """What runs on a worker."""
    global _mailbox
    torch.set_num_threads(threads)
    _mailbox = messages
    try:
        return function(config)
    finally:
        # The worker ends with its function. An actor answers in order: behind this answer, all that was sent has arrived.
        if messages is not None:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.get(messages.put.remote({}), timeout=_LAST_WORDS_SECONDS)


@contextlib.contextmanager
def _heard(messages: Any, on_message: Callable[[Message], None] | None) -> Iterator[None]:
    """Pass messages on while the block runs, and those that are left when it ends; what `on_message` raises is logged once."""
    if on_message is None:
        yield
        return
    over = threading.Event()
    warned = threading.Event()

    def listen() -> None:
        try:
            while not over.wait(_LISTEN_SECONDS):
                pass_on()
            pass_on()
        except ray.exceptions.RayError:
            pass  # the mailbox's machine is gone: progress is lost, the work is not

    def pass_on() -> None:
        for message in filter(None, ray.get(messages.take.remote())):
            try:
                on_message(message)
            except (
                Exception
            ) as problem:  # a full disk, for instance: the work and its result are worth more than its progress
                if not warned.is_set():
                    _log.warning("progress of the workers is not kept in full: %s: %s", type(problem).__name__, problem)
                warned.set()

    listener = threading.Thread(target=listen, name="messages of workers", daemon=True)
    listener.start()
    try:
        yield
    finally:
        over.set()
        listener.join()
        ray.kill(messages)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGINT and SIGTERM end the run in order, and come out as KeyboardInterrupt; the process gets its handlers back.

    Ray Train puts its own handler of SIGINT in the place of the process's: it ends the workers and then raises SystemExit. It knows
    nothing of SIGTERM, which `ray job stop` and cluster managers send.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # a Tune trial: Tune ends it
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    except SystemExit as ended:
        raise KeyboardInterrupt from ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _as_ours(error: Exception, workers: int) -> SubbandError:
    failures = getattr(error, "worker_failures", None) or {}
    causes = {f"worker {rank + 1} of {workers}": _cause(failure) for rank, failure in sorted(failures.items())}
    # A worker that waits for one that has raised sees only that the connection broke.
    for cause in causes.values():
        if isinstance(cause, SubbandError):
            return cause
    who, cause = next(iter(causes.items()), (f"one of {workers} workers", _cause(error)))
    if isinstance(cause, ray.exceptions.RayActorError):
        return ClusterError(
            f"{who} died: its machine did, or memory ran out; fewer workers on a machine, or smaller batches, may help"
        )
    if not failures:
        return ClusterError(f"the group of {workers} workers did not start: {_first_line(cause)}")
    return ClusterError(f"{who} failed: {type(cause).__name__}: {_first_line(cause)}")


def _cause(failure: BaseException) -> BaseException:
    """What was raised on the worker, out of what Ray wraps it in."""
    for name in ("_base_exc", "cause", "health_check_failure", "controller_failure"):
        inner = getattr(failure, name, None)
        if isinstance(inner, BaseException):
            return _cause(inner)
    return failure


def _first_line(error: object) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
