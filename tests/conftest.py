"""What holds for the whole suite."""

import atexit
import os
import shutil
import signal
import tempfile

from subband.compute import raise_start_limits

# Which network `auto` means depends on what is cached and on whether the hub answers: never on this machine. Set before
# anything imports the hubs' libraries, which read these once.
_empty = tempfile.mkdtemp(prefix="subband-no-weights-")
atexit.register(shutil.rmtree, _empty, ignore_errors=True)
os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=f"{_empty}/huggingface", TORCH_HOME=f"{_empty}/torch")


def pytest_configure() -> None:
    """Ray waits longer and Ctrl-C is delivered, in this process and in those it starts.

    A shell that starts a suite in the background sets SIGINT to be ignored, which every child inherits; the tests of
    interruption would then wait for something that cannot come.
    """
    raise_start_limits()
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
