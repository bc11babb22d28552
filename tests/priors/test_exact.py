"""Exact scores and exact posteriors, each against an independent calculation."""

import math

import pytest
import torch

from mri_alps.core.errors import ConfigurationError, DtypeError, ShapeError
from mri_alps.core.random import standard_normal
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.priors import GaussianMixturePrior, GaussianPrior
from mri_alps.priors.exact import exact_posterior


def random_mixture(shape, dtype, n_components=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    means = standard_normal((n_components, *shape), generator, dtype)
    # Powers even in k, as those of a real image are.
    powers = 0.2 + torch.rand(n_components, *shape, generator=generator, dtype=torch.float64)
    shifted = torch.fft.ifftshift(powers, dim=(-2, -1))
    mirrored = torch.roll(shifted.flip((-2, -1)), (1, 1), (-2, -1))
    powers = torch.fft.fftshift((shifted + mirrored) / 2, dim=(-2, -1))
    weights = torch.tensor([0.5, 0.2, 0.3])[:n_components]
    return GaussianMixturePrior(weights, means, powers, sigma_min=0.1)


def real_covariance(power, dtype):
    """Covariance of all real components, by brute force from the inverse transform."""
    d = power.numel()
    basis = torch.eye(d, dtype=torch.complex128).reshape(d, *power.shape)
    centred = torch.fft.ifftshift(power)
    rows = torch.fft.ifft2(torch.fft.fft2(basis) * centred).reshape(d, d).mT
    if not dtype.is_complex:
        return rows.real
    return torch.cat([torch.cat([rows.real, -rows.imag], 1), torch.cat([rows.imag, rows.real], 1)])


def as_real(x):
    return torch.cat([x.real, x.imag], -1) if x.is_complex() else x


def log_density(prior, x, sigma):
    """Of flat real vectors, component by component, with torch's own Gaussian."""
    parts = []
    for weight, mean, power in zip(prior.weights, prior.means, prior.powers, strict=True):
        covariance = real_covariance(power + sigma**2, prior.means.dtype)
        gaussian = torch.distributions.MultivariateNormal(as_real(mean.flatten()), covariance)
        parts.append(weight.log() + gaussian.log_prob(x))
    return torch.stack(parts)


@pytest.mark.parametrize("dtype", [torch.complex128, torch.float64])
@pytest.mark.parametrize("shape", [(3, 4), (3, 3)])
@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_score_is_the_gradient_of_the_log_density(dtype, shape, sigma):
    prior = random_mixture(shape, dtype)
    x = standard_normal((5, *shape), torch.Generator().manual_seed(2), dtype)
    flat = as_real(x.reshape(5, -1)).requires_grad_()
    parts = log_density(prior, flat, sigma)
    parts.logsumexp(0).sum().backward()
    scale = flat.grad.abs().max() * parts.detach().abs().max()  # weights are exp of these
    found = as_real(prior.score(x, sigma).reshape(5, -1))
    assert_equal_to_rounding(found, flat.grad, scale=scale)
    tweedie = x + sigma**2 * prior.score(x, sigma)
    assert_equal_to_rounding(prior.denoise(x, sigma), tweedie)


@pytest.mark.parametrize("dtype", [torch.complex128, torch.float64])
def test_posterior_of_a_mixture_from_joint_gaussians(dtype):
    """Conditioning the joint covariance of (x, y) in all real components."""
    shape, noise_std = (3, 4), 0.3
    prior = random_mixture(shape, dtype)
    generator = torch.Generator().manual_seed(4)
    matrix = standard_normal((7, 12), generator, dtype)
    y = standard_normal((7,), generator, dtype)
    exact = exact_posterior(prior, matrix, y, noise_std)
    real = matrix
    if dtype.is_complex:
        upper, lower = [matrix.real, -matrix.imag], [matrix.imag, matrix.real]
        real = torch.cat([torch.cat(upper, 1), torch.cat(lower, 1)])
    evidence = []
    for k in range(3):
        covariance = real_covariance(prior.powers[k] + prior.sigma_min**2, dtype)
        mean = as_real(prior.means[k].flatten())
        of_data = real @ covariance @ real.mT + noise_std**2 * torch.eye(len(real)).double()
        gaussian = torch.distributions.MultivariateNormal(real @ mean, of_data)
        evidence.append(prior.weights[k].log() + gaussian.log_prob(as_real(y)))
        gain = covariance @ real.mT @ torch.linalg.inv(of_data)
        expected = mean + gain @ (as_real(y) - real @ mean)
        left = covariance - gain @ real @ covariance
        condition = torch.linalg.cond(left)
        scale = condition * expected.abs().max()
        assert_equal_to_rounding(as_real(exact.means[k]), expected, scale=scale)
        found = (exact.choleskys[k] @ exact.choleskys[k].mH).real
        assert_equal_to_rounding(found, left[:12, :12], scale=condition * covariance.abs().max())
    logarithms = torch.stack(evidence)
    scale = condition * logarithms.abs().max()
    assert_equal_to_rounding(exact.weights, torch.softmax(logarithms, 0), scale=scale)


@pytest.mark.parametrize("dtype", [torch.complex128, torch.float64])
def test_exact_samples_have_the_stated_moments(dtype):
    prior = random_mixture((3, 4), dtype)
    matrix = standard_normal((2, 12), torch.Generator().manual_seed(4), dtype)
    exact = exact_posterior(prior, matrix, torch.ones(2, dtype=dtype), 2.0)
    n = 20_000
    samples = exact.sample(n, torch.Generator().manual_seed(5))
    error = (samples.mean(0) - exact.mean).abs() / (exact.std / math.sqrt(n))
    assert float(error.max()) < 6
    spread = (samples - exact.mean).abs().square().mean(0).sqrt()
    torch.testing.assert_close(spread, exact.std, rtol=0.04, atol=0)
    trace = torch.diagonal(exact.covariance()).real * (2 if dtype.is_complex else 1)
    assert_equal_to_rounding(trace.sqrt().reshape(3, 4), exact.std)
    shares = exact.responsibilities(samples)
    assert float((shares.mean(0) - exact.weights).abs().max()) < 6 * 0.5 / math.sqrt(n)
    assert_equal_to_rounding(shares.sum(1), torch.ones(n).double())


def test_gaussian_and_mixture_of_one_agree():
    power = random_mixture((3, 4), torch.complex128).powers[0]
    mean = standard_normal((3, 4), torch.Generator().manual_seed(1), torch.complex128)
    gaussian = GaussianPrior(power, mean=mean, sigma_min=0.1)
    mixture = GaussianMixturePrior(torch.ones(1), mean[None], power[None], sigma_min=0.1)
    matrix = standard_normal((5, 12), torch.Generator().manual_seed(4), torch.complex128)
    y = torch.ones(5, dtype=torch.complex128)
    one = exact_posterior(gaussian, matrix, y, 0.3, shape=(3, 4))
    other = exact_posterior(mixture, matrix, y, 0.3)
    assert_equal_to_rounding(one.mean, other.mean)
    assert_equal_to_rounding(one.std, other.std)
    x = mean[None] * 2
    assert_equal_to_rounding(gaussian.score(x, 0.5), mixture.score(x, 0.5))


def test_arguments_that_do_not_fit():
    prior = random_mixture((3, 4), torch.complex128)
    matrix, y = torch.ones(5, 12, dtype=torch.complex128), torch.ones(5, dtype=torch.complex128)
    with pytest.raises(ShapeError, match="matrix"):
        exact_posterior(prior, matrix[:, :11], y, 0.3)
    with pytest.raises(ConfigurationError, match="noise_std"):
        exact_posterior(prior, matrix, y, 0.0)
    with pytest.raises(DtypeError, match="complex"):
        exact_posterior(prior, matrix.real, y.real, 0.3)
    with pytest.raises(ConfigurationError, match="GaussianPrior"):
        exact_posterior(object(), matrix, y, 0.3, shape=(3, 4))
    with pytest.raises(ConfigurationError, match="shape"):
        exact_posterior(GaussianPrior.power_law(), matrix, y, 0.3)
