"""The published algorithms: section F, convergence, warm starts, schedules."""

import math

import pytest
import torch

from mri_alps.core.errors import ConfigurationError, MriAlpsWarning
from mri_alps.operators import IdentityOperator
from mri_alps.priors import GaussianPrior, PriorSpectrum
from mri_alps.sampling import admissible_schedule, sample_posterior
from mri_alps.sampling.initial import InitialEstimate
from mri_alps.sampling.xgp import XgpConfiguration, plan_langevin, sample_xgp1

N = 20_000
ETA2 = 0.1


class UnitGaussian:
    """N(0, 1) in every pixel, independent: section F's prior, many times over."""

    sigma_min, sigma_max = 0.001, 20.0

    def score(self, x, sigma):
        return -x / (1 + sigma**2 - self.sigma_min**2)

    def denoise(self, x, sigma):
        return x + sigma**2 * self.score(x, sigma)

    @property
    def prior_spectrum(self):
        sigmas = torch.tensor([self.sigma_min, self.sigma_max], dtype=torch.float64)
        flat = torch.ones(2, N, dtype=torch.float64)
        variance = (sigmas**2 - self.sigma_min**2)[:, None] * flat
        return PriorSpectrum(
            sigmas=sigmas,
            image_power=flat[0],
            score_power=1 / (1 + variance),
            error_power=variance / (1 + variance),
            excess=torch.zeros(2),
            curvature=torch.ones(2),
        )


def variances(annealed, n_evaluations):
    """Variance over pixels (over truths, data and chains at once) after each Langevin step."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(N, generator=generator, dtype=torch.float64)
    data = truth + math.sqrt(ETA2) * torch.randn(N, generator=generator, dtype=torch.float64)
    seen = []

    def watch(info):
        if info.phase != "start":
            seen.append(float(info.x.var()))

    result = sample_posterior(
        UnitGaussian(),
        IdentityOperator((N,)),
        data,
        math.sqrt(ETA2),
        n_samples=1,
        n_evaluations=n_evaluations,
        method=lambda task: sample_xgp1(task, XgpConfiguration(annealed=annealed)),
        generator=generator,
        callback=watch,
    )
    return torch.tensor(seen), result.diagnostics["levels"]


def test_direct_langevin_follows_section_f_and_annealing_stays_closer_to_one():
    direct, levels = variances(annealed=False, n_evaluations=1200)
    time = levels[0]["step_size"] * torch.arange(1, len(direct) + 1)
    rate = (1 + ETA2) / ETA2
    decay = torch.exp(-rate * time)
    expected = 1 - 2 / (1 + ETA2) * decay * (1 - decay)
    # Standard error of a variance over N pixels, and the Euler bias of order a h / 2.
    tolerance = 6 * math.sqrt(2 / N) + rate * levels[0]["step_size"]
    # The start, 200 evaluations of reverse diffusion, is not quite a prior sample.
    assert (direct - expected).abs().max() < tolerance + 0.04
    assert abs(float(direct.min()) - 6 / 11) < 0.02
    annealed, _ = variances(annealed=True, n_evaluations=1200)
    assert annealed.min() > 0.9
    assert (annealed - 1).abs().max() < 0.25 * (direct - 1).abs().max()


@pytest.mark.filterwarnings("ignore:the admissible schedule needs")
def test_xgp1_converges_to_the_exact_posterior_as_evaluations_grow():
    shape = (12,)
    power = 0.05 + torch.linspace(0, 1, 12, dtype=torch.float64)
    power = (power + power.roll(1).flip(0)) / 2  # even in k: real images stay real
    prior = GaussianPrior(power, sigma_min=0.05, sigma_max=5.0)
    operator = IdentityOperator(shape)
    data = torch.zeros(12, dtype=torch.complex128)
    smooth = power + prior.sigma_min**2
    exact = (1 / (1 / smooth + 1 / 0.3**2)).mean().sqrt()
    errors = []
    for n_evaluations in (60, 400, 2400):
        samples = sample_posterior(
            prior, operator, data, 0.3, n_samples=600, n_evaluations=n_evaluations, method="xgp1",
            generator=torch.Generator().manual_seed(1),
        ).samples  # fmt: skip
        std = (samples.abs().square().mean() / 2).sqrt()
        errors.append(abs(float(std / exact) - 1))
    assert errors[2] < errors[0]
    # 600 samples of 12 pixels with two components each: relative error of a deviation.
    assert errors[2] < 5 / math.sqrt(2 * 600 * 24) + 0.02


def test_too_few_evaluations_are_said_with_the_number_needed():
    prior = GaussianPrior(torch.full((6,), 0.5, dtype=torch.float64))
    data = torch.zeros(6, dtype=torch.complex128)
    with pytest.warns(MriAlpsWarning, match="ask for at least"):
        result = sample_posterior(
            prior, IdentityOperator((6,)), data, 0.05, n_samples=2, n_evaluations=20, method="xgp1"
        )
    assert result.n_evaluations <= 20


@pytest.mark.filterwarnings("ignore:the admissible schedule needs")
@pytest.mark.parametrize("method", ["xgp2", "xgp3", "alps"])
def test_warm_starts_sample_the_posterior_given_the_estimate(method):
    """p(x | y, x0) of a white Gaussian prior: precision 1/P + 1/eta^2 + 1/sigma0^2."""
    n, noise_std, sigma0 = 64, 0.5, 0.4
    prior = GaussianPrior(torch.full((n,), 1.0, dtype=torch.float64), sigma_min=0.05)
    data = torch.full((n,), 1.0 + 0.5j, dtype=torch.complex128)
    initial = torch.full((n,), -0.5 + 1j, dtype=torch.complex128)
    trust = {"sigma": sigma0}
    if method != "xgp2":
        trust = {"radius": 0.1 * sigma0, "delta": 0.1}
    samples = sample_posterior(
        prior,
        IdentityOperator((n,)),
        data,
        noise_std,
        n_samples=400,
        n_evaluations=400,
        method=method,
        initial=InitialEstimate(initial, **trust),
        generator=torch.Generator().manual_seed(2),
    ).samples
    variance = 1 / (1 / (1 + 0.05**2) + 1 / noise_std**2 + 1 / sigma0**2)
    mean = variance * (data / noise_std**2 + initial / sigma0**2)
    added = 0.0 if method == "xgp2" else (variance / sigma0**2 * sigma0) ** 2  # x0' varies
    total = variance + added
    count = samples.numel()
    assert abs((samples - mean).mean()) < 6 * math.sqrt(2 * total / count) + 0.02
    found = float((samples - mean).abs().square().mean() / 2)
    assert abs(found / total - 1) < 6 / math.sqrt(count) + 0.03


def test_missing_hints_are_named():
    prior = GaussianPrior(torch.full((4,), 0.5, dtype=torch.float64))
    data = torch.zeros(4, dtype=torch.complex128)
    for method, hint in (("xgp2", "sigma="), ("xgp3", "radius=")):
        with pytest.raises(ConfigurationError, match=hint):
            sample_posterior(
                prior,
                IdentityOperator((4,)),
                data,
                0.1,
                n_samples=2,
                n_evaluations=20,
                method=method,
            )


def test_schedules_are_admissible():
    constant, alpha, norm, m, radius = 1e-3, 2.0, 1.5, 50.0, 4.0
    schedule = admissible_schedule(0.1, norm, m, 60.0, radius, alpha, constant=constant)
    levels = schedule.noise_levels
    assert levels[-1] == 0.1 and levels[0] >= norm * math.sqrt(60 / alpha)
    for outer, inner, time in zip(levels[:-1], levels[1:], schedule.times, strict=True):
        gamma = (outer / inner) ** 2 - 1
        assert 0 < gamma <= 1 + 1e-12
        left = norm**4 * (time**2 * m + time * radius**2)
        assert left <= outer**4 / (constant * gamma**2) * (1 + 1e-9)
    plan = plan_langevin(schedule, 500, 3.0, norm)
    assert sum(plan.n_steps) == 500 and plan.factors[-1] == 1
    for factor, step in zip(plan.factors, plan.step_sizes, strict=True):
        assert step <= 1 / (3 + (norm / (0.1 * factor)) ** 2) * (1 + 1e-9)
