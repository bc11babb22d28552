"""p(x | x0), convergence diagnostics and the prior's spectrum, against known answers."""

import math

import pytest
import torch

from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.priors import GaussianMixturePrior, GaussianPrior, PriorSpectrum
from mri_alps.sampling import (
    LocalScore,
    effective_sample_size,
    estimate_prior_spectrum,
    split_r_hat,
)
from mri_alps.sampling.score import LocalSpectrum
from tests.sampling.posterior_bed import image_power


@pytest.mark.parametrize("level", [0.1, 0.3, 1.0, 4.0])
def test_local_score_of_a_mixture_by_integration(level):
    """d/dz log int p(x) N(x0; x, s0^2) N(z; x, t^2) dx on a fine grid, in one dimension."""
    base, sigma0, x0 = 0.1, 0.7, 0.4
    means, powers = torch.tensor([-1.0, 1.5]).double(), torch.tensor([0.2, 0.05]).double()
    weights = torch.tensor([0.4, 0.6]).double()
    prior = GaussianMixturePrior(weights, means[:, None], powers[:, None], sigma_min=base)
    grid = torch.linspace(-12, 12, 40_001, dtype=torch.float64)
    density = sum(
        w * torch.exp(-((grid - m) ** 2) / (2 * (p + base**2))) / math.sqrt(p + base**2)
        for w, m, p in zip(weights, means, powers, strict=True)
    )
    density = density * torch.exp(-((x0 - grid) ** 2) / (2 * sigma0**2))
    local = LocalScore(prior, torch.tensor([[x0]]).double(), sigma0)
    variance = level**2 - base**2
    for z in (-1.5, -0.2, 0.3, 1.1, 2.0):
        found = float(local.score(torch.tensor([[z]]).double(), level))
        if variance > 1e-9:
            weight = density * torch.exp(-((z - grid) ** 2) / (2 * variance))
            expected = float((weight * (grid - z)).sum() / weight.sum() / variance)
        else:
            slope = torch.gradient(density.log(), spacing=float(grid[1] - grid[0]))[0]
            above = int((grid > z).nonzero()[0])
            share = float((z - grid[above - 1]) / (grid[above] - grid[above - 1]))
            expected = float((1 - share) * slope[above - 1] + share * slope[above])
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("level", [0.02, 0.2, 3.0])
def test_local_spectrum_of_a_gaussian(level):
    prior, sigma0 = GaussianPrior(image_power((6, 7)), sigma_min=0.02), 0.5
    variance = level**2 - 0.02**2
    conditional = 1 / (1 / prior.prior_spectrum.image((6, 7)) + 1 / sigma0**2)
    found = LocalSpectrum(prior.prior_spectrum, sigma0).fisher(level, (6, 7))
    torch.testing.assert_close(found, 1 / (conditional + variance), rtol=1e-6, atol=0)


def autoregressive(coefficient, n_chains, n_steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(n_chains, n_steps, generator=generator, dtype=torch.float64)
    chains = noise.clone()
    for step in range(1, n_steps):
        fresh = math.sqrt(1 - coefficient**2) * noise[:, step]
        chains[:, step] = coefficient * chains[:, step - 1] + fresh
    return chains


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 0.9])
def test_effective_sample_size_of_an_autoregression(coefficient):
    chains = autoregressive(coefficient, 8, 4000)
    expected = chains.numel() * (1 - coefficient) / (1 + coefficient)
    assert effective_sample_size(chains) == pytest.approx(expected, rel=0.15)
    assert split_r_hat(chains) == pytest.approx(1, abs=0.01)


def test_r_hat_sees_chains_and_halves_that_disagree():
    chains = autoregressive(0.0, 4, 1000)
    shifted = chains + torch.arange(4)[:, None]
    within_shift = torch.cat([chains[:, :500], chains[:, 500:] + 2], dim=1)
    expected = math.sqrt(1 + float(torch.arange(4).double().repeat(2).var()))
    assert split_r_hat(shifted) == pytest.approx(expected, rel=0.05)
    assert split_r_hat(within_shift) > 1.3
    assert effective_sample_size(shifted) < 40


@pytest.mark.parametrize("dtype", [torch.complex128, torch.float64])
@pytest.mark.parametrize("sigma", [0.02, 0.3, 3.0])
def test_estimated_spectrum_of_a_gaussian(dtype, sigma):
    shape = (16, 15)
    prior = GaussianPrior(image_power(shape), sigma_min=0.02)
    spectrum = estimate_prior_spectrum(prior, shape, torch.Generator().manual_seed(1), dtype)
    ratio = spectrum.fisher(sigma, shape) * (prior.power(shape) + sigma**2)
    # 64 images: a frequency has 64 or 128 degrees of freedom, smoothed over its shell.
    assert float(ratio.log().mean()) == pytest.approx(0, abs=0.05)
    assert float(ratio.log().abs().max()) < 0.8
    assert float(spectrum.excess.max()) < 20
    assert float(spectrum.curvature.max()) < 2


def test_spectrum_between_levels_and_grids_is_exact_for_a_gaussian():
    prior = GaussianPrior.power_law()
    spectrum = prior.prior_spectrum
    for shape in ((16, 16), (33, 20)):
        for sigma in (0.01, 0.1, 1.0, 10.0):
            expected = 1 / (prior.power(shape) + sigma**2)
            torch.testing.assert_close(spectrum.fisher(sigma, shape), expected, rtol=0.02, atol=0)


def test_spectrum_survives_a_round_trip():
    for spectrum in (GaussianPrior.power_law().prior_spectrum,
                     GaussianPrior(image_power((6, 7))).prior_spectrum):  # fmt: skip
        again = PriorSpectrum.from_tensors(spectrum.tensors())
        assert again.tensors().keys() == spectrum.tensors().keys()
        assert_equal_to_rounding(again.fisher(0.3, (6, 7)), spectrum.fisher(0.3, (6, 7)))
