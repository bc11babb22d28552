"""How much a single point of k-space would tell: for scans with two phase encodes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from mri_alps.core.crop import center_crop
from mri_alps.core.errors import ConfigurationError
from mri_alps.core.fourier import fftc
from mri_alps.masks.design.information import log_determinants, noisy_factor

_KERNEL_ENERGY = 0.999  # of the maps' spectrum within the kernel
_LARGEST_REACH = 4
_LEAST_LEFT = 1e-6  # of a frequency's variance: so that a point can be taken back


class PointInformation:
    """Posterior that is a spectrum: independent frequencies, each with its own variance.

    A coil measures at a point the frequencies around it, weighted by the spectrum of its
    sensitivity. A pick lowers the variance of all frequencies under that kernel as Gaussian
    conditioning does, but leaves them independent: the correlations that it brings about
    are dropped, which keeps every variance positive and costs next to nothing per pick.

    Parameters
    ----------
    spectrum : torch.Tensor
        Real (H, W), variance of every frequency per real component, centred.
    maps : torch.Tensor
        Complex (coils, H, W), whitened sensitivities.
    noise_std : float
        Per real component.
    objective : {"information", "error"}
        What a point is worth: nats of information, or of the logarithm of the expected squared
        error, by which that falls.
    """

    def __init__(
        self,
        spectrum: torch.Tensor,
        maps: torch.Tensor,
        noise_std: float,
        objective: str = "information",
    ):
        self._by_error = objective == "error"
        self._shape = (spectrum.shape[0], spectrum.shape[1])
        self._noise_variance = float(noise_std) ** 2
        self._spectrum = spectrum.clone().contiguous()
        kernel, self._reach = coil_kernel(maps)
        self._kernel = kernel.flatten(1).mT  # (window, coils): coil weights of each frequency
        self._gains = torch.zeros_like(self._spectrum).flatten()
        self._stale = torch.ones_like(self._gains, dtype=torch.bool)

    def gains(self) -> torch.Tensor:
        """Return log det(I + Sigma / noise_std^2), or what log(error) falls by, (H W,)."""
        for part in self._stale.nonzero()[:, 0].split(4096):
            self._gains[part] = self._gains_at(part)
        self._stale[:] = False
        if not self._by_error:
            return self._gains.clone()
        fallen = self._gains / self._spectrum.sum().clamp_min(1e-30)
        return -torch.log1p(-fallen.clamp(0, 1 - 1e-6))

    def condition(self, candidate: int) -> None:
        """Take one point as measured by all coils."""
        self._scale(candidate, self._left(candidate))

    def _left(self, candidate: int) -> torch.Tensor:
        """Part of the variance of each frequency under a point that is left by measuring it."""
        under = self._window(torch.tensor([candidate], device=self._spectrum.device), self._reach)
        variance = self._spectrum.flatten()[under[0]]
        block = (self._kernel.mT * variance) @ self._kernel.conj()
        root = noisy_factor(block, self._noise_variance)
        told = torch.linalg.solve_triangular(root, self._kernel.mT, upper=False)
        return 1 - (variance * told.abs().square().sum(0)).clamp(0, 1 - _LEAST_LEFT)

    def _scale(self, candidate: int, factors: torch.Tensor) -> None:
        point = torch.tensor([candidate], device=self._spectrum.device)
        self._spectrum.view(-1)[self._window(point, self._reach)[0]] *= factors
        self._stale[self._window(point, 2 * self._reach)[0]] = True

    def variance(self) -> float:
        """Return the sum over pixels of E |x - mean|^2."""
        return 2 * float(self._spectrum.sum())

    def _gains_at(self, points: torch.Tensor) -> torch.Tensor:
        variance = self._spectrum.flatten()[self._window(points, self._reach)]
        weighted = variance.to(self._kernel.dtype)[:, None, :] * self._kernel.mT
        blocks = weighted @ self._kernel.conj()
        if not self._by_error:
            return log_determinants(blocks, self._noise_variance)
        root = noisy_factor(blocks, self._noise_variance)
        told = torch.linalg.solve_triangular(root, weighted, upper=False)
        # what `condition` takes away, no more than there is
        return told.abs().square().sum(1).minimum(variance).sum(1)

    def _window(self, points: torch.Tensor, reach: int) -> torch.Tensor:
        """Indices of the frequencies around each point, circular, (points, window)."""
        height, width = self._shape
        offset = torch.arange(-reach, reach + 1, device=points.device)
        rows = (points[:, None] // width + offset) % height
        columns = (points[:, None] % width + offset) % width
        return (rows[:, :, None] * width + columns[:, None, :]).flatten(1)


class PointErrors(PointInformation):
    """Expected squared error of points, which can be taken back: an `Exchangeable`.

    What a point left of each frequency's variance is kept, and divided out when it is forgotten. So
    `forget` undoes `condition` whatever came between; points that were measured later would have
    told more without it, which is not made up for: an exchange is judged too strictly, not too
    kindly.

    Parameters
    ----------
    spectrum, maps, noise_std
        As `PointInformation`.
    """

    def __init__(self, spectrum: torch.Tensor, maps: torch.Tensor, noise_std: float):
        super().__init__(spectrum.double(), maps.to(torch.complex128), noise_std, "error")
        self._factors: dict[int, torch.Tensor] = {}

    def condition(self, candidate: int) -> None:
        """Take one point as measured by all coils.

        Parameters
        ----------
        candidate : int
            Not measured yet.
        """
        self._factors[candidate] = self._left(candidate)
        self._scale(candidate, self._factors[candidate])

    def forget(self, candidate: int) -> None:
        """Undo `condition`.

        Parameters
        ----------
        candidate : int
            Measured before.
        """
        self._scale(candidate, 1 / self._factors.pop(candidate))

    def losses(self, lines: Sequence[int]) -> torch.Tensor:
        """Return by how much log(error) would rise without each of these points, (points,).

        Parameters
        ----------
        lines : sequence of int
            Points that `condition` has taken as measured.
        """
        points = torch.tensor(lines, device=self._spectrum.device)
        variance = self._spectrum.flatten()[self._window(points, self._reach)]
        kept = torch.stack([self._factors[point] for point in lines])
        back = (variance * (1 / kept - 1)).sum(1)
        return torch.log1p(back / self._spectrum.sum().clamp_min(1e-30))


def point_information(
    samples: torch.Tensor,
    maps: torch.Tensor,
    noise_std: float,
    objective: str = "information",
) -> PointInformation:
    """Return what points would tell, judged by posterior samples.

    Parameters
    ----------
    samples : torch.Tensor
        Complex (n, H, W), n at least 2.
    maps : torch.Tensor
        Complex (coils, H, W), whitened sensitivities.
    noise_std : float
        Per real component.
    objective : {"information", "error"}
        See `PointInformation`.

    Raises
    ------
    ConfigurationError
        If the samples are fewer than two, or do not differ.
    """
    n = len(samples)
    if n < 2:
        raise ConfigurationError(
            f"a covariance needs at least 2 samples, found {n}: raise n_samples"
        )
    deviation = samples - samples.mean(0)
    spectrum = fftc(deviation).abs().square().sum(0) / (2 * (n - 1))
    if not bool(spectrum.max() > 0):
        raise ConfigurationError(
            "the posterior samples do not differ, so no point would tell anything: check the "
            "prior and the noise level"
        )
    if objective == "error":
        return PointErrors(spectrum, maps, noise_std)
    return PointInformation(spectrum, maps, noise_std, objective)


def coil_kernel(maps: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Return the centre of the maps' spectra, in which coils weight frequencies.

    Parameters
    ----------
    maps : torch.Tensor
        Complex (coils, H, W).

    Returns
    -------
    kernel : torch.Tensor
        Complex (coils, 2 reach + 1, 2 reach + 1): F(S x)(k) = sum_d kernel(d) F(x)(k + d),
        scaled to hold the energy of the maps.
    reach : int
        As far as 99.9 % of the energy need, at most 4.
    """
    height, width = maps.shape[-2:]
    spectrum = fftc(maps) / math.sqrt(height * width)
    total = float(spectrum.abs().square().sum())
    most = min(_LARGEST_REACH, (min(height, width) - 1) // 2)
    for reach in range(most + 1):
        kernel = center_crop(spectrum, (2 * reach + 1, 2 * reach + 1))
        energy = float(kernel.abs().square().sum())
        if energy >= _KERNEL_ENERGY * total:
            break
    # the kernel meets the frequency k + d with the spectrum at -d
    return kernel.flip(-2, -1) * math.sqrt(total / energy), reach
