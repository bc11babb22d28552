"""Non-uniform Fourier transforms by finufft, always computed in double precision on the CPU.

In single precision the points alone, rounded, cost an error of 1e-5 at 256 pixels; in double the
coarser grid (``upsampfac`` 1.25) is enough for 1e-7 and is faster. A^H A, the hot path, does not
come here.

Source: Barnett, Magland, af Klinteberg, SIAM J Sci Comput 41:C479 (2019).
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch

from mri_alps.core.optional import require
from mri_alps.operators.noncartesian._threads import in_threads

# finufft's tolerance and the refinement of its grid. More than 1e-9 needs the finer grid.
_SINGLE, _DOUBLE = (1e-7, 1.25), (1e-12, 2.0)
_FORWARD, _ADJOINT = (2, -1), (1, 1)  # finufft's type and the sign of the exponent


def finufft() -> Any:
    """Import finufft.

    Raises
    ------
    MissingDependencyError
        If it is not installed.
    """
    return require("finufft", "sampling along a trajectory", "noncartesian")


class Nufft:
    """y_j = sum_n x(n) exp(-2 pi i sum_a k_ja n_a / N_a), n_a from -(N_a // 2), and its adjoint.

    Every transform runs on one thread with a plan for one image; images are spread over torch's
    threads. So results are the same bit for bit at any number of threads and in any batch.

    Parameters
    ----------
    trajectory : torch.Tensor
        Double, (n_points, 2 or 3), cycles per field of view, in the order of the image axes.
    shape : tuple of int
        Image shape N.
    dtype : torch.dtype
        Of the images; complex64 asks for an error of 1e-7, complex128 for 1e-12.
    """

    def __init__(self, trajectory: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype):
        self.shape, self.n_points = tuple(shape), len(trajectory)
        self._tolerance = _SINGLE if dtype == torch.complex64 else _DOUBLE
        self._points = [_radians(k, n) for k, n in zip(trajectory.T, shape, strict=True)]
        self._idle: dict[tuple[int, int], list[Any]] = {_FORWARD: [], _ADJOINT: []}
        self._lock = threading.Lock()
        finufft()  # absent: told here, not in the middle of the work

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform images.

        Parameters
        ----------
        x : torch.Tensor
            Complex, (n, *shape).
        """
        return _Transform.apply(x, self, _FORWARD)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Apply the adjoint.

        Parameters
        ----------
        y : torch.Tensor
            Complex, (n, n_points).
        """
        return _Transform.apply(y, self, _ADJOINT)

    def apply(self, x: torch.Tensor, kind: tuple[int, int]) -> torch.Tensor:
        """Transform without a derivative; the result has the dtype and device of `x`.

        Parameters
        ----------
        x : torch.Tensor
            Complex, (n, *shape) or (n, n_points).
        kind : tuple of int
            finufft's type and the sign of the exponent.
        """
        given = x.detach().cpu().to(torch.complex128).resolve_conj().contiguous().numpy()
        found = np.empty((len(x), *(self.shape if kind == _ADJOINT else (self.n_points,))), complex)
        n_threads = max(1, min(torch.get_num_threads(), len(x)))

        def run(thread: int) -> None:
            plan = self._take(kind)
            for i in range(thread, len(x), n_threads):
                plan.execute(given[i], out=found[i])
            self._idle[kind].append(plan)

        in_threads(run, n_threads)
        return torch.from_numpy(found).to(device=x.device, dtype=x.dtype)

    def _take(self, kind: tuple[int, int]) -> Any:
        """Return a plan that no other thread uses, made if there is none."""
        with self._lock:
            if self._idle[kind]:
                return self._idle[kind].pop()
            tolerance, refinement = self._tolerance
            plan = finufft().Plan(
                kind[0],
                self.shape,
                eps=tolerance,
                isign=kind[1],
                dtype="complex128",
                nthreads=1,
                upsampfac=refinement,
            )
            plan.setpts(*self._points)
            return plan


class _Transform(torch.autograd.Function):
    """A transform with its derivatives: each kind is the other's adjoint."""

    @staticmethod
    def forward(x: torch.Tensor, nufft: Nufft, kind: tuple[int, int]) -> torch.Tensor:
        return nufft.apply(x, kind)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _: torch.Tensor) -> None:
        ctx.nufft, ctx.kind = inputs[1:]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        other = _ADJOINT if ctx.kind == _FORWARD else _FORWARD
        return _Transform.apply(gradient, ctx.nufft, other), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: torch.Tensor, *_: None) -> torch.Tensor:
        return _Transform.apply(tangent, ctx.nufft, ctx.kind)

    @staticmethod
    def vmap(
        _: Any, in_dims: tuple[Any, ...], x: torch.Tensor, nufft: Nufft, kind: tuple[int, int]
    ) -> tuple[torch.Tensor, int]:
        moved = x.movedim(in_dims[0], 0)
        found = _Transform.apply(moved.flatten(0, 1), nufft, kind)
        return found.unflatten(0, moved.shape[:2]), 0


def _radians(k: torch.Tensor, n: int) -> np.ndarray:
    """Return 2 pi k / n in [-pi, pi), reduced before the factor pi is rounded."""
    turns = k.double() / n
    return ((turns - (turns + 0.5).floor()) * (2 * torch.pi)).contiguous().numpy()
