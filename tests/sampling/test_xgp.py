"""The published algorithms: section F, convergence, warm starts, schedules."""

import math
import warnings

import pytest
import torch

from mri_alps.core.errors import ConfigurationError, MriAlpsWarning
from mri_alps.operators import IdentityOperator
from mri_alps.priors import GaussianPrior, PriorSpectrum
from mri_alps.sampling import admissible_schedule, sample_posterior
from mri_alps.sampling.initial import InitialEstimate
from mri_alps.sampling.schedules import AdmissibleSchedule, curvature_bounds, plan_langevin
from mri_alps.sampling.xgp import XgpConfiguration, sample_xgp1

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
    annealed, _ = variances(annealed=True, n_evaluations=2200)
    assert annealed.min() > 0.9
    assert (annealed - 1).abs().max() < 0.25 * (direct - 1).abs().max()


@pytest.mark.filterwarnings("ignore:the admissible schedule needs")
def test_xgp1_converges_to_the_exact_posterior_as_evaluations_grow():
    shape = (360,)
    power = 0.05 + torch.linspace(0, 1, 360, dtype=torch.float64)
    power = (power + power.roll(1).flip(0)) / 2  # even in k: real images stay real
    prior = GaussianPrior(power, sigma_min=0.05, sigma_max=5.0)
    operator = IdentityOperator(shape)
    data = torch.zeros(360, dtype=torch.complex128)
    smooth = power + prior.sigma_min**2
    exact = (1 / (1 / smooth + 1 / 0.3**2)).mean().sqrt()
    errors = []
    for n_evaluations in (60, 400, 2400):
        samples = sample_posterior(
            prior, operator, data, 0.3, n_samples=20, n_evaluations=n_evaluations, method="xgp1",
            generator=torch.Generator().manual_seed(1),
        ).samples  # fmt: skip
        std = (samples.abs().square().mean() / 2).sqrt()
        errors.append(abs(float(std / exact) - 1))
    assert errors[2] < errors[0]
    # 20 samples of 360 pixels with two components each: relative error of a deviation.
    assert errors[2] < 5 / math.sqrt(2 * 20 * 720) + 0.02


def test_too_few_evaluations_are_said_with_the_number_needed():
    prior = GaussianPrior(torch.full((6,), 0.5, dtype=torch.float64))
    data = torch.zeros(6, dtype=torch.complex128)
    with pytest.warns(MriAlpsWarning, match="ask for at least"):
        result = sample_posterior(
            prior, IdentityOperator((6,)), data, 0.05, n_samples=2, n_evaluations=20, method="xgp1"
        )
    assert result.n_evaluations <= 20


@pytest.mark.parametrize("method", ["xgp2", "xgp3", "alps"])
def test_warm_starts_sample_the_posterior_given_the_estimate(method):
    """p(x | y, x0) of a white Gaussian prior: precision 1/P + 1/eta^2 + 1/sigma0^2."""
    n, noise_std, sigma0 = 512, 0.5, 0.4
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
        n_samples=50,
        n_evaluations=400 if method == "alps" else 1300,
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


@pytest.mark.parametrize(
    "configuration, most",
    [
        (XgpConfiguration(), 1.015),
        (XgpConfiguration(integrator="leimkuhler-matthews"), 1.005),
        (XgpConfiguration(largest_step=1.0), None),
    ],
    ids=["accurate", "leimkuhler-matthews", "stable"],
)
def test_at_the_number_asked_for_the_deviation_is_that_of_the_posterior(configuration, most):
    """A Gaussian prior whose curvatures are 1 to 4; per real component, exact to the error.

    Steps that are merely stable leave 10 % and more.
    """
    n, noise_std, n_samples = 4096, 1.0, 4
    power = 1 / torch.linspace(1, 4, n // 2, dtype=torch.float64)
    power = torch.cat([power.flip(0), power])
    prior = GaussianPrior(power, sigma_min=0.05, sigma_max=5.0)
    data = torch.zeros(n, dtype=torch.complex128)

    def sample(n_evaluations):
        return sample_posterior(
            prior, IdentityOperator((n,)), data, noise_std, n_samples=n_samples,
            n_evaluations=n_evaluations, generator=torch.Generator().manual_seed(1),
            method=lambda task: sample_xgp1(task, configuration),
        )  # fmt: skip

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MriAlpsWarning)
        needs = sample(20).diagnostics["schedule"]
    samples = sample(needs["n_needed"] + 200).samples  # and no warning
    spectrum = torch.fft.fftshift(torch.fft.fft(samples, norm="ortho"), dim=-1)
    found = (spectrum.abs().square() / 2).mean(0)
    ratio = (found / (1 / (1 / (power + prior.sigma_min**2) + 1 / noise_std**2))).mean().sqrt()
    error = 3 / math.sqrt(2 * 2 * n * n_samples)
    if most is None:
        assert ratio > 1.1
    else:
        assert 1 - error - 0.003 < ratio < most + error


def test_the_smallest_curvature_is_no_mean():
    """A prior with a direction of variance 100: no alpha above 0.01 can hold, whatever the score.

    The measured score power, here that of a prior with strong edges, says 50 and more.
    """
    sigmas = torch.tensor([0.1, 10.0], dtype=torch.float64)
    power = torch.tensor([0.1, 100.0, 0.1], dtype=torch.float64)
    spectrum = PriorSpectrum(
        sigmas=sigmas,
        image_power=power,
        score_power=torch.tensor([[5000.0, 50, 5000], [0.01, 0.005, 0.01]], dtype=torch.float64),
        error_power=power.expand(2, 3),
        curvature=torch.tensor([2.0, 1.0]),
    )
    smallest, largest = curvature_bounds(spectrum, 0.1, (3,))
    assert smallest == pytest.approx(0.01)
    assert largest == pytest.approx(100), "1 / sigma_min^2 bounds the curvature of any density"
    local = curvature_bounds(spectrum, 0.1, (3,), sigma0=0.5)
    assert local == pytest.approx((smallest + 4, largest + 4))


def test_a_problem_whose_data_say_little_has_one_level_and_a_time_for_it():
    """Noise above |A| sqrt(d / alpha): the posterior is nearly the prior."""
    schedule = admissible_schedule(50.0, 1.0, 6.0, 6.0, 2.0, strong_convexity=4.0)
    assert schedule.noise_levels[1:] == (50.0,) and schedule.times == (2.0 / 4.0,)
    prior = GaussianPrior(torch.full((64,), 0.5, dtype=torch.float64))
    data = torch.zeros(64, dtype=torch.complex128)
    result = sample_posterior(
        prior, IdentityOperator((64,)), data, 50.0, n_samples=64, n_evaluations=400, method="xgp1",
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    (level,) = result.diagnostics["levels"]
    # The time of a level is 2 / alpha, not a noise level.
    assert level["step_size"] * level["n_steps"] == pytest.approx(2 * 0.5, rel=0.01)
    power = float(result.samples.abs().square().mean() / 2)
    assert power == pytest.approx(0.5, rel=6 / math.sqrt(64 * 64) + 0.01)


def test_a_schedule_of_one_level_is_refused():
    with pytest.raises(ConfigurationError, match="two levels at least"):
        AdmissibleSchedule((0.1,), ())


def test_a_schedule_cut_short_keeps_its_time_and_reaches_the_outermost_level():
    arguments = (0.1, 1.2, 5e3, 6e3, 60.0, 0.01)
    full = admissible_schedule(*arguments, constant=1e-7, max_levels=10**5)
    short = admissible_schedule(*arguments, constant=1e-7, max_levels=100)
    assert len(full.times) > 500 and len(short.times) <= 100
    needed = [plan_langevin(schedule, 100, 3.0, 1.2).n_needed for schedule in (full, short)]
    assert needed[1] == pytest.approx(needed[0], rel=0.1)
    for schedule in (full, short):
        assert schedule.noise_levels[0] >= 1.2 * math.sqrt(6e3 / 0.01)


def test_the_last_level_is_never_passed_over():
    schedule = AdmissibleSchedule((8.0, 4.0, 2.0, 1.0), (1000.0, 1000.0, 0.01))
    for n_steps in (1, 2, 7):
        plan = plan_langevin(schedule, n_steps, 1.0, 1.0)
        assert plan.factors[-1] == 1 and sum(plan.n_steps) == n_steps


def test_an_estimate_noisier_than_the_score_is_known_for_is_refused():
    prior = GaussianPrior(torch.full((6,), 0.5, dtype=torch.float64), sigma_max=5.0)
    data = torch.zeros(6, dtype=torch.complex128)
    for method, trust in (("xgp2", {"sigma": 6.0}), ("xgp3", {"radius": 0.6, "delta": 0.1})):
        with (
            pytest.raises(ConfigurationError, match=r"= 6, .* sigma_max = 5"),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", MriAlpsWarning)
            sample_posterior(
                prior, IdentityOperator((6,)), data, 0.1, n_samples=2, n_evaluations=20,
                method=method, initial=InitialEstimate(torch.zeros(6), **trust),
            )  # fmt: skip


def test_an_unknown_integrator_is_refused():
    with pytest.raises(ConfigurationError, match="leimkuhler-matthews"):
        XgpConfiguration(integrator="runge-kutta")


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
