"""Threads and work space of the compiled kernels."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    import numpy as np


def work_space(n: int, dtype: np.dtype) -> np.ndarray:
    """Return uninitialised space from torch, which aligns it to 64 bytes."""
    return torch.empty(n, dtype=torch.float64 if dtype.itemsize == 8 else torch.float32).numpy()


def in_threads(run: Callable[[int], None], n_threads: int) -> None:
    """Call run(0) .. run(n_threads - 1) side by side; the kernels release the GIL."""
    if n_threads == 1:
        run(0)
        return
    for _ in _pool(os.getpid()).map(run, range(n_threads)):
        pass


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Return this process' threads; after a fork the parent's are gone."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="mri-alps-normal")
