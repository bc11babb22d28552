"""The point estimate of a preview: its equations, its fixed point, and what it refuses."""

import math

import pytest
import torch

from mri_alps.core.errors import ConfigurationError, DivergenceError
from mri_alps.priors import GaussianPrior
from mri_alps.priors.exact import exact_posterior
from mri_alps.sampling import make_problem, plug_and_play, proximal
from tests.sampling.test_rivals_benchmark import NOISE_STD, SHAPE, bed, matrix, noise, sense, white


def test_the_step_to_the_data_solves_its_equations():
    problem, x, rho = bed(white(), sense()), noise(3, *SHAPE, seed=9), 0.3
    found = proximal(problem, x, rho, 200)
    a = matrix(problem.operator)
    right = a.mH @ problem.data.flatten()[:, None] + rho * x.flatten(1).T
    expected = torch.linalg.solve(a.mH @ a + rho * torch.eye(a.shape[1]), right).T
    torch.testing.assert_close(found.flatten(1), expected, rtol=1e-6, atol=1e-6)


def test_dpir_at_one_level_is_the_posterior_mean_of_a_gaussian():
    """Its fixed point is argmin |y - A x|^2 / noise_std^2 + x^H (P + sigma^2)^-1 x."""
    power = 0.05 + 1 / (1 + torch.arange(SHAPE[0])[:, None] + torch.arange(SHAPE[1]))
    power = 0.5 * (power + power.flip(0, 1).roll((1, 1), (0, 1)))  # even, about the centre
    prior = GaussianPrior(power.double(), sigma_min=NOISE_STD, sigma_max=10.0)
    problem = bed(prior, sense())
    image, count = plug_and_play(prior, problem, n_steps=800, weight=1.0, start=NOISE_STD)
    exact = exact_posterior(prior, problem.operator, problem.data, NOISE_STD)
    assert count == 800
    # What it returns is denoised once more after it was brought to the data.
    expected = prior.denoise(exact.mean, NOISE_STD)
    error = (image - expected).abs().square().mean().sqrt()
    assert float(error) < 1e-3 * float(exact.mean.abs().square().mean().sqrt())


def test_slices_of_a_batch_are_those_alone():
    """Each has its own noise level; the path of sigma ends at the largest, so these are equal."""
    maps = torch.stack([sense().sensitivity_maps, noise(2, *SHAPE, seed=6)])
    maps = maps / maps.abs().square().sum(1, keepdim=True).sqrt()
    together = type(sense())(maps, sense().mask)
    data = together.forward(noise(2, *SHAPE, seed=8))
    whole, _ = plug_and_play(white(), make_problem(together, data, torch.full((2,), NOISE_STD)))
    for index in range(2):
        alone = make_problem(type(together)(maps[index], sense().mask), data[index], NOISE_STD)
        torch.testing.assert_close(plug_and_play(white(), alone)[0], whole[index])


class Explodes(GaussianPrior):
    """A denoiser that returns no image."""

    def denoise(self, x, sigma):
        return torch.full_like(x, math.nan)


def test_what_is_no_image_is_refused():
    prior = Explodes(torch.ones(SHAPE), sigma_min=0.02, sigma_max=20.0)
    with pytest.raises(DivergenceError, match="not finite"):
        plug_and_play(prior, bed(white(), sense()))
    with pytest.raises(ConfigurationError, match="n_steps"):
        plug_and_play(white(), bed(white(), sense()), n_steps=0)
    with pytest.raises(ConfigurationError, match="weight"):
        plug_and_play(white(), bed(white(), sense()), weight=-1.0)
