"""The compiled kernels: cached where numba finds a place to write, compiled anew where not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

from mri_alps.operators.fused import _kernel as kernel


def _edition() -> str:
    """Return a digest of this folder's sources.

    numba looks at the file of the cached function alone to tell whether its cache is stale.
    """
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    try:
        return numba.njit(cache=True, **kernel.OPTIONS)(function)
    except RuntimeError:  # no folder can be written to
        return numba.njit(**kernel.OPTIONS)(function)


# In the modules' scope: a function in a closure would be part of the cache's key, and is a new
# one in each process.
_line_normal: Any = numba.njit(**kernel.OPTIONS)(kernel.line_normal)
_plane_normal: Any = numba.njit(**kernel.OPTIONS)(kernel.plane_normal)


@cache
def line_kernel() -> Callable[..., None]:
    """Return `kernel.line_normal`, compiled at its first call."""
    return _compiled(_line(_edition()))


@cache
def plane_kernel() -> Callable[..., None]:
    """Return `kernel.plane_normal`, compiled at its first call."""
    return _compiled(_plane(_edition()))


def _line(edition: str) -> Callable[..., None]:
    def line_normal(images, result, strides, maps, rows, axis, work, first, stop, n_coils):
        edition  # noqa: B018 - a variable of the closure is part of the cache's key
        _line_normal(images, result, strides, maps, rows, axis, work, first, stop, n_coils)

    return line_normal


def _plane(edition: str) -> Callable[..., None]:
    def plane_normal(image, maps, rows, along, across, work, first, stop, n_coils):
        edition  # noqa: B018
        _plane_normal(image, maps, rows, along, across, work, first, stop, n_coils)

    return plane_normal
