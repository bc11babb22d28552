"""The default sampler under a Gaussian prior: mean and covariance in closed form.

Samples are whitened with the exact posterior, after which they must be standard normal; the
statistics are chi-square, and six standard deviations are allowed.
"""

import importlib.util
import math

import pytest
import torch

from mri_alps.core.random import standard_normal
from mri_alps.operators import (
    BlurOperator,
    DownsamplingOperator,
    InpaintingOperator,
    NonCartesianSenseOperator,
    SenseOperator,
    golden_radial,
    spiral,
)
from mri_alps.operators.restoration.blur import gaussian_kernel
from mri_alps.operators.restoration.inpainting import random_pixel_mask
from mri_alps.priors import GaussianPrior
from mri_alps.priors.exact import exact_posterior
from mri_alps.sampling import AlpsConfiguration, sample_posterior
from mri_alps.sampling.initial import InitialEstimate
from mri_alps.sampling.restarts import sample_alps
from tests.sampling.posterior_bed import coil_maps, image_power, line_mask

LIMIT = 6.0


def make_gaussian(shape, mean=None):
    return GaussianPrior(image_power(shape, 1.0), mean=mean, sigma_min=0.02)


def whiten(samples, exact):
    flat = samples.reshape(len(samples), -1).to(exact.means.dtype) - exact.means[0]
    return torch.linalg.solve_triangular(exact.choleskys[0], flat.mT, upper=False).mT


def assert_exact(samples, exact, limit=LIMIT):
    """Chi-square tests of the mean, of the variance and of the covariance between pixels."""
    z = whiten(samples, exact)
    n, d = z.shape
    parts = 2 if z.is_complex() else 1
    assert abs(z_score(n * z.mean(0).abs().square().sum(), d * parts)) < limit
    assert abs(z_score(z.abs().square().sum(), n * d * parts)) < limit
    # Off-diagonal entries of Z^H Z have the variance n parts^2.
    gram = z.mH @ z
    pairs = gram[torch.triu(torch.ones(d, d, dtype=torch.bool), 1)].abs().square()
    expected = n * parts**2
    assert float(pairs.mean() / expected) == pytest.approx(1, abs=limit * 2 / d + 0.02)


def z_score(chi_square, dof):
    return (float(chi_square) - dof) / math.sqrt(2 * dof)


def simulate(prior, operator, noise_std, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    truth = prior.sample(1, operator.domain_shape, generator, dtype)[0]
    data = operator.forward(truth)
    noise = noise_std * standard_normal(data.shape, generator, data.dtype)
    measured = getattr(operator, "measured", None)
    return data + (noise if measured is None else noise * measured)


def sense(shape, mask, dtype=torch.complex128):
    return SenseOperator(coil_maps(3, shape, dtype), mask)


def random_mask(shape):
    return random_pixel_mask(shape, 0.3, torch.Generator().manual_seed(1))


def along(pattern, shape, n_shots, dtype=torch.complex128):
    k = pattern(n_shots, 2 * max(shape), shape)
    return NonCartesianSenseOperator(coil_maps(3, shape, dtype), k)


C128, C64, F64, F32 = torch.complex128, torch.complex64, torch.float64, torch.float32
CASES = {
    "lines along the last axis": (lambda: sense((10, 12), line_mask(12, 3, 2)), C128),
    "lines along the first axis": (lambda: sense((12, 10), line_mask(12, 3, 2)[:, None]), C128),
    "odd sizes": (lambda: sense((9, 11), line_mask(11, 3, 1)), C128),
    "2-D mask": (lambda: sense((10, 10), random_mask((10, 10))), C128),
    "single precision": (lambda: sense((10, 12), line_mask(12, 3, 2), C64), C64),
    "inpainting": (lambda: InpaintingOperator(random_mask((10, 9))), C128),
    "inpainting, real": (lambda: InpaintingOperator(random_mask((10, 9))), F64),
    "blur": (lambda: BlurOperator(gaussian_kernel(1.0, dtype=F64), (10, 12)), C128),
    "blur, real": (lambda: BlurOperator(gaussian_kernel(1.0), (10, 12)), F32),
    "pooling": (lambda: DownsamplingOperator((8, 12), 4), C128),
    "bicubic, real": (lambda: DownsamplingOperator((8, 12), 4, "bicubic", F64), F64),
}
if importlib.util.find_spec("finufft"):  # the extra noncartesian
    CASES |= {
        "radial": (lambda: along(golden_radial, (10, 12), 4), C128),
        "spiral, odd sizes, single": (lambda: along(spiral, (9, 11), 1, C64), C64),
    }


@pytest.mark.parametrize("noise_std", [0.02, 0.5])
@pytest.mark.parametrize("case", CASES)
def test_samples_are_those_of_the_closed_form(case, noise_std):
    build, dtype = CASES[case]
    operator = build()
    prior = make_gaussian(operator.domain_shape)
    data = simulate(prior, operator, noise_std, dtype)
    result = sample_posterior(
        prior, operator, data, noise_std, n_samples=300, n_evaluations=6,
        generator=torch.Generator().manual_seed(3),
    )  # fmt: skip
    assert result.samples.dtype == dtype
    assert_exact(result.samples, exact_posterior(prior, operator, data, noise_std))


def test_a_prior_mean_is_respected():
    shape = (10, 12)
    operator = sense(shape, line_mask(12, 3, 2))
    mean = 3 * standard_normal(shape, torch.Generator().manual_seed(5), C128)
    prior = make_gaussian(shape, mean)
    data = simulate(prior, operator, 0.2, C128)
    result = sample_posterior(
        prior, operator, data, 0.2, n_samples=300, n_evaluations=40,
        generator=torch.Generator().manual_seed(3),
    )  # fmt: skip
    assert_exact(result.samples, exact_posterior(prior, operator, data, 0.2))


def test_slices_with_their_own_noise():
    shape, levels = (10, 12), (0.05, 0.6)
    single = [SenseOperator(coil_maps(n, shape)[:3], line_mask(12, 3, 2)) for n in (3, 4)]
    operator = SenseOperator(torch.stack([o.sensitivity_maps for o in single]), line_mask(12, 3, 2))
    prior = make_gaussian(shape)
    pairs = list(zip(single, levels, strict=True))
    data = [simulate(prior, one, level, C128, seed=i) for i, (one, level) in enumerate(pairs)]
    result = sample_posterior(
        prior, operator, torch.stack(data), torch.tensor(levels), n_samples=300, n_evaluations=6,
        generator=torch.Generator().manual_seed(3),
    )  # fmt: skip
    for i, (one, level) in enumerate(pairs):
        assert_exact(result.samples[:, i], exact_posterior(prior, one, data[i], level))


def solved(task):
    """The default method without dense factors: what images of more than 2,048 pixels get."""
    return sample_alps(task, AlpsConfiguration(dense_limit=0))


@pytest.mark.parametrize("noise_std", [0.02, 0.5])
@pytest.mark.parametrize("case", CASES)
def test_solved_samples_are_those_of_the_closed_form(case, noise_std):
    build, dtype = CASES[case]
    operator = build()
    prior = make_gaussian(operator.domain_shape)
    data = simulate(prior, operator, noise_std, dtype)
    result = sample_posterior(
        prior, operator, data, noise_std, n_samples=300, n_evaluations=20, method=solved,
        generator=torch.Generator().manual_seed(3),
    )  # fmt: skip
    assert_exact(result.samples, exact_posterior(prior, operator, data, noise_std))


def test_refinement_of_a_reconstruction_samples_given_both():
    """With x0 = x + sigma n the posterior is p(x | y, x0): x0 acts as one more measurement."""
    shape, noise_std, sigma0 = (8, 10), 0.3, 0.4
    operator = sense(shape, line_mask(10, 3, 2))
    prior = make_gaussian(shape)
    data = simulate(prior, operator, noise_std, C128)
    x0 = prior.sample(1, shape, torch.Generator().manual_seed(8), C128)[0]
    result = sample_posterior(
        prior, operator, data, noise_std, n_samples=300, n_evaluations=40,
        initial=InitialEstimate(x0, sigma=sigma0), generator=torch.Generator().manual_seed(3),
    )  # fmt: skip
    basis = torch.eye(80, dtype=C128)
    matrix = operator.forward(basis.reshape(80, *shape)).reshape(80, -1).mT
    stacked = torch.cat([matrix, basis * (noise_std / sigma0)])
    both = torch.cat([data.reshape(-1), x0.reshape(-1) * (noise_std / sigma0)])
    assert_exact(result.samples, exact_posterior(prior, stacked, both, noise_std, shape))
