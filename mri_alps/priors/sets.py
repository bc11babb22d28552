"""The prior of several images that are seen together, one for each set of sensitivity maps.

The first image is that of the object and has the prior that the user chose. A further image holds
what of a second place of the object shares a pixel with the first, and is orthogonal to it in the
coils; no network has been trained on such, and its prior is Gaussian, of the object's own spectrum
and of the power that the calibration region shows. The images are independent under the prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from mri_alps.priors.gaussian import GaussianPrior

if TYPE_CHECKING:
    from mri_alps.priors.protocol import ScoreModel
    from mri_alps.priors.spectrum import PriorSpectrum

SMALLEST_POWER = 1e-8
"""Of a further image beside the noise of the lowest level, which a prior has in any case."""


class PriorOfSets:
    """Independent priors of the images of several sets of maps, (n, sets, H, W).

    Parameters
    ----------
    first : ScoreModel
        Of the first image. Its noise levels are those of all.
    further : sequence of GaussianPrior
        Of the others, with the same `sigma_min`.
    """

    def __init__(self, first: ScoreModel, further: Sequence[GaussianPrior]):
        self.first, self.further = first, tuple(further)
        self.sigma_min, self.sigma_max = float(first.sigma_min), float(first.sigma_max)
        # Spectra of the others are radial: their images may be mirrored with the first.
        self.mirror_axes: tuple[int, ...] = getattr(first, "mirror_axes", ())

    @classmethod
    def like(cls, first: ScoreModel, powers: Sequence[float], shape: Sequence[int]) -> PriorOfSets:
        """Give further images the spectrum of the first.

        Parameters
        ----------
        first : ScoreModel
            Of the first image.
        powers : sequence of float
            Power of each further image, over that of the first.
        shape : sequence of int
            (H, W) of an image.
        """
        spectrum = getattr(first, "prior_spectrum", None)
        if spectrum is None:  # that of magnetic resonance images of scale 1
            power = GaussianPrior.power_law().power(shape)
        else:
            power = spectrum.image(shape).cpu()
        # The power of a prior at sigma_min, which stands for the prior, holds sigma_min^2.
        low, high = float(first.sigma_min), float(first.sigma_max)
        grids = [(ratio * power - low**2).clamp_min(SMALLEST_POWER) for ratio in powers]
        return cls(first, [GaussianPrior(grid, sigma_min=low, sigma_max=high) for grid in grids])

    @property
    def prior_spectrum(self) -> SpectrumOfSets | None:
        """Of all images; None where the first one's prior has none."""
        spectrum = getattr(self.first, "prior_spectrum", None)
        return None if spectrum is None else self.spectrum_with(spectrum)

    def spectrum_with(self, first: PriorSpectrum) -> SpectrumOfSets:
        """Return the spectrum of all images.

        Parameters
        ----------
        first : PriorSpectrum
            Of the first image.
        """
        return SpectrumOfSets([first, *(prior.prior_spectrum for prior in self.further)])

    def denoise(self, x: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """Posterior mean of all images at noise level `sigma`; see `ScoreModel`.

        Parameters
        ----------
        x : torch.Tensor
            (n, sets, H, W), complex.
        sigma : float or torch.Tensor
            Scalar or (n,).
        """
        priors = (self.first, *self.further)
        found = [prior.denoise(x[:, index], sigma) for index, prior in enumerate(priors)]
        return torch.stack([each.to(x.dtype) for each in found], 1)

    def score(self, x: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """Score of all images at noise level `sigma`; see `ScoreModel`.

        Parameters
        ----------
        x : torch.Tensor
            (n, sets, H, W), complex.
        sigma : float or torch.Tensor
            Scalar or (n,).
        """
        priors = (self.first, *self.further)
        found = [prior.score(x[:, index], sigma) for index, prior in enumerate(priors)]
        return torch.stack([each.to(x.dtype) for each in found], 1)


class SpectrumOfSets:
    """What `PriorSpectrum` tells, for images of several sets: grids of (sets, H, W).

    Parameters
    ----------
    parts : sequence of PriorSpectrum
        Of each image. The first decides on the path: the others are Gaussian.
    """

    def __init__(self, parts: Sequence[PriorSpectrum]):
        self._parts = tuple(parts)
        first = self._parts[0]
        self.sigmas, self.levels = first.sigmas, first.levels
        self.curvature, self.excess, self.stein = first.curvature, first.excess, first.stein
        self.is_of_a_density = first.is_of_a_density

    def image(self, shape: Sequence[int]) -> torch.Tensor:
        """Power of the priors, see `PriorSpectrum.image`.

        Parameters
        ----------
        shape : sequence of int
            (sets, H, W).
        """
        return self._stack([part.image(shape[1:]) for part in self._parts])

    def fisher(self, sigma: float, shape: Sequence[int]) -> torch.Tensor:
        """Fisher information of the priors, see `PriorSpectrum.fisher`.

        Parameters
        ----------
        sigma : float
            Noise level per real component.
        shape : sequence of int
            (sets, H, W).
        """
        return self._stack([part.fisher(sigma, shape[1:]) for part in self._parts])

    def posterior_variance(self, sigma: float, shape: Sequence[int]) -> torch.Tensor:
        """Mean posterior variance of the priors, see `PriorSpectrum.posterior_variance`.

        Parameters
        ----------
        sigma : float
            Noise level per real component.
        shape : sequence of int
            (sets, H, W).
        """
        return self._stack([part.posterior_variance(sigma, shape[1:]) for part in self._parts])

    @staticmethod
    def _stack(grids: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([grid.to(grids[0].device) for grid in grids])
