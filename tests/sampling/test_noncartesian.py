"""Posteriors of radial scans: truths drawn from the prior lie in their intervals."""

import math

import pytest
import torch

from mri_alps.operators import NonCartesianSenseOperator, golden_radial, simulate
from mri_alps.pipeline.cg_sense import cg_sense
from mri_alps.priors import GaussianPrior
from mri_alps.sampling import sample_posterior
from tests.sampling.posterior_bed import coil_maps

pytest.importorskip("finufft", reason="extra noncartesian")

SHAPE, N_SLICES, N_SAMPLES, NOISE_STD = (48, 48), 4, 16, 0.05
QUANTILE = 1.7531  # 0.95 of Student's t with N_SAMPLES - 1 degrees of freedom


def make_scans(n_shots):
    """Slices drawn from the prior, measured along spokes of their own; above the dense limit."""
    generator = torch.Generator().manual_seed(11)
    prior = GaussianPrior.power_law()
    truth = prior.sample(N_SLICES, SHAPE, generator, torch.complex64, prior.sigma_min)
    k = golden_radial(N_SLICES * n_shots, 2 * SHAPE[0], SHAPE)
    maps = coil_maps(4, SHAPE, torch.complex64).expand(N_SLICES, -1, -1, -1).contiguous()
    operator = NonCartesianSenseOperator(maps, k.reshape(N_SLICES, n_shots, -1, 2))
    return prior, truth, operator, simulate(operator, truth, NOISE_STD, generator)


def test_intervals_hold_truths_drawn_from_the_prior():
    n_shots = round(math.pi / 2 * SHAPE[0] / 4)
    prior, truth, operator, data = make_scans(n_shots)
    found = sample_posterior(
        prior, operator, data, NOISE_STD, n_samples=N_SAMPLES, n_evaluations=20,
        generator=torch.Generator().manual_seed(3),
    )  # fmt: skip
    samples = torch.view_as_real(found.samples.to(torch.complex128))
    deviation = samples.std(0) * math.sqrt(1 + 1 / N_SAMPLES)
    inside = (torch.view_as_real(truth).double() - samples.mean(0)).abs() <= QUANTILE * deviation
    assert float(inside.double().mean()) == pytest.approx(0.9, abs=0.02)
    misfit = operator.forward(found.samples) - data
    energy = misfit.abs().double().square().mean() / (2 * NOISE_STD**2)
    assert float(energy) == pytest.approx(1, abs=0.03)


def test_cg_sense_takes_the_operator():
    _, truth, operator, data = make_scans(80)
    image = cg_sense(operator, data)
    error = (image - truth).abs().square().mean() / truth.abs().square().mean()
    assert float(error) < 0.05
