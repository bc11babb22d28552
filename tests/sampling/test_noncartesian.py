"""Posteriors of radial scans: truths drawn from the prior lie in their intervals."""

import math

import pytest
import torch

from mri_alps.inverse_problem.covariance import make_covariance
from mri_alps.inverse_problem.problem import make_problem
from mri_alps.operators import NonCartesianSenseOperator, golden_radial, simulate
from mri_alps.pipeline.cg_sense import cg_sense
from mri_alps.priors import GaussianPrior
from mri_alps.sampling import ChainNoise, sample_posterior
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


def test_pixels_that_no_coil_sees_are_solved_for_themselves_along_spokes():
    """Without that a radial scan of low noise with air around its object is not solved at all."""
    y, x = (torch.linspace(-1, 1, n) for n in SHAPE)
    inside = (y[:, None] / 0.86) ** 2 + (x / 0.68) ** 2 < 1
    maps = coil_maps(4, SHAPE, torch.complex128) * inside
    operator = NonCartesianSenseOperator(maps, golden_radial(60, 2 * SHAPE[0], SHAPE))
    assert torch.equal(operator.unseen, ~inside)
    problem = make_problem(operator, torch.zeros(operator.range_shape, dtype=maps.dtype), 0.01)
    fisher = 1 / GaussianPrior.power_law().prior_spectrum.image(SHAPE)
    draw = make_covariance(problem).draw(ChainNoise(problem, 3, range(2)))
    solutions = []
    for is_used, tolerance in ((False, 1e-3), (True, 1e-3), (True, 1e-9)):
        covariance = make_covariance(problem)
        if not is_used:
            covariance._unseen = None
        covariance.preconditioner.max_iterations = 2000
        level = covariance.at(fisher, problem.noise_std, tolerance)
        solutions.append(level.solve(level.perturbation(draw)))
    without, found, exact = solutions
    assert int(found.unsolved) == 0
    assert found.n_normals < 0.2 * without.n_normals
    error = found.x - exact.x
    response = level.explained(torch.fft.ifft2(error)) + error * level.fisher
    energy = (error.conj() * response).real.sum((-2, -1)).max() / fisher.numel() ** 2 / 2
    assert float(energy) < 1e-3


def test_unseen_pixels_of_slices_and_of_three_dimensions():
    maps = coil_maps(3, (16, 12), torch.complex64)
    maps[:, :3] = 0
    path = golden_radial(10, 24, (16, 12))
    batch = NonCartesianSenseOperator(torch.stack([maps, maps.flip(-2)]), path)
    assert torch.equal(batch.unseen[0], (maps == 0).all(0))
    assert torch.equal(batch.unseen[1], batch.unseen[0].flip(-2))
    deep = torch.stack([maps, maps.flip(-2), maps], 1)
    spokes = torch.cat([torch.zeros_like(path[..., :1]), path], -1)
    volume = NonCartesianSenseOperator(deep, spokes)
    assert volume.unseen.shape == volume.domain_shape
    assert torch.equal(volume.unseen[0], batch.unseen[0])
