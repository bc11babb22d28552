"""What `sample_posterior` promises whatever the method: seeds, counts, callbacks, errors."""

import math

import pytest
import torch

from mri_alps.core.errors import ConfigurationError, DivergenceError, DtypeError, ShapeError
from mri_alps.core.random import standard_normal
from mri_alps.operators import IdentityOperator, InpaintingOperator, SenseOperator
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.priors import GaussianMixturePrior, GaussianPrior
from mri_alps.sampling import LocalScore, estimate_prior_spectrum, sample_posterior
from mri_alps.sampling.diagnostics import effective_sample_size, split_r_hat
from mri_alps.sampling.initial import InitialEstimate

SHAPE = (8, 10)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def bimodal():
    """Two modes, 5 standard deviations apart at the lowest noise."""
    g = seeded(4)
    means = standard_normal((2, *SHAPE), g, torch.complex128)
    means = 0.4 * torch.stack([means[0], -means[0]]) / means[0].abs().max()
    powers = torch.full((2, *SHAPE), 0.02, dtype=torch.float64)
    return GaussianMixturePrior(torch.tensor([0.3, 0.7]), means, powers, 0.02, 8.0)


def scan(n_slices=None, seed=1):
    g = seeded(seed)
    shape = (3, *SHAPE) if n_slices is None else (n_slices, 3, *SHAPE)
    maps = standard_normal(shape, g, torch.complex128) * 0.5
    mask = torch.arange(SHAPE[1]) % 2 == 0
    operator = SenseOperator(maps, mask)
    data = operator.forward(standard_normal(operator.domain_shape, g, torch.complex128) * 0.3)
    return operator, data


class Counting:
    """Counts calls; has no spectrum of its own."""

    sigma_min, sigma_max = 0.02, 8.0

    def __init__(self, prior):
        self.prior, self.calls = prior, 0

    def score(self, x, sigma):
        self.calls += 1
        return self.prior.score(x, sigma)

    def denoise(self, x, sigma):
        self.calls += 1
        return self.prior.denoise(x, sigma)


def test_a_sample_does_not_depend_on_the_batch_it_is_drawn_in():
    operator, data = scan()
    prior = bimodal()
    spectrum = estimate_prior_spectrum(prior, SHAPE, dtype=torch.complex128)

    def draw(n, first=0):
        return sample_posterior(
            prior, operator, data, 0.2, n_samples=n, n_evaluations=12, prior_spectrum=spectrum,
            first_sample=first, generator=seeded(7),
        ).samples  # fmt: skip

    whole = draw(5)
    assert_equal_to_rounding(draw(2), whole[:2])
    assert_equal_to_rounding(draw(3, first=2), whole[2:])
    assert not torch.allclose(whole[0], whole[1])


def test_slices_together_equal_slices_alone():
    operator, data = scan(n_slices=2)
    prior = GaussianPrior.power_law(sigma_min=0.02)
    noise_std = torch.tensor([0.1, 0.3])
    both = sample_posterior(
        prior, operator, data, noise_std, n_samples=3, n_evaluations=8, generator=seeded()
    )
    assert both.samples.shape == (3, 2, *SHAPE)
    for k in range(2):
        one = SenseOperator(operator.sensitivity_maps[k], operator.mask[0])
        alone = sample_posterior(
            prior,
            one,
            data[k],
            float(noise_std[k]),
            n_samples=3,
            n_evaluations=8,
            generator=seeded(),
            first_slice=k,
        )
        assert_equal_to_rounding(alone.samples, both.samples[:, k])


def test_the_generator_is_advanced_and_fresh_entropy_is_recorded():
    operator, data = scan()
    prior = GaussianPrior.power_law(sigma_min=0.02)
    g = seeded()
    a, b = (
        sample_posterior(prior, operator, data, 0.1, n_samples=1, n_evaluations=4, generator=g)
        for _ in range(2)
    )
    assert a.seed != b.seed and not torch.allclose(a.samples, b.samples)
    c, d = (
        sample_posterior(prior, operator, data, 0.1, n_samples=1, n_evaluations=4) for _ in range(2)
    )
    assert c.seed != d.seed


@pytest.mark.filterwarnings("ignore:the admissible schedule needs")
@pytest.mark.parametrize("method", ["alps", "xgp1", "csgm", "dps"])
def test_evaluations_are_counted_and_never_more_than_asked(method):
    operator, data = scan()
    model = Counting(bimodal())
    steps = []
    result = sample_posterior(
        model,
        operator,
        data,
        0.2,
        n_samples=2,
        n_evaluations=21,
        method=method,
        generator=seeded(),
        callback=steps.append,
    )
    assert result.n_evaluations <= 21
    assert model.calls == result.n_evaluations + result.setup_evaluations
    assert len(steps) >= result.n_evaluations - 1
    assert result.samples.shape == (2, *SHAPE) and result.samples.dtype == torch.complex128
    if method == "alps":
        assert result.setup_evaluations > 0
        again = sample_posterior(
            model,
            operator,
            data,
            0.2,
            n_samples=2,
            n_evaluations=21,
            prior_spectrum=result.prior_spectrum,
            generator=seeded(),
        )
        assert again.setup_evaluations == 0
        assert_equal_to_rounding(again.samples, result.samples)


def test_a_callback_can_stop_the_run():
    operator, data = scan()
    result = sample_posterior(
        GaussianPrior.power_law(sigma_min=0.02),
        operator,
        data,
        0.1,
        n_samples=1,
        n_evaluations=20,
        generator=seeded(),
        callback=lambda info: "stop" if info.step == 6 else None,
    )
    assert result.n_evaluations == 6


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"noise_std": 0.0}, ConfigurationError, "noise_std must be positive"),
        ({"noise_std": float("nan")}, ConfigurationError, "noise_std must be positive"),
        ({"n_evaluations": 1}, ConfigurationError, "n_evaluations"),
        ({"n_samples": 0}, ConfigurationError, "n_samples"),
        ({"method": "magic"}, ConfigurationError, "no sampling method"),
        ({"score_model": object()}, ConfigurationError, "score model lacks"),
        ({"operator": object()}, ConfigurationError, "operator lacks"),
        ({"data": torch.zeros(3, 8, 9, dtype=torch.complex128)}, ShapeError, "expected"),
        ({"data": torch.zeros(3, 8, 10, dtype=torch.int64)}, DtypeError, "floating"),
        ({"initial": InitialEstimate(torch.zeros(4), sigma=1.0)}, ShapeError, "has shape"),
        ({"initial": torch.zeros(SHAPE)}, ConfigurationError, "InitialEstimate"),
    ],
)
def test_bad_arguments_are_named(change, error, match):
    operator, data = scan()
    arguments = {
        "score_model": GaussianPrior.power_law(),
        "operator": operator,
        "data": data,
        "noise_std": 0.1,
        "n_samples": 1,
        "n_evaluations": 4,
    } | change
    with pytest.raises(error, match=match):
        sample_posterior(**arguments)


def test_data_with_nan_are_refused():
    operator, data = scan()
    data[0, 0, 0] = float("nan")
    with pytest.raises(ConfigurationError, match="NaN"):
        sample_posterior(
            GaussianPrior.power_law(), operator, data, 0.1, n_samples=1, n_evaluations=4
        )


def test_a_prior_that_pushes_outwards_raises_and_returns_nothing():
    class Explosive(Counting):
        def score(self, x, sigma):
            return -3 * self.prior.score(x, sigma)

    operator = InpaintingOperator(torch.zeros(SHAPE, dtype=torch.bool), SHAPE)
    prior = GaussianPrior(torch.full(SHAPE, 0.3, dtype=torch.float64))
    with pytest.raises(DivergenceError) as caught:
        sample_posterior(
            Explosive(prior),
            operator,
            torch.zeros(SHAPE, dtype=torch.complex128),
            0.1,
            n_samples=2,
            n_evaluations=60,
            prior_spectrum=prior.prior_spectrum,
            generator=seeded(),
        )
    assert caught.value.step > 0 and caught.value.magnitude > 1


def test_local_score_is_the_gradient_of_the_smoothed_local_density():
    """One dimension, two modes: against numerical integration over the clean value."""
    means, power, sigma0, x0 = torch.tensor([-1.0, 1.5]).double(), 0.09, 0.7, 0.4
    prior = GaussianMixturePrior(
        torch.tensor([0.4, 0.6]), means[:, None], torch.full((2, 1), power), 1e-3, 10.0
    )
    local = LocalScore(prior, torch.tensor([[x0]]).double(), sigma0)
    grid = torch.linspace(-6, 7, 40_001, dtype=torch.float64)
    density = sum(
        w * torch.exp(-((grid - m) ** 2) / 2 / (power + 1e-6))
        for w, m in zip((0.4, 0.6), means, strict=True)
    ) * torch.exp(-((grid - x0) ** 2) / 2 / sigma0**2)
    for level in (0.3, 1.0):
        variance = level**2 - 1e-6
        for z in (-0.8, 0.2, 1.9):
            weight = density * torch.exp(-((z - grid) ** 2) / 2 / variance)
            expected = ((grid - z) * weight).sum() / weight.sum() / variance
            found = local.score(torch.tensor([[z]]).double(), level)
            assert math.isclose(float(found), float(expected), rel_tol=1e-4, abs_tol=1e-5)


def test_estimated_spectrum_matches_a_gaussian_prior():
    prior = GaussianPrior.power_law(sigma_min=0.05, sigma_max=20.0)
    found = estimate_prior_spectrum(prior, (16, 16), seeded(), torch.complex128)
    exact = prior.prior_spectrum
    for sigma in (0.05, 0.3, 3.0):
        ratio = found.fisher(sigma, (16, 16)) / exact.fisher(sigma, (16, 16))
        assert ratio.min() > 0.5 and ratio.max() < 2
    assert float(found.curvature.max()) < 1.3 and float(found.excess.max()) < 20


def test_chain_diagnostics_of_a_known_process():
    g, rho = seeded(), 0.8
    chains = torch.zeros(20, 2000, dtype=torch.float64)
    noise = torch.randn(20, 2000, generator=g, dtype=torch.float64)
    for t in range(1, 2000):
        chains[:, t] = rho * chains[:, t - 1] + noise[:, t]
    assert abs(split_r_hat(chains) - 1) < 0.01
    expected = 20 * 2000 * (1 - rho) / (1 + rho)
    assert 0.85 < effective_sample_size(chains) / expected < 1.15
    assert split_r_hat(chains + 10 * torch.arange(20)[:, None]) > 2


@pytest.mark.parametrize(("n_evaluations", "enough"), [(5, False), (30, True)])
def test_r_hat_is_there_with_four_final_steps_and_their_number_is_told(n_evaluations, enough):
    phases = []
    operator, data = scan()
    result = sample_posterior(
        bimodal(), operator, data, 0.1, n_samples=3, n_evaluations=n_evaluations,
        generator=seeded(), callback=lambda info: phases.append(info.phase),
    )  # fmt: skip
    n_final = phases.count("final")
    assert result.diagnostics["n_final_steps"] == n_final >= n_evaluations // 5
    for name in ("split_r_hat", "effective_sample_size"):
        value = result.diagnostics[name]
        assert math.isfinite(value) if enough else value is None


def test_real_images_stay_real():
    prior = GaussianPrior.power_law(sigma_min=0.02)
    data = torch.zeros(SHAPE, dtype=torch.float32)
    result = sample_posterior(
        prior, IdentityOperator(SHAPE), data, 0.1, n_samples=2, n_evaluations=6, generator=seeded()
    )
    assert result.samples.dtype == torch.float32
