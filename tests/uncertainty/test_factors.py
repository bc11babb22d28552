"""Factors from left-out samples, and deviations scaled by them."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from scipy import stats

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import standard_normal
from mri_alps.masks import make_mask
from mri_alps.operators import SenseOperator
from mri_alps.priors import GaussianPrior
from mri_alps.priors.spectrum import frequency_radius as cycles_per_pixel
from mri_alps.sampling import sample_posterior
from mri_alps.uncertainty import (
    LeftOutEnergies,
    UncertaintyFactors,
    choose_left_out,
    compare_left_out,
    fit_factors,
    scale_deviations,
)
from tests.sampling.posterior_bed import coil_maps

COMPLEX = torch.complex64


def energies(factor, n_tiles=64, seed=0, n_values=40, pixel_noise=0.0):
    """Tiles of `n_values` Gaussian values each, whose errors are `factor(radius)` too large."""
    generator = np.random.default_rng(seed)
    radius = np.linspace(0.05, 1, n_tiles)
    level = 1 / radius**2
    noise = np.full(n_tiles, 0.5 * n_values)
    draws = generator.chisquare(2 * n_values, n_tiles) / 2
    error = draws * (factor(radius) ** 2 * level + 0.5)
    # At pixels: a complex error of variance 1 + noise, the 1 known from 3 samples.
    squared_error = generator.exponential(1 + pixel_noise, 400)
    variance = generator.chisquare(4, 400) / 4
    pixels = (squared_error, variance, pixel_noise)
    return LeftOutEnergies(error, n_values * level, noise, radius, 4, 60, *pixels, 3)


@pytest.mark.parametrize("truth", [0.5, 1.0, 2.5])
def test_one_factor_is_found_within_its_error(truth):
    found = [fit_factors([energies(lambda r: truth + 0 * r, seed=seed)]) for seed in range(20)]
    distance = [(one.overall - truth) / one.overall_error for one in found]
    assert abs(np.mean([one.overall for one in found]) / truth - 1) < 0.02
    assert 0.5 < np.std(distance) < 2
    # bands that do not differ are told apart little; what is left of the noise makes the outer
    # ones of a factor of 0.5 wider
    widest = [max(one.factor) / min(one.factor) for one in found]
    assert np.mean(widest) < (1.1 if truth >= 1 else 1.15)


def test_a_factor_that_follows_the_frequency_is_followed():
    found = fit_factors([energies(lambda r: 1 + 2 * r, n_values=400)])
    expected = 1 + 2 * np.array(found.radius)
    np.testing.assert_allclose(found.factor, expected, rtol=0.15)
    grid = found.filter((33, 32))
    assert grid.shape == (33, 32)
    assert grid[16, 16] == pytest.approx(found.factor[0], rel=1e-5)
    assert grid[16, 31] == pytest.approx(found.factor[-1], rel=0.1)


def test_a_band_of_noise_follows_the_slope_of_the_others():
    """Of the outermost quarter 85 % are noise, whose level is 8 % too large."""
    slope, seen = 0.4, []
    for seed in range(20):
        one = energies(lambda r: np.exp(slope * r), seed=seed, n_values=12)
        noise = np.where(one.radius > 0.75, 240.0, 0.0)
        error = one.error + 0.85 * noise
        found = fit_factors([dataclasses.replace(one, error=error, noise=one.noise + noise)])
        rise = math.log(found.factor[-1] / found.factor[0])
        seen.append(rise / slope / (found.radius[-1] - found.radius[0]))
    # One has a scatter of 0.4, the mean of 20 of 0.09.
    assert np.mean(seen) == pytest.approx(1, abs=0.27)


def test_too_little_gives_no_factor():
    assert fit_factors([]) is None
    assert fit_factors([energies(lambda r: 1 + 0 * r, n_tiles=4)]) is None


def test_what_is_not_finite_is_refused():
    good = energies(lambda r: 1 + 0 * r)
    with pytest.raises(ConfigurationError, match="NaN"):
        fit_factors([dataclasses.replace(good, error=good.error * np.nan)])


@pytest.mark.parametrize("noise", [0.0, 0.5, 20.0])
def test_coverage_of_left_out_samples_is_nominal_where_the_prediction_is_right(noise):
    found = fit_factors(
        [energies(lambda r: 1 + 0 * r, seed=seed, pixel_noise=noise) for seed in range(20)]
    )
    nominal = np.array(found.nominal)
    chance = np.sqrt(nominal * (1 - nominal) / 8000)
    assert (np.abs(np.array(found.observed_before) - nominal) < 3.5 * chance).all()
    assert found.coverage_before == found.observed_before[found.nominal.index(0.9)]


def test_coverage_after_is_that_of_the_scaled_deviation():
    made = energies(lambda r: 2 + 0 * r, n_values=4000)
    made = dataclasses.replace(made, squared_error=4 * made.squared_error)
    found = fit_factors([made])
    nominal = np.array(found.nominal)
    assert (np.array(found.observed_before) < nominal - 0.03).all()
    np.testing.assert_allclose(found.observed_after, nominal, atol=0.1)


def test_factors_survive_json():
    found = fit_factors([energies(lambda r: 1 + 0 * r)], slices=[3])
    record = json.loads(json.dumps(dataclasses.asdict(found)))
    assert UncertaintyFactors.from_record(record) == found


def constant(factor):
    return UncertaintyFactors(factor, 0.1, (0.5,), (factor,), (0.1,), 0.9, 0.9, 4, 60)


@pytest.mark.parametrize("shape", [(24, 32), (23, 31)])
def test_only_what_the_data_leave_open_is_scaled(shape):
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(shape[1], dtype=torch.bool)
    mask[::2] = True
    operator = SenseOperator(torch.ones((1, *shape), dtype=COMPLEX), mask)
    deviation = standard_normal((3, *shape), generator, COMPLEX)
    noise_std = 1e-3
    samples = ifftc(fftc(deviation) * torch.where(mask, noise_std, 1.0)) + 2
    scaled = scale_deviations(samples, constant(2.0), operator, noise_std)
    torch.testing.assert_close(scaled.mean(0), samples.mean(0), rtol=0, atol=1e-5)
    before, after = (fftc(x - x.mean(0)) for x in (samples, scaled))
    open_ratio = after[..., ~mask].abs() / before[..., ~mask].abs()
    torch.testing.assert_close(open_ratio, torch.full_like(open_ratio, 2.0), rtol=1e-2, atol=0)
    change = (after - before)[..., mask].abs().max()
    assert change < 0.2 * noise_std


def power(n, amplitude=1.0):
    radius = cycles_per_pixel((n, n)) * n
    return (40 * amplitude / (1 + (radius / 3) ** 3)).float()


def calibrated(prior, truth_power, n, acceleration, seed):
    """Factors and, before and after, the deviation over the error and the coverage."""
    generator = torch.Generator().manual_seed(seed)
    truth = ifftc(truth_power.sqrt() * standard_normal((n, n), generator, COMPLEX))
    mask = torch.as_tensor(make_mask("equispaced", (n, n), acceleration, 0.32 / acceleration, seed))
    mask, noise_std = mask[0], 0.01 * float(truth.abs().max())
    maps = coil_maps(8, (n, n), COMPLEX)

    def draw(operator, count):
        data = kspace * operator.measured
        result = sample_posterior(
            prior, operator, data, noise_std, n_samples=count, n_evaluations=20, generator=generator
        )
        return result.samples

    operator = SenseOperator(maps, mask)
    noise = standard_normal(operator.range_shape, generator, COMPLEX)
    kspace = (operator.forward(truth) + noise_std * noise) * operator.measured
    compared = []
    whole = np.broadcast_to(mask.numpy(), (n, n))
    for fold in choose_left_out(whole, (n, round(0.32 / acceleration * n)), 2, seed):
        left_out = torch.as_tensor(fold)
        samples = draw(SenseOperator(maps, mask & ~left_out[0]), 3)
        compared.append(compare_left_out(maps, left_out, kspace, samples, noise_std))
    factors = fit_factors(compared)
    samples = draw(operator, 8)
    found = []
    half_width = stats.t.ppf(0.95, 7) * math.sqrt(9 / 8)
    for drawn in (samples, scale_deviations(samples, factors, operator, noise_std)):
        error, deviation = (torch.view_as_real(x) for x in (truth - drawn.mean(0), drawn))
        std = deviation.std(0)
        ratio = std.square().sum() * 9 / 8 / error.square().sum()
        found += [float(ratio.sqrt()), float((error.abs() <= half_width * std).double().mean())]
    return [factors.overall, factors.overall_error, *found]


@pytest.mark.slow
@pytest.mark.parametrize("amplitude", [1.0, 0.25, 4.0])
def test_deviations_of_a_wrong_prior_are_mended_and_of_a_right_one_kept(amplitude):
    n, n_seeds = 64, 12
    prior = GaussianPrior(power(n, amplitude))
    runs = np.array([calibrated(prior, power(n), n, 4, seed) for seed in range(n_seeds)])
    factor, stated, before, _, after, coverage = runs.mean(0)
    scatter = runs.std(0) / math.sqrt(n_seeds)
    assert abs(after - 1) < 0.1
    assert 0.88 - 3 * scatter[5] < coverage < 0.92 + 3 * scatter[5]
    if amplitude == 1:
        assert abs(factor - 1) < 3 * scatter[0] + 0.02
        assert runs[:, 0].std() < 2 * stated
    else:
        assert abs(before - 1) > 0.3


@pytest.mark.parametrize("name", ["maps", "noise_has_signal"])
def test_where_maps_are_uncertain_or_noise_is_not_noise_no_factor_is_below_one(name):
    plain = energies(lambda r: 0.5 + r)
    found = fit_factors([plain])
    assert min(found.factor) < 0.8
    doubt = {"maps": np.zeros_like(plain.error), "noise_has_signal": True}
    uncertain = fit_factors([dataclasses.replace(plain, **{name: doubt[name]})])
    assert uncertain.factor == tuple(max(one, 1.0) for one in found.factor)
    assert uncertain.overall == max(found.overall, 1.0)


def test_what_uncertain_maps_add_is_not_scaled_with_the_prior():
    """Errors of twice the deviation, and three times that much of the maps' own beside them."""
    plain = energies(lambda r: 2 + 0 * r, n_values=400)
    maps, of_pixels = 3 * plain.predicted, 3 * plain.variance
    squared = plain.squared_error * 7  # 2^2 + 3
    changes = {"error": plain.error + maps, "squared_error": squared, "maps": maps}
    made = dataclasses.replace(plain, **changes, maps_variance=of_pixels)
    found = fit_factors([made])
    assert found.overall == pytest.approx(2, rel=0.03)
    assert fit_factors([dataclasses.replace(made, maps=None)]).overall > 2.5
    assert found.coverage_after == pytest.approx(0.9, abs=0.05)
