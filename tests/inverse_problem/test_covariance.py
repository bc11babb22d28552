"""Solving for the posterior under a Gaussian prior: dense and by conjugate gradients alike."""

import dataclasses

import pytest
import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.random import standard_normal
from mri_alps.inverse_problem.covariance import make_covariance
from mri_alps.inverse_problem.preconditioner import make_preconditioner, to_image, to_spectrum
from mri_alps.inverse_problem.problem import make_problem
from mri_alps.operators import InpaintingOperator, SenseOperator
from mri_alps.operators import sense as sense_operators
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.priors import GaussianPrior
from mri_alps.sampling import ChainNoise
from tests.sampling.posterior_bed import coil_maps, image_power, line_mask
from tests.sampling.test_alps_gaussian import random_mask, sense

C128, C64 = torch.complex128, torch.complex64
SHAPE = (10, 12)
OPERATORS = {
    "lines": lambda: sense(SHAPE, line_mask(12, 3, 2)),
    "lines along the first axis": lambda: sense(SHAPE, line_mask(10, 3, 2)[:, None]),
    "points": lambda: sense(SHAPE, random_mask(SHAPE)),
    "real": lambda: InpaintingOperator(random_mask(SHAPE)),
    "slices": lambda: SenseOperator(
        torch.stack([coil_maps(n, SHAPE)[:3] for n in (3, 4)]), line_mask(12, 3, 2)
    ),
}


def problem_of(case, noise_std=0.1):
    operator = OPERATORS[case]()
    dtype = torch.float64 if case == "real" else C128
    level = torch.tensor([noise_std, 3 * noise_std]) if case == "slices" else noise_std
    return make_problem(operator, torch.zeros(operator.range_shape, dtype=dtype), level)


def precision(problem, fisher):
    """S as a dense matrix for each slice, by applying it to a basis."""
    n = torch.Size(problem.image_shape).numel()
    basis = torch.eye(n, dtype=problem.dtype).reshape(n, *problem.image_shape)
    prior = to_image(to_spectrum(basis, problem) * torch.fft.ifftshift(fisher), problem)
    if problem.n_slices is None:
        return (problem.normal(basis) / problem.noise_std**2 + prior).reshape(1, n, n).mT
    images = basis.unsqueeze(1).expand(n, *problem.domain_shape).contiguous()
    rows = problem.normal(images) / problem.noise_std**2 + prior.unsqueeze(1)
    return rows.reshape(n, -1, n).permute(1, 2, 0)


@pytest.mark.parametrize("power", [1.0, 1e2])
@pytest.mark.parametrize("dense_limit", [10_000, 0])
@pytest.mark.parametrize("case", OPERATORS)
def test_solutions_are_those_of_dense_algebra(case, dense_limit, power):
    problem = problem_of(case)
    fisher = 1 / image_power(SHAPE, power)
    level = make_covariance(problem, dense_limit).at(fisher, problem.noise_std, 1e-15)
    target = standard_normal(
        (2, *problem.domain_shape), torch.Generator().manual_seed(1), problem.dtype
    )
    found = level.solve(to_spectrum(target, problem))
    assert int(found.unsolved) == 0
    columns = target.reshape(2, -1, fisher.numel()).permute(1, 2, 0)
    expected = torch.linalg.solve(precision(problem, fisher), columns)
    expected = expected.permute(2, 0, 1).reshape(target.shape)
    assert float((to_image(found.x, problem) - expected).norm() / expected.norm()) < 1e-5
    explained = problem.normal(expected) / problem.noise_std**2
    assert float((to_image(found.explained, problem) - explained).norm() / explained.norm()) < 1e-5


@pytest.mark.parametrize("case", ["lines", "lines along the first axis", "slices"])
def test_solutions_of_lines_that_share_matrices_are_those_of_dense_algebra(monkeypatch, case):
    monkeypatch.setattr(sense_operators, "SHARED_LIMIT", 0)
    test_solutions_are_those_of_dense_algebra(case, 0, 1e2)


@pytest.mark.parametrize("dense_limit", [10_000, 0])
@pytest.mark.parametrize("case", ["lines", "points"])
def test_the_perturbation_has_the_covariance_of_the_precision(case, dense_limit):
    """It is linear in white noise: the matrix, applied to its adjoint, is S."""
    problem = problem_of(case)
    n = torch.Size(SHAPE).numel()
    fisher = 1 / image_power(SHAPE, 1.0)
    covariance = make_covariance(problem, dense_limit)
    level = covariance.at(fisher, problem.noise_std)
    basis = torch.eye(n, dtype=C128).reshape(n, *SHAPE)

    class Basis:
        """White noise of one point at a time."""

        def image(self):
            return basis

        def data(self):
            m = problem.data.numel()
            return torch.eye(m, dtype=C128).reshape(m, *problem.data.shape)

    def matrix(data, image):
        spectrum = level.perturbation(torch.stack([data, image]))
        return to_image(spectrum, problem).reshape(-1, n).T

    quiet = type("Quiet", (Basis,), {"image": lambda _: basis})()
    if dense_limit or case == "points":
        data_noise = problem.adjoint(quiet.data())
    else:
        data_noise = covariance.preconditioner.data_noise(quiet)
    from_data = matrix(data_noise, torch.zeros_like(data_noise))
    from_prior = matrix(torch.zeros_like(basis), basis)
    found = from_data @ from_data.mH + from_prior @ from_prior.mH
    assert_equal_to_rounding(found, precision(problem, fisher)[0])


@pytest.mark.parametrize("dtype", [C128, C64])
@pytest.mark.parametrize("acceleration", [4, 8])
@pytest.mark.parametrize("axis", [-1, -2])
def test_few_iterations_suffice_for_lines_however_wide_the_prior(axis, acceleration, dtype):
    """The preconditioner is near the inverse in every direction, so that it judges the error."""
    shape = (60, 64) if axis == -1 else (64, 60)
    mask = line_mask(64, acceleration, 4)
    operator = SenseOperator(coil_maps(6, shape, dtype), mask if axis == -1 else mask[:, None])
    problem = make_problem(operator, torch.zeros(operator.range_shape, dtype=dtype), 0.03)
    fisher = 1 / GaussianPrior.power_law().prior_spectrum.image(shape)
    assert float(fisher.max() / fisher.min()) > 1000
    covariance = make_covariance(problem)
    level = covariance.at(fisher, problem.noise_std, 1e-3)
    draw = covariance.draw(ChainNoise(problem, 3, range(3)))
    found = level.solve(level.perturbation(draw))
    assert found.n_normals <= 5
    tight = covariance.at(fisher, problem.noise_std, 1e-7)
    error = found.x - tight.solve(tight.perturbation(draw)).x
    response = level.explained(to_image(error, problem)) + error * level.fisher
    energy = (error.conj() * response).real.sum((-2, -1)) / fisher.numel() ** 2 / 2
    assert float(energy.max()) < 3 * 1e-3


@pytest.mark.parametrize("axis", [-1, -2])
def test_lines_where_maps_vanish_do_not_seem_free(axis):
    """What a band holds for them, smeared by its window, would swamp their measured neighbours."""
    shape = (60, 64) if axis == -1 else (64, 60)
    maps, mask = coil_maps(6, shape, C128), line_mask(64, 4, 4)
    maps.narrow(-3 - axis, 0, 15).zero_()
    operator = SenseOperator(maps, mask if axis == -1 else mask[:, None])
    problem = make_problem(operator, torch.zeros(operator.range_shape, dtype=C128), 0.03)
    fisher = 1 / GaussianPrior.power_law().prior_spectrum.image(shape)
    covariance = make_covariance(problem)
    draw = covariance.draw(ChainNoise(problem, 3, range(3)))
    level = covariance.at(fisher, problem.noise_std, 1e-3)
    found = level.solve(level.perturbation(draw))
    assert found.n_normals <= 6


def test_a_level_is_not_changed_by_another():
    problem = problem_of("slices")
    covariance = make_covariance(problem, 0)
    first = covariance.at(1 / image_power(SHAPE, 1.0), problem.noise_std, 1e-12)
    target = torch.ones((1, *problem.domain_shape), dtype=C128)
    expected = first.solve(target).x
    covariance.at(1 / image_power(SHAPE, 1e3), problem.noise_std * 2, 1e-12)
    assert torch.equal(first.solve(target).x, expected)
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.fisher = first.fisher


def test_what_is_not_solved_is_counted():
    problem = problem_of("points", 0.03)
    covariance = make_covariance(problem, 0)
    covariance.preconditioner.max_iterations = 2
    level = covariance.at(1 / image_power(SHAPE, 1e3), problem.noise_std, 1e-9)
    target = standard_normal((3, *SHAPE), torch.Generator().manual_seed(1), C128)
    assert int(level.solve(to_spectrum(target, problem)).unsolved) == 3


def test_a_chain_whose_energy_rounding_turned_negative_leaves_the_others_alone():
    """It stays where it is and counts as unsolved; before, it grew until all were not finite."""
    problem = problem_of("points", 0.03)
    level = make_covariance(problem, 0).at(1 / image_power(SHAPE, 1e3), problem.noise_std, 1e-9)
    target = to_spectrum(
        standard_normal((3, *SHAPE), torch.Generator().manual_seed(1), C128), problem
    )
    expected = level.solve(target)
    sign = torch.tensor([1.0, -1.0, 1.0])[:, None, None]
    broken = dataclasses.replace(level, inverse=lambda residual: sign * level.inverse(residual))
    found = broken.solve(target)
    assert int(expected.unsolved) == 0 and int(found.unsolved) == 1
    assert bool((found.x[1] == 0).all())
    for chain in (0, 2):
        assert_equal_to_rounding(found.x[chain], expected.x[chain], 1e3)


def test_the_preconditioner_of_lines_is_exact_where_the_prior_is_flat():
    problem = problem_of("lines")
    inverse = make_preconditioner(problem).at(
        torch.full(SHAPE, 7.0, dtype=torch.float64), problem.noise_std, wide=False
    )
    n = torch.Size(SHAPE).numel()
    basis = torch.eye(n, dtype=C128).reshape(n, *SHAPE)
    found = to_image(inverse(to_spectrum(basis, problem)), problem).reshape(n, n).T
    product = found @ precision(problem, torch.full(SHAPE, 7.0, dtype=torch.float64))[0]
    torch.testing.assert_close(product, torch.eye(n, dtype=C128), rtol=0, atol=1e-9)


def test_a_precision_that_cannot_be_factored_is_named():
    """Single precision: what is measured outweighs the prior by more than it resolves."""
    operator = SenseOperator(coil_maps(1, SHAPE, C64), line_mask(12, 3, 2))
    problem = make_problem(operator, torch.zeros(operator.range_shape, dtype=C64), 1e-9)
    with pytest.raises(ConfigurationError, match="noise_std is too small"):
        make_covariance(problem).at(1 / image_power(SHAPE, 1.0), problem.noise_std)
