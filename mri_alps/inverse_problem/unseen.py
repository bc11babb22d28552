"""Pixels that no coil sees, for the solver of `mri_alps.inverse_problem.covariance`.

S = A^H A / noise_std^2 + F is F alone between such pixels, and what data say of their neighbours
is worth more than F by orders of magnitude at a low noise: an approximation of S^-1 that is flat in
them is wrong in most directions that are left free. Their part of F, F_u, is solved itself, by a
few steps of Chebyshev's iteration preconditioned by the same part of F^-1. With B that approximate
solution and P any other one,

    P' = B + (1 - B S) P (1 - S B) + B - B S B

treats one after the other; since A ignores the pixels, S B = F B and B S = B F, at the cost of
Fourier transforms alone. P' is positive definite where B < 2 F_u^-1, which bounds on the spectrum
ensure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mri_alps.inverse_problem.preconditioner import Inverse, to_image, to_spectrum

if TYPE_CHECKING:
    from mri_alps.inverse_problem.problem import Problem

CHEBYSHEV_STEPS = 3
"""More save few iterations and cost more than those."""
POWER_ITERATIONS = 24
"""Where unseen pixels fall into parts of which one alone has the largest eigenvalue, 8 find that of
another one, 0.71 of it in a simulated scan, and the approximate inverse is not positive."""
MARGIN = 1.3
"""Of the largest eigenvalue, whose estimate is too small: by 21 % at most after so many."""


class UnseenPixels:
    """What no coil sees of an image.

    Parameters
    ----------
    problem : Problem
        The data term.
    unseen : torch.Tensor
        Bool, (*domain_shape).
    """

    def __init__(self, problem: Problem, unseen: torch.Tensor):
        self._problem = problem
        self._mask = unseen.to(problem.device, problem.noise_std.dtype)
        generator = torch.Generator().manual_seed(0)
        start = torch.randn(problem.domain_shape, generator=generator, dtype=torch.float64)
        self._start = start.to(self._mask)[None].to(problem.dtype) * self._mask

    def around(self, inverse: Inverse, fisher: torch.Tensor) -> Inverse:
        """Return P' of an approximate inverse P.

        Parameters
        ----------
        inverse : callable
            P.
        fisher : torch.Tensor
            F, (*image_shape), positive, in the order of torch.fft.
        """
        coefficients = self._coefficients(self._largest(fisher))

        def improved(spectrum: torch.Tensor) -> torch.Tensor:
            first = self._solve(spectrum, fisher, coefficients)
            found = inverse(spectrum - fisher * first).add_(first)
            return found.add_(self._solve(spectrum - fisher * found, fisher, coefficients))

        return improved

    def _solve(
        self,
        spectrum: torch.Tensor,
        fisher: torch.Tensor,
        coefficients: list[tuple[torch.Tensor, torch.Tensor]],
    ) -> torch.Tensor:
        """B: Chebyshev's iteration for F_u x = b, from zero; spectra."""
        target = to_image(spectrum, self._problem) * self._mask
        covariance = 1 / fisher
        x = move = coefficients[0][1] * self._restricted(target, covariance)
        for kept, step in coefficients[1:]:
            residual = target - self._restricted(x, fisher)
            move = kept * move + step * self._restricted(residual, covariance)
            x = x + move
        return to_spectrum(x, self._problem)

    def _restricted(self, image: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        spectrum = to_spectrum(image, self._problem) * weight
        return to_image(spectrum, self._problem) * self._mask

    def _largest(self, fisher: torch.Tensor) -> torch.Tensor:
        """Upper bound on the eigenvalues of F_u times that part of F^-1; none is below 1."""
        x, largest = self._start, self._start.real.new_ones(())
        for _ in range(POWER_ITERATIONS):
            y = self._restricted(self._restricted(x, fisher), 1 / fisher)
            largest = torch.linalg.vector_norm(y) / torch.linalg.vector_norm(x)
            x = y / torch.linalg.vector_norm(y)
        return MARGIN * largest.clamp_min(1.0)

    @staticmethod
    def _coefficients(largest: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """What each step keeps of the last one, and its length, for eigenvalues from 1 on."""
        center, half = (largest + 1) / 2, (largest - 1) / 2
        ratio = half / center
        found = [(torch.zeros_like(center), 1 / center)]
        for _ in range(CHEBYSHEV_STEPS - 1):
            following = 1 / (2 * center / half - ratio)
            found.append((following * ratio, 2 * following / half))
            ratio = following
        return found


def find_unseen(problem: Problem) -> UnseenPixels | None:
    """Return the pixels that the operator says no coil sees, or None where there are none.

    Parameters
    ----------
    problem : Problem
        The data term. Its operator may have `unseen`, bool (*domain_shape).
    """
    unseen = getattr(problem.operator, "unseen", None)
    if unseen is None or problem.n_sets is not None or not bool(unseen.any()):
        return None
    return UnseenPixels(problem, unseen)
