"""Waiting for what a test needs, however slow or busy the machine."""

import time

LONG = 600.0
"""Seconds after which something hangs: it ends a test that would never end, and decides nothing."""


def until(condition):
    """Wait until `condition()` is true in the sense of Python, and return what it returned."""
    deadline = time.monotonic() + LONG
    while not (found := condition()):
        assert time.monotonic() < deadline, "this has hung: what is waited for did not come"
        time.sleep(0.005)
    return found
