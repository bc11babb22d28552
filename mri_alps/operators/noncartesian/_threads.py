"""Threads of functions that release the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache


def in_threads(run: Callable[[int], None], n_threads: int) -> None:
    """Call run(0) .. run(n_threads - 1) side by side.

    Parameters
    ----------
    run : callable
        Of an index; it releases the GIL while it computes.
    n_threads : int
        How many.
    """
    if n_threads == 1:
        run(0)
        return
    for _ in _pool(os.getpid()).map(run, range(n_threads)):
        pass


@cache
def _pool(process: int) -> ThreadPoolExecutor:  # noqa: ARG001 - what is cached depends on it
    """Return this process' threads; after a fork the parent's are gone."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="mri-alps-nufft")
