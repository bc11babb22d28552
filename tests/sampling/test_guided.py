"""Guided diffusion, the outer path of large problems: exact under a Gaussian prior."""

import pytest
import torch

from mri_alps.inverse_problem.covariance import make_covariance
from mri_alps.inverse_problem.problem import make_problem
from mri_alps.operators import InpaintingOperator, SenseOperator
from mri_alps.operators.restoration.inpainting import random_pixel_mask
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.priors.exact import exact_posterior
from mri_alps.sampling import AlpsConfiguration, estimate_prior_spectrum, sample_posterior
from mri_alps.sampling.initial import InitialEstimate
from mri_alps.sampling.restarts import sample_alps
from tests.sampling.posterior_bed import (
    coil_maps,
    image_power,
    line_mask,
    make_prior,
    measure,
    sense_bed,
)
from tests.sampling.test_alps_gaussian import (
    assert_exact,
    make_gaussian,
    sense,
    simulate,
    solved,
)

C128 = torch.complex128


def guided(task):
    return sample_alps(task, AlpsConfiguration(handover=0.5, start_excess=-1.0))


def solved_guided(task):
    return sample_alps(task, AlpsConfiguration(handover=0.5, start_excess=-1.0, dense_limit=0))


def random_mask(shape):
    return random_pixel_mask(shape, 0.3, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("noise_std", [0.02, 0.5])
@pytest.mark.parametrize("case", ["lines", "2-D mask", "real"])
def test_samples_are_those_of_the_closed_form(case, noise_std):
    shape, dtype = (9, 10), torch.float64 if case == "real" else C128
    operator = {
        "lines": lambda: sense(shape, line_mask(10, 3, 2)),
        "2-D mask": lambda: sense(shape, random_mask(shape)),
        "real": lambda: InpaintingOperator(random_mask(shape)),
    }[case]()
    prior = make_gaussian(shape)
    data = simulate(prior, operator, noise_std, dtype)
    seen = []
    result = sample_posterior(
        prior, operator, data, noise_std, n_samples=300, n_evaluations=8, method=guided,
        generator=torch.Generator().manual_seed(3), callback=lambda info: seen.append(info.phase),
    )  # fmt: skip
    assert seen[0] == "start" and seen[-1] == "final"
    assert_exact(result.samples, exact_posterior(prior, operator, data, noise_std))


def test_slices_are_solved_with_their_own_noise():
    shape, levels = (8, 10), (0.05, 0.6)
    single = [SenseOperator(coil_maps(n, shape)[:3], line_mask(10, 3, 2)) for n in (3, 4)]
    operator = SenseOperator(torch.stack([o.sensitivity_maps for o in single]), line_mask(10, 3, 2))
    prior = make_gaussian(shape)
    data = [
        simulate(prior, one, level, C128, seed=i)
        for i, (one, level) in enumerate(zip(single, levels, strict=True))
    ]
    result = sample_posterior(
        prior, operator, torch.stack(data), torch.tensor(levels), n_samples=300, n_evaluations=8,
        method=guided, generator=torch.Generator().manual_seed(3),
    )  # fmt: skip
    for i, (one, level) in enumerate(zip(single, levels, strict=True)):
        assert_exact(result.samples[:, i], exact_posterior(prior, one, data[i], level))


def test_samples_do_not_depend_on_the_batch():
    """Chains of a batch are solved together, each to its own last iteration."""
    prior = make_prior(8, (8, 8))
    operator = SenseOperator(coil_maps(3, (8, 8)), line_mask(8, 3, 2))
    data = measure(prior, operator, 0.3, torch.Generator().manual_seed(2)).data
    spectrum = estimate_prior_spectrum(prior, (8, 8), dtype=C128)

    def draw(n, first=0):
        return sample_posterior(
            prior,
            operator,
            data,
            0.3,
            n_samples=n,
            n_evaluations=12,
            method=solved_guided,
            prior_spectrum=spectrum,
            first_sample=first,
            generator=torch.Generator().manual_seed(4),
        ).samples

    assert_equal_to_rounding(torch.cat([draw(2), draw(4, 2)]), draw(6))


def test_small_problems_follow_the_annealed_path_and_large_ones_are_guided():
    _, operator = sense_bed(1)
    problem = make_problem(operator, torch.zeros(operator.range_shape, dtype=C128), 0.1)
    assert make_covariance(problem).exact
    assert not make_covariance(problem, dense_limit=0).exact


def test_posterior_variance_lies_below_noise_and_prior():
    prior = make_gaussian((10, 12))
    spectrum = prior.prior_spectrum
    power = image_power((10, 12), 1.0)
    for sigma in (0.05, 0.3, 2.0):
        variance = sigma**2 - 0.02**2
        found = spectrum.posterior_variance(sigma, (10, 12))
        torch.testing.assert_close(found, variance * power / (variance + power), rtol=0.05, atol=0)


def test_a_large_problem_may_start_from_a_reconstruction():
    """The prior about it is annealed: diffusion is not guided there."""
    prior = make_prior(8, (8, 8))
    operator = SenseOperator(coil_maps(3, (8, 8)), line_mask(8, 3, 2))
    data = measure(prior, operator, 0.3, torch.Generator().manual_seed(2)).data
    image = prior.sample(1, torch.Generator().manual_seed(3))[0].reshape(8, 8).to(C128)
    phases = set()
    result = sample_posterior(
        prior,
        operator,
        data,
        0.3,
        n_samples=2,
        n_evaluations=12,
        method=solved,
        initial=InitialEstimate(image, radius=0.02),
        prior_spectrum=estimate_prior_spectrum(prior, (8, 8), dtype=C128),
        generator=torch.Generator().manual_seed(4),
        callback=lambda info: phases.add(info.phase),
    )
    assert bool(torch.isfinite(torch.view_as_real(result.samples)).all())
    assert phases == {"anneal", "final"}
