"""What other processes do to a store; module-level, so that a spawned process can import it."""

import multiprocessing
import os
import resource
import time
from pathlib import Path

import numpy as np

from subband.errors import StoreError
from subband.stages import Store

KEY = "ab" * 20
VALUES = np.arange(50_000, dtype=np.float32).reshape(-1, 5)

spawn = multiprocessing.get_context("spawn")


def compute_once(folder, log, barrier, answers):
    """Ask for KEY at the same moment as the other workers, and say whether this one computed it."""

    def compute():
        with Path(log).open("a") as lines:
            lines.write(f"{os.getpid()}\n")
        time.sleep(0.3)  # long enough for every other worker to find the lock taken
        yield {"rows": VALUES}

    store = Store(folder)
    barrier.wait()
    entry, computed = store.get_or_compute(KEY, compute, {"stage": "slow"})
    answers.put((computed, float(entry.array("rows").sum()), not entry.array("rows").flags.owndata))


def hang_while_writing(folder, started):
    """Write one chunk of KEY and never come to an end."""

    def compute():
        yield {"rows": VALUES}
        started.set()
        time.sleep(600)
        yield {"rows": VALUES}

    Store(folder).get_or_compute(KEY, compute, {"stage": "hangs"})


def fill_the_disk(folder, chunk, answers):
    """Write chunks under a limit of 100 kB a file, as a full disk would stop them; then something small."""
    store = Store(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        store.get_or_compute(KEY, lambda: (chunk for _ in range(10)), {"stage": "large"})
        answers.put("no error")
    except StoreError as error:
        answers.put(str(error))
    entry, computed = store.get_or_compute("cd" * 20, lambda: [{"rows": VALUES[:10]}], {})
    answers.put((computed, entry.array("rows").tolist() == VALUES[:10].tolist()))


def run(target, *arguments):
    """A started process of its own."""
    process = spawn.Process(target=target, args=arguments)
    process.start()
    return process
