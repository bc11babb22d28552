"""The prior at the beginning: a Gaussian whose spectrum the scans themselves tell."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mri_alps.core.errors import MriAlpsError, MriAlpsWarning
from mri_alps.core.fourier import fftc
from mri_alps.core.random import stream_seed
from mri_alps.pipeline import SliceReconstructor
from mri_alps.priors import GAUSSIAN, GaussianPrior, frequency_radius, load_prior
from mri_alps.rawdata import read_raw
from mri_alps.sampling import sample_posterior

if TYPE_CHECKING:
    from mri_alps.calibration import Acquisition
    from mri_alps.pipeline import ReconstructionConfiguration

_LOGGER = logging.getLogger(__name__)
N_SLICES = 16
ITERATIONS = 5
EVALUATIONS = 10  # of a prior in closed form
_BANDS = 24
_CORNER = 0.5 * 2**0.5  # cycles per pixel


def fit_gaussian(
    scans: Sequence[Path], configuration: ReconstructionConfiguration, device: torch.device
) -> GaussianPrior:
    """Find the power spectrum of the scans' images by expectation maximisation.

    Parameters
    ----------
    scans : sequence of pathlib.Path
        Raw files; the middle slice of up to 16 is looked at. Those that cannot be read are left
        out, which is said when they are sampled.
    configuration : ReconstructionConfiguration
        Noise and seed.
    device : torch.device
        Where samples are drawn.

    Returns
    -------
    GaussianPrior
        Stationary, with the radial spectrum of posterior samples under itself.
    """
    prior = load_prior(GAUSSIAN)
    assert isinstance(prior, GaussianPrior)
    chosen = scans[:: max(len(scans) // N_SLICES, 1)][:N_SLICES]
    slices = [found for path in chosen if (found := _load(path, prior, configuration, device))]
    for iteration in range(ITERATIONS if slices else 0):
        total, count = torch.zeros(_BANDS), torch.zeros(_BANDS)
        for number, acquisition in enumerate(slices):
            generator = torch.Generator().manual_seed(
                stream_seed(configuration.sampler_seed, iteration, number)
            )
            sample = sample_posterior(
                prior,
                *acquisition.problem(),
                n_samples=1,
                n_evaluations=EVALUATIONS,
                generator=generator,
            ).samples[0]
            power = fftc(sample).abs().square().float().cpu() / 2
            band = _band_of(power.shape)
            total += torch.bincount(band, power.flatten(), _BANDS)
            count += torch.bincount(band, minlength=_BANDS)
        prior = GaussianPrior(_radial(total / count.clamp(min=1)))
    _LOGGER.info("a Gaussian prior with the spectrum of %d slices", len(slices))
    return prior


def _load(
    path: Path,
    prior: GaussianPrior,
    configuration: ReconstructionConfiguration,
    device: torch.device,
) -> Acquisition | None:
    try:
        with warnings.catch_warnings():  # they are said when the scan is sampled
            warnings.simplefilter("ignore", MriAlpsWarning)
            raw = read_raw(path)
            reconstructor = SliceReconstructor.of_scan(raw, configuration, prior, device)
            acquisition = reconstructor.prepare(raw.n_slices // 2)
    except (MriAlpsError, OSError):
        return None
    return None if acquisition.is_empty else acquisition


def _band_of(shape: torch.Size) -> torch.Tensor:
    """Index of each frequency's band; bands are narrow where the spectrum is steep."""
    position = (frequency_radius(shape) / _CORNER).sqrt().flatten()
    return (position * _BANDS).long().clamp(max=_BANDS - 1)


def _radial(power: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Spectrum between the bands' centres, piecewise linear in the logarithm."""
    filled = power.clamp(min=1e-7).log().double()
    centers = _CORNER * ((torch.arange(_BANDS, dtype=torch.float64) + 0.5) / _BANDS) ** 2
    known = (power > 0).nonzero().flatten()
    at, values = centers[known], filled[known]

    def spectrum(radius: torch.Tensor) -> torch.Tensor:
        upper = torch.searchsorted(at, radius.double().contiguous()).clamp(1, len(at) - 1)
        weight = (radius - at[upper - 1]) / (at[upper] - at[upper - 1])
        return torch.lerp(values[upper - 1], values[upper], weight.double().clamp(0, 1)).exp()

    return spectrum
