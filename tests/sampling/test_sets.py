"""Several sets of maps: samples of all images against the closed form of their joint posterior."""

import pytest
import torch

from mri_alps.core.errors import ShapeError
from mri_alps.core.fourier import ifftc
from mri_alps.core.random import standard_normal
from mri_alps.inverse_problem.covariance import make_covariance
from mri_alps.inverse_problem.preconditioner import to_image, to_spectrum
from mri_alps.inverse_problem.problem import make_problem
from mri_alps.operators import SoftSenseOperator, to_dense
from mri_alps.priors import GaussianPrior, PriorOfSets
from mri_alps.priors.exact import ExactPosterior
from mri_alps.sampling import AlpsConfiguration, ChainNoise, sample_posterior
from mri_alps.sampling.restarts import sample_alps
from tests.sampling.posterior_bed import coil_maps, image_power, line_mask
from tests.sampling.test_alps_gaussian import assert_exact, random_mask, simulate

C128, C64 = torch.complex128, torch.complex64
MASKS = {
    "lines": lambda shape: line_mask(shape[1], 3, 2),
    "rows": lambda shape: line_mask(shape[0], 3, 2)[:, None],
    "points": random_mask,
}


def fold(shape, mask, dtype=C128, n_coils=5):
    """Coils that see two places of the object in the last third of the columns."""
    maps = coil_maps(2 * n_coils, shape, C128)
    sets = torch.stack([maps[:n_coils], maps[n_coils:].flip(-1)])
    sets[1, :, :, : 2 * shape[1] // 3] = 0
    return SoftSenseOperator(sets.to(dtype), mask)


def prior_of(shape, ratio=0.2):
    first = GaussianPrior(image_power(shape, 1.0), sigma_min=0.02)
    return PriorOfSets.like(first, [ratio], shape)


class Truth:
    """Draws images of all sets, as `simulate` asks for them."""

    def __init__(self, prior):
        self.prior = prior

    def sample(self, n, shape, generator, dtype):
        priors = (self.prior.first, *self.prior.further)
        return torch.stack([p.sample(n, shape[1:], generator, dtype) for p in priors], 1)


def exact(prior, operator, data, noise_std):
    """The joint posterior by dense algebra, independent of everything that samples it."""
    shape = operator.domain_shape
    n = shape[1] * shape[2]
    basis = ifftc(torch.eye(n, dtype=C128).reshape(n, *shape[1:])).reshape(n, n).mT
    blocks = []
    for part in (prior.first, *prior.further):
        power = part.power(shape[1:]) + part.sigma_min**2
        blocks.append((basis / power.flatten()) @ basis.mH)
    matrix = to_dense(operator.to(torch.float64))
    precision = matrix.mH @ matrix / noise_std**2 + torch.block_diag(*blocks)
    covariance = torch.linalg.inv(precision)
    mean = covariance @ (matrix.mH @ data.flatten().to(C128)) / noise_std**2
    factor = torch.linalg.cholesky((covariance + covariance.mH) / 2)
    return ExactPosterior(torch.ones(1, dtype=torch.float64), mean[None], factor[None], shape)


def solved(task):
    return sample_alps(task, AlpsConfiguration(dense_limit=0))


@pytest.mark.parametrize("method", ["alps", solved])
@pytest.mark.parametrize("noise_std", [0.02, 0.5])
@pytest.mark.parametrize(
    "mask, shape, dtype",
    [
        ("lines", (8, 9), C128),
        ("rows", (9, 8), C128),
        ("points", (7, 9), C128),
        ("lines", (8, 8), C64),
    ],
)
def test_samples_are_those_of_the_closed_form(mask, shape, dtype, noise_std, method):
    operator, prior = fold(shape, MASKS[mask](shape), dtype), prior_of(shape)
    data = simulate(Truth(prior), operator, noise_std, dtype)
    result = sample_posterior(
        prior, operator, data, noise_std, n_samples=300, n_evaluations=6, method=method,
        generator=torch.Generator().manual_seed(3),
    )  # fmt: skip
    assert result.samples.dtype == dtype and result.samples.shape == (300, 2, *shape)
    assert_exact(result.samples, exact(prior, operator, data, noise_std))


@pytest.mark.filterwarnings("ignore:the admissible schedule")
@pytest.mark.parametrize("method, noise_std", [("xgp1", 2.0), ("csgm", 0.3)])
def test_other_methods_take_several_sets(method, noise_std):
    """They are biased (see their own tests), but near: a wrong axis or norm would show."""
    shape = (8, 9)
    operator, prior = fold(shape, MASKS["lines"](shape)), prior_of(shape)
    data = simulate(Truth(prior), operator, noise_std, C128)
    result = sample_posterior(
        prior, operator, data, noise_std, n_samples=100, n_evaluations=400, method=method,
        generator=torch.Generator().manual_seed(3),
    )  # fmt: skip
    expected = exact(prior, operator, data, noise_std)
    away = (result.samples.mean(0) - expected.mean).abs().square().mean().sqrt()
    assert float(away) < 0.6 * float(expected.std.square().mean().sqrt())


def test_a_prior_without_a_spectrum_is_looked_at_on_one_image():
    class Bare:
        """A prior of which only the score is known, for images of two axes."""

        def __init__(self, known):
            self.known, self.sigma_min, self.sigma_max = known, known.sigma_min, known.sigma_max

        def denoise(self, x, sigma):
            assert x.ndim == 3
            return self.known.denoise(x, sigma)

        def score(self, x, sigma):
            return self.known.score(x, sigma)

    shape = (8, 8)
    known = prior_of(shape)
    operator = fold(shape, MASKS["lines"](shape))
    data = simulate(Truth(known), operator, 0.3, C128)
    result = sample_posterior(
        PriorOfSets(Bare(known.first), known.further), operator, data, 0.3, n_samples=300,
        n_evaluations=30, generator=torch.Generator().manual_seed(3),
    )  # fmt: skip
    assert result.setup_evaluations > 0
    assert_exact(result.samples, exact(known, operator, data, 0.3))


@pytest.mark.parametrize("dtype", [C128, C64])
@pytest.mark.parametrize("mask", MASKS)
def test_the_solver_is_as_exact_as_it_says(mask, dtype):
    """The preconditioner leaves out how the sets are coupled, and may not judge by that."""
    shape = (48, 45)
    mask = random_mask(shape) if mask == "points" else MASKS[mask](shape)
    operator = fold(shape, mask, dtype, 6)
    problem = make_problem(operator, torch.zeros(operator.range_shape, dtype=dtype), 0.03)
    spectrum = PriorOfSets.like(GaussianPrior.power_law(), [0.5], shape).prior_spectrum
    fisher = spectrum.fisher(0.01, problem.image_shape)
    covariance = make_covariance(problem)
    assert not covariance.exact
    level = covariance.at(fisher, problem.noise_std, 1e-3)
    target = level.perturbation(covariance.draw(ChainNoise(problem, 3, range(3))))
    found = level.solve(target)
    assert int(found.unsolved) == 0 and found.n_normals < 120
    tight = covariance.at(fisher, problem.noise_std, 1e-7)
    error = found.x - tight.solve(target).x
    response = level.explained(to_image(error, problem)) + error * level.fisher
    energy = (error.conj() * response).real.sum((-3, -2, -1)) / problem.n_pixels
    assert float(energy.max()) / problem.n_values < 3 * 1e-3
    assert float((to_spectrum(to_image(error, problem), problem) - error).norm()) < 1e-3


def test_slices_do_not_go_with_sets():
    operator = fold((8, 9), MASKS["lines"]((8, 9)))
    data = standard_normal(operator.range_shape, torch.Generator().manual_seed(0), C128)
    with pytest.raises(ShapeError, match="expected a scalar for an operator of several sets"):
        make_problem(operator, data, torch.tensor([0.1, 0.2]))
