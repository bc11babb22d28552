"""Approximations of (A^H A / noise_std^2 + F)^-1, for the solver of `inverse_problem.covariance`.

F is diagonal in the Fourier domain. The solver is exact whatever the approximation is, to a
tolerance that it measures with it: it has to be near in every direction, the widest ones too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch

from mri_alps.core.fourier import fftc

if TYPE_CHECKING:
    from mri_alps.inverse_problem.noise import ChainNoise
    from mri_alps.inverse_problem.problem import Problem
    from mri_alps.operators.lines import LineBands, LineFactors, SetsLineFactors, SharedLines

WIDE = 30.0
"""Ratio of the largest to the smallest F from which it is treated band by band."""
LINE_ITERATIONS, FOURIER_ITERATIONS = 200, 400
"""Most iterations of a solution: what is not solved then is counted, and warned of."""
FOURIER_UNDERSTATES = 100.0
"""Of the error in the widest directions, where points leave low frequencies unmeasured."""
PIXELS_UNDERSTATE = 1e4
"""The same where pixels are missing: nothing of it is seen by the diagonal, which is flat."""
BANDLESS_UNDERSTATES = 10.0
"""Of the error of lines without bands, as of several sets of maps."""
_FLAT = 1.01

Inverse = Callable[[torch.Tensor], torch.Tensor]
"""From the spectrum of an image, (n, *domain_shape) in the order of torch.fft, to that of the
approximate inverse times it."""


class Preconditioner(Protocol):
    """Approximates (A^H A / noise_std^2 + F)^-1 at any F and noise_std.

    Attributes
    ----------
    max_iterations : int
        Most iterations of a solution.
    understates : float
        How many times the error of a solution is larger than it says.
    """

    max_iterations: int
    understates: float

    def at(self, fisher: torch.Tensor, noise_std: torch.Tensor, wide: bool) -> Inverse:
        """Return the approximate inverse.

        Parameters
        ----------
        fisher : torch.Tensor
            F, (*image_shape), positive, in the order of torch.fft.
        noise_std : torch.Tensor
            Per real component, () or (B, 1, ...).
        wide : bool
            Whether F varies by more than `WIDE`.
        """

    def data_noise(self, noise: ChainNoise) -> torch.Tensor:
        """Draw noise of the covariance A^H A, (n, *domain_shape).

        Parameters
        ----------
        noise : ChainNoise
            The chains' randomness.
        """


class FourierPreconditioner:
    """Diagonal in the Fourier domain: for operators of which nothing else is known.

    Parameters
    ----------
    problem : Problem
        The data term.
    """

    max_iterations = FOURIER_ITERATIONS

    def __init__(self, problem: Problem):
        self._problem = problem
        self._diagonal = torch.fft.ifftshift(fourier_diagonal(problem), dim=problem.dims)
        is_flat = bool(self._diagonal.max() < _FLAT * self._diagonal.min())
        self.understates = PIXELS_UNDERSTATE if is_flat else FOURIER_UNDERSTATES

    def at(self, fisher: torch.Tensor, noise_std: torch.Tensor, wide: bool) -> Inverse:  # noqa: ARG002
        """Return the approximate inverse.

        Parameters
        ----------
        fisher : torch.Tensor
            F, (*image_shape), positive, in the order of torch.fft.
        noise_std : torch.Tensor
            Per real component, () or (B, 1, ...).
        wide : bool
            Whether F varies by more than `WIDE`.
        """
        inverse = 1 / (self._diagonal / noise_std**2 + fisher)
        return lambda spectrum: spectrum * inverse

    def data_noise(self, noise: ChainNoise) -> torch.Tensor:
        """A^H n, n white.

        Parameters
        ----------
        noise : ChainNoise
            The chains' randomness.
        """
        return self._problem.adjoint(noise.data())


class LinePreconditioner:
    """D U (L / noise_std^2 + f)^-1 U^H D for masks of whole lines, and bands where F is wide.

    There A^H A couples only the pixels of one image line: each line has a small dense matrix
    U L U^H, decomposed once for all levels. D, diagonal in the Fourier domain, corrects for f
    being one number where F depends on the frequency. Where F varies much that is too rough at
    low frequencies across the lines, which `mri_alps.operators.lines.bands` then takes over.

    Parameters
    ----------
    problem : Problem
        The data term.
    factors : LineFactors, SharedLines or SetsLineFactors
        Of its operator.
    bands : LineBands or None
        Of its operator; of several sets of maps, which bands would not couple, there are none.
    """

    def __init__(
        self,
        problem: Problem,
        factors: LineFactors | SharedLines | SetsLineFactors,
        bands: LineBands | None,
    ):
        self._problem, self._factors, self._bands = problem, factors, bands
        self.understates = BANDLESS_UNDERSTATES if bands is None else 1.0
        self.max_iterations = FOURIER_ITERATIONS if bands is None else LINE_ITERATIONS
        self._diagonal = torch.fft.ifftshift(fourier_diagonal(problem), dim=problem.dims)

    def at(self, fisher: torch.Tensor, noise_std: torch.Tensor, wide: bool) -> Inverse:
        """Return the approximate inverse.

        Parameters
        ----------
        fisher : torch.Tensor
            F, (*image_shape), positive, in the order of torch.fft.
        noise_std : torch.Tensor
            Per real component, () or (B, 1, ...).
        wide : bool
            Whether F varies by more than `WIDE`.
        """
        problem, factors = self._problem, self._factors
        flat = fisher.log().mean().exp()
        per_value = noise_std.flatten()[factors.slice_of_value] if noise_std.ndim else noise_std
        weights, outside = 1 / (factors.values / per_value**2 + flat), (1 / flat, 1 / flat)
        data = self._diagonal / noise_std**2
        correction = ((data + flat) / (data + fisher)).sqrt()
        banded = None
        if wide and self._bands is not None:
            banded = self._bands.at(fisher, 1 / noise_std.flatten() ** 2, data)
            correction = correction * self._bands.rest

        def inverse(spectrum: torch.Tensor) -> torch.Tensor:
            image = to_image(spectrum * correction, problem)
            filtered = factors.filter(image, None, weights, weights, outside)
            found = to_spectrum(filtered, problem).mul_(correction)
            return found if banded is None else found.add_(banded.apply_to_spectrum(spectrum))

        return inverse

    def data_noise(self, noise: ChainNoise) -> torch.Tensor:
        """U L^(1/2) U^H z: less work than noise of all coils.

        Parameters
        ----------
        noise : ChainNoise
            The chains' randomness.
        """
        if not self._factors.exact:
            return self._problem.adjoint(noise.data())
        draw_noise = getattr(self._factors, "draw_noise", None)
        if draw_noise is not None:  # eigenvectors are not those of every line
            return draw_noise(noise.of_shape)
        z, weights = noise.image(), self._factors.values.sqrt()
        nothing = weights.new_zeros(())
        return self._factors.filter(z, None, weights, weights, (nothing, nothing))


def to_spectrum(x: torch.Tensor, problem: Problem) -> torch.Tensor:
    """Return the Fourier transform of images, not normalised, in the order of torch.fft.

    Parameters
    ----------
    x : torch.Tensor
        (n, *domain_shape).
    problem : Problem
        For the image axes.
    """
    return torch.fft.fftn(x, dim=problem.dims)


def to_image(spectrum: torch.Tensor, problem: Problem) -> torch.Tensor:
    """Return the images of spectra from `to_spectrum`.

    Parameters
    ----------
    spectrum : torch.Tensor
        (n, *domain_shape).
    problem : Problem
        For the image axes, and whether images are real.
    """
    found = torch.fft.ifftn(spectrum, dim=problem.dims)
    return found if problem.dtype.is_complex else found.real


def make_preconditioner(problem: Problem) -> Preconditioner:
    """Choose what the operator allows: per line, or diagonal in the Fourier domain.

    Parameters
    ----------
    problem : Problem
        The data term. Its operator may offer `line_factors()` and `line_bands()`, which return
        what `mri_alps.operators.lines` has of these names, or None.
    """
    offered = [getattr(problem.operator, name, None) for name in ("line_factors", "line_bands")]
    factors, bands = (None if offer is None else offer() for offer in offered)
    if factors is not None and (bands is not None or problem.n_sets is not None):
        return LinePreconditioner(problem, factors, bands)
    return FourierPreconditioner(problem)


def fourier_diagonal(problem: Problem, n_probes: int = 16) -> torch.Tensor:
    """Diagonal of A^H A in the Fourier basis, (*domain_shape), real, not negative.

    Taken from the operator's `normal_fourier_diagonal()` where it has one, otherwise estimated
    from the response to random signs, z^H A^H A z (Hutchinson's estimator).

    Parameters
    ----------
    problem : Problem
        Holds the operator.
    n_probes : int
        Number of random images.
    """
    exact: Callable[[], torch.Tensor] | None = getattr(
        problem.operator, "normal_fourier_diagonal", None
    )
    if exact is not None:
        return exact().to(problem.noise_std.dtype)
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(problem.domain_shape, dtype=torch.float64, device=problem.device)
    for _ in range(n_probes):
        signs = torch.randint(0, 2, problem.domain_shape, generator=generator) * 2.0 - 1
        probe = signs.to(device=problem.device, dtype=problem.dtype)
        response = problem.normal(probe[None])[0].to(torch.complex128)
        spectrum = fftc(probe.to(torch.complex128), problem.dims)
        total += (spectrum.conj() * fftc(response, problem.dims)).real
    return (total / n_probes).clamp_min(0).to(problem.noise_std.dtype)
