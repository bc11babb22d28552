"""Pixels that no coil sees: the approximate inverse around them, and what it saves."""

import math

import pytest
import torch

from mri_alps.core.random import standard_normal
from mri_alps.inverse_problem import unseen
from mri_alps.inverse_problem.covariance import make_covariance
from mri_alps.inverse_problem.preconditioner import to_image, to_spectrum
from mri_alps.inverse_problem.problem import make_problem
from mri_alps.inverse_problem.unseen import MARGIN, find_unseen
from mri_alps.operators import SenseOperator
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.priors import GaussianPrior
from mri_alps.sampling import ChainNoise
from tests.sampling.posterior_bed import coil_maps, line_mask

C128, C64 = torch.complex128, torch.complex64


def ellipse(shape):
    y, x = (torch.linspace(-1, 1, n) for n in shape)
    return (y[:, None] / 0.86) ** 2 + (x / 0.68) ** 2 < 1


def problem_of(shape, noise_std, dtype=C128, batched=False):
    """Lines, 4x, and an object with air around it."""
    maps = coil_maps(6, shape, dtype) * ellipse(shape)
    maps = torch.stack([maps, maps.flip(-1)]) if batched else maps
    operator = SenseOperator(maps, line_mask(shape[1], 4, 4))
    return make_problem(operator, torch.zeros(operator.range_shape, dtype=dtype), noise_std)


def wide_fisher(shape):
    return 1 / GaussianPrior.power_law().prior_spectrum.image(shape)


def without(covariance):
    covariance._unseen = None
    return covariance


def error_energy(problem, fisher, noise_std, level, found, draw):
    """Of a solution, in squared standard deviations per real value."""
    covariance = make_covariance(problem)
    covariance.preconditioner.max_iterations = 3000
    tight = covariance.at(fisher, noise_std, 1e-9)
    exact = tight.solve(tight.perturbation(draw))
    assert int(exact.unsolved) == 0
    error = found.x - exact.x
    response = level.explained(to_image(error, problem)) + error * level.fisher
    return float((error.conj() * response).real.sum((-2, -1)).max() / fisher.numel() ** 2 / 2)


@pytest.mark.parametrize(("noise_std", "at_most"), [(0.01, 12), (0.003, 30)])
def test_far_fewer_iterations_at_a_low_noise_and_a_smaller_error(noise_std, at_most):
    problem, fisher = problem_of((60, 64), noise_std), wide_fisher((60, 64))
    draw = make_covariance(problem).draw(ChainNoise(problem, 3, range(3)))
    iterations = []
    for covariance in (without(make_covariance(problem)), make_covariance(problem)):
        level = covariance.at(fisher, problem.noise_std, 1e-3)
        found = level.solve(level.perturbation(draw))
        assert int(found.unsolved) == 0
        iterations.append(found.n_normals)
    assert iterations[1] <= at_most
    assert iterations[1] < 0.7 * iterations[0]
    assert error_energy(problem, fisher, problem.noise_std, level, found, draw) < 1e-3


@pytest.mark.parametrize("batched", [False, True])
def test_the_approximate_inverse_is_positive_definite(batched):
    shape = (47, 45)  # no line factors are needed: any positive P will do
    noise_std = torch.tensor([0.01, 0.03]) if batched else 0.01
    problem, fisher = problem_of(shape, noise_std, batched=batched), wide_fisher(shape)
    order = torch.fft.ifftshift(fisher)
    unseen = find_unseen(problem)
    improved = unseen.around(lambda spectrum: spectrum / (order + 300), order)
    generator = torch.Generator().manual_seed(0)
    outside = problem.operator.unseen
    for restrict in (torch.ones_like(outside), outside, ~outside):
        for weight in (torch.ones_like(order), order.sqrt(), order, 1 / order):
            x = standard_normal((4, *problem.domain_shape), generator, C128)
            spectra = to_spectrum(x * restrict, problem) * weight
            a, b = spectra[:2], spectra[2:]
            products = [(u.conj() * improved(v)).sum((-2, -1)) for u, v in ((a, a), (a, b), (b, a))]
            assert float(products[0].real.min()) > 0
            assert_equal_to_rounding(products[1], products[2].conj(), n_summed=10_000)


def test_the_bound_holds_the_spectrum():
    shape = (24, 20)
    problem, fisher = problem_of(shape, 0.01), wide_fisher(shape)
    order, unseen = torch.fft.ifftshift(fisher), find_unseen(problem)
    mask = problem.operator.unseen.flatten()
    basis = torch.eye(mask.numel(), dtype=C128)[mask].reshape(-1, *shape)

    def part(weight):
        image = to_image(to_spectrum(basis, problem) * weight, problem)
        return image.reshape(len(basis), -1)[:, mask]

    values = torch.linalg.eigvals(part(order) @ part(1 / order)).real
    bound = float(unseen._largest(order))
    assert float(values.min()) > 1 - 1e-8
    assert float(values.max()) < bound < 1.01 * MARGIN * float(values.max())


def test_where_everything_is_seen_nothing_changes():
    shape = (60, 64)
    operator = SenseOperator(coil_maps(4, shape, C64), line_mask(64, 4, 4))
    problem = make_problem(operator, torch.zeros(operator.range_shape, dtype=C64), 0.01)
    assert not operator.unseen.any()
    assert find_unseen(problem) is None


def test_unseen_pixels_are_those_that_no_coil_sees():
    maps = coil_maps(4, (20, 16), C64) * ellipse((20, 16))
    assert torch.equal(SenseOperator(maps, line_mask(16, 4, 2)).unseen, ~ellipse((20, 16)))
    both = SenseOperator(torch.stack([maps, maps.flip(0)]), line_mask(16, 4, 2))
    assert both.unseen.shape == (2, 20, 16)


@pytest.mark.parametrize(
    ("angle", "radii", "center"), [(0.6, (0.9, 1.1), (0, 0.06)), (0.5, (0.9, 1.2), (0.1, 0.05))]
)
def test_the_largest_eigenvalue_is_that_of_the_part_which_has_it(angle, radii, center, monkeypatch):
    """Of an object whose corners are parts: 8 iterations find 0.77 of it."""
    shape = (64, 70)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij")
    y, x, cos, sin = y - center[0], x - center[1], math.cos(angle), math.sin(angle)
    seen = ((cos * y + sin * x) / radii[0]) ** 2 + ((cos * x - sin * y) / radii[1]) ** 2 < 1
    operator = SenseOperator(coil_maps(4, shape, C128) * seen, line_mask(shape[1], 4, 4))
    problem = make_problem(operator, torch.zeros(operator.range_shape, dtype=C128), 0.01)
    fisher, pixels = torch.fft.ifftshift(wide_fisher(shape)), find_unseen(problem)
    found = float(pixels._largest(fisher))
    monkeypatch.setattr(unseen, "POWER_ITERATIONS", 200)
    assert found == pytest.approx(float(pixels._largest(fisher)), rel=0.02)
