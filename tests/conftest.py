"""What holds for the whole suite."""

import signal


def pytest_configure() -> None:
    """Ctrl-C is delivered, to this process and to those it starts.

    A shell that starts a suite in the background sets SIGINT to be ignored, which every child inherits; the tests of
    interruption would then wait for something that cannot come.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
