"""Scores that are wrong rarely and hugely, and what Langevin dynamics makes of them.

Problem: y = x + eta n in d dimensions. Priors are radial and log-concave, log p(x) = -U(|x|) with
U(r) = alpha r^2 / 2 + wall / 2 max(r - R, 0)^2: the standard Gaussian, and a ball with a soft wall,
scaled so that E|x|^2 = d. The score is exact but within |x| < rho, where the error -strength * x
is added: there it is that of a prior far too narrow. In many dimensions the prior hardly ever is
that near to 0, so that E|e|^4 is small, while E exp |e|^2 is beyond any bound; Langevin dynamics
from a prior sample at the data's own noise passes through (section F of Xun, Gupta, Price,
arXiv 2510.26324) and is caught for good.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from mri_alps.core.fourier import fftc
from mri_alps.core.random import standard_normal

OUTERMOST = 30.0  # eta^2 of the first level: the data say next to nothing
RATIO = 1.15  # of neighbouring levels' eta^2
STEP = 0.3  # in units of 1 / (largest curvature)
SETTLING = 10  # the last level's share, in units of the others' relaxation times
BINS = 10


class RadialPrior:
    """A radial log-concave prior with E|x|^2 = d (given a wall), tabulated over the radius.

    Parameters
    ----------
    dimension : int
        d.
    alpha, wall : float
        Curvature everywhere, and the additional one beyond the radius R; 1 and 0 for N(0, I).
    """

    def __init__(self, dimension: int, alpha: float = 1.0, wall: float = 0.0):
        self.dimension, self.alpha, self.wall = dimension, alpha, wall
        largest = 3 * math.sqrt(dimension) + 8
        self.radii = torch.linspace(0, largest, 40_001, dtype=torch.float64)[1:]
        low, high = 0.0, largest
        for _ in range(60 if wall else 1):
            self.edge = (low + high) / 2
            beyond = (self.radii - self.edge).clamp(min=0)
            energy = alpha * self.radii**2 / 2 + wall / 2 * beyond**2
            self.weights = torch.softmax((dimension - 1) * self.radii.log() - energy, 0)
            small = (self.weights * self.radii**2).sum() < dimension
            low, high = (self.edge, high) if small else (low, self.edge)

    @classmethod
    def named(cls, name: str, dimension: int) -> RadialPrior:
        """Return "gaussian" or "ball"."""
        return cls(dimension) if name == "gaussian" else cls(dimension, 0.1, 10.0)

    @property
    def curvature(self) -> float:
        """Largest curvature of -log p."""
        return self.alpha + self.wall

    def pull(self, radius: torch.Tensor) -> torch.Tensor:
        """U'(r) / r, so that the score is -pull(|x|) x."""
        return self.alpha + self.wall * (1 - self.edge / radius).clamp(min=0)

    def quantile(self, probability: torch.Tensor) -> torch.Tensor:
        """Radii below which the prior has the given probabilities."""
        index = torch.searchsorted(self.weights.cumsum(0), probability)
        return self.radii[index.clamp(max=len(self.radii) - 1)]

    def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Draw exactly, (n, d)."""
        radius = self.quantile(torch.rand(n, generator=generator, dtype=torch.float64))
        direction = torch.randn(n, self.dimension, generator=generator)
        return (radius / direction.norm(dim=1)).float()[:, None] * direction

    def score_size(self) -> float:
        """(E|s|^4)^(1/4)."""
        return float((self.weights * (self.pull(self.radii) * self.radii) ** 4).sum() ** 0.25)


class RareError(NamedTuple):
    """The error -strength * x within |x| < radius.

    Attributes
    ----------
    strength, radius : float
        Zero radius: no error.
    probability : float
        Of |x| < radius under the prior.
    """

    strength: float = 0.0
    radius: float = 0.0
    probability: float = 0.0

    @classmethod
    def of_size(cls, prior: RadialPrior, relative: float, strength: float) -> RareError:
        """Choose the radius such that (E|e|^4)^(1/4) is `relative` * (E|s|^4)^(1/4)."""
        if relative == 0:
            return cls()
        fourth = (prior.weights * (strength * prior.radii) ** 4).cumsum(0)
        goal = torch.tensor((relative * prior.score_size()) ** 4, dtype=torch.float64)
        index = min(int(torch.searchsorted(fourth, goal)), len(fourth) - 1)
        probability = float(prior.weights[: index + 1].sum())
        return cls(strength, float(prior.radii[index]), probability)

    def log_exponential_moment(self, prior: RadialPrior) -> float:
        """ln E exp |e|^2, which theory without annealing wants to be small."""
        inside = prior.radii <= self.radius
        exponent = prior.weights.log() + (self.strength * prior.radii) ** 2 * inside
        return float(torch.logsumexp(exponent, 0))


class Levels(NamedTuple):
    """Noise levels eta^2, outermost first, with the step size and number of steps of each."""

    variances: list[float]
    steps: list[float]
    counts: list[int]

    @property
    def time(self) -> float:
        """Langevin time altogether."""
        return sum(h * n for h, n in zip(self.steps, self.counts, strict=True))

    def at_once(self) -> Levels:
        """As many steps, all of them at the last level."""
        return Levels(self.variances[-1:], self.steps[-1:], [sum(self.counts)])


def annealed_levels(variance: float, n_evaluations: int, curvature: float) -> Levels:
    """As many relaxation times 1 / (1 + 1/eta^2) at each level, the last one longer."""
    variances = [variance]
    while variances[-1] < OUTERMOST:
        variances.append(variances[-1] * RATIO)
    variances.reverse()
    steps = [STEP / (curvature + 1 / v) for v in variances]
    times = torch.tensor([1 / (1 + 1 / v) for v in variances], dtype=torch.float64)
    times[-1] *= SETTLING
    share = (times / torch.tensor(steps, dtype=torch.float64)).cumsum(0)
    ends = (n_evaluations * share / share[-1]).round().long()
    return Levels(variances, steps, ends.diff(prepend=ends.new_zeros(1)).tolist())


def nested_data(data: torch.Tensor, levels: Levels, generator: torch.Generator) -> torch.Tensor:
    """y of each level, noise added from the last level outwards, (levels, n, d)."""
    path = [data]
    for inner, outer in zip(levels.variances[:0:-1], levels.variances[-2::-1], strict=True):
        noise = torch.randn(data.shape, generator=generator)
        path.append(path[-1] + math.sqrt(outer - inner) * noise)
    return torch.stack(path[::-1])


def langevin(
    prior: RadialPrior,
    error: RareError,
    x: torch.Tensor,
    path: torch.Tensor,
    levels: Levels,
    generator: torch.Generator,
) -> tuple[torch.Tensor, float]:
    """Run Langevin dynamics along the levels; also return the least mean |x|^2 / d on the way.

    Noise enters after Leimkuhler and Matthews; the very first has variance 3, so that the first
    step is one of Euler and Maruyama.
    """
    noise = math.sqrt(3) * torch.randn(x.shape, generator=generator)
    lowest = math.inf
    for variance, step, count, data in zip(*levels, path, strict=True):
        for _ in range(count):
            radius = x.norm(dim=1)
            pull = prior.pull(radius) + error.strength * (radius < error.radius) + 1 / variance
            following = torch.randn(x.shape, generator=generator)
            x = (1 - step * pull).float()[:, None] * x + (step / variance) * data
            x = x + math.sqrt(step / 2) * (noise + following)
            noise = following
            lowest = min(lowest, float(x.square().mean()))
    return x, lowest


def total_variation(x: torch.Tensor, y: torch.Tensor, prior: RadialPrior, variance: float) -> float:
    """The larger of two lower bounds on E_y TV: of |x| and of |x - y|^2, whose laws are known.

    Under the joint law of truth and data |x - y|^2 / eta^2 is chi-squared, whatever the prior. Ten
    bins of equal probability each.
    """
    edges = torch.linspace(0, 1, BINS + 1, dtype=torch.float64)[1:-1]
    distance = chi_squared(prior.dimension, (x - y).square().sum(1) / variance)
    return max(
        binned_distance(torch.bucketize(x.norm(dim=1).double(), prior.quantile(edges))),
        binned_distance(torch.bucketize(distance, edges)),
    )


def chi_squared(freedom: float, value: torch.Tensor) -> torch.Tensor:
    """Distribution function of the chi-squared law."""
    half = torch.tensor(freedom / 2, dtype=torch.float64)
    return torch.special.gammainc(half, value.double() / 2)


def binned_distance(index: torch.Tensor) -> float:
    """Total variation between counts in bins and the uniform law over them."""
    share = torch.bincount(index, minlength=BINS).double() / len(index)
    return float((share - 1 / BINS).abs().sum() / 2)


class Outcome(NamedTuple):
    """What a run of Langevin dynamics came to.

    Attributes
    ----------
    total_variation : float
        Lower bound on E_y TV from two histograms, with their chance.
    caught : float
        Share of chains that end within the wrong region, less the prior's, if that is more than
        twice its standard error: a lower bound too, and 0 where no chain is caught.
    lowest : float
        Least mean |x|^2 / d on the way.
    """

    total_variation: float
    caught: float
    lowest: float


def compare(
    prior: RadialPrior,
    error: RareError,
    variance: float,
    n_evaluations: int,
    n_chains: int,
    seed: int = 0,
) -> dict[str, Outcome]:
    """Annealed and plain Langevin from the same prior samples, each chain with data of its own."""
    generator = torch.Generator().manual_seed(seed)
    levels = annealed_levels(variance, n_evaluations, prior.curvature)
    start, truth = prior.sample(n_chains, generator), prior.sample(n_chains, generator)
    data = truth + math.sqrt(variance) * torch.randn(truth.shape, generator=generator)
    path = nested_data(data, levels, generator)
    outcomes = {}
    for name, targets, chosen in (
        ("annealed", path, levels),
        ("plain", data[None], levels.at_once()),
    ):
        x, lowest = langevin(prior, error, start, targets, chosen, generator)
        inside = float((x.norm(dim=1) < error.radius).double().mean())
        spread = math.sqrt(error.probability / n_chains)
        excess = inside - error.probability
        caught = excess if excess > 2 * spread else 0.0
        outcomes[name] = Outcome(total_variation(x, data, prior, variance), caught, lowest)
    return outcomes


def chance(prior: RadialPrior, variance: float, n_chains: int, seed: int = 0) -> float:
    """What `total_variation` says of as many exact samples."""
    generator = torch.Generator().manual_seed(seed)
    truth = prior.sample(n_chains, generator)
    data = truth + math.sqrt(variance) * torch.randn(truth.shape, generator=generator)
    return total_variation(truth, data, prior, variance)


def theory(prior: RadialPrior, relative: float, time: float) -> float:
    """(T E|e|^2 / 8)^(1/2), at most sqrt(T / 8) times the L4 error: slope 1.

    What Girsanov's theorem and Pinsker's inequality leave between the path with the exact score and
    the one with the error, if the law on the way is the prior's.
    """
    return min(1.0, math.sqrt(time / 8) * relative * prior.score_size())


class RarelyWrongScore:
    """A Gaussian prior on images whose score is wrong where the whitened image is too small.

    Within |P_sigma^(-1/2) F x|^2 < share * d, P_sigma = P + sigma^2 and d counting real and
    imaginary parts, -strength * x / (1 + sigma^2) is added to the score.

    Parameters
    ----------
    prior : GaussianPrior
        Exact score.
    shape : tuple of int
        Image shape.
    strength, share : float
        See above.
    """

    def __init__(self, prior, shape, strength, share):
        self.prior, self.strength, self.share = prior, strength, share
        self.shape, self.power = shape, prior.power(shape)
        self.sigma_min, self.sigma_max = prior.sigma_min, prior.sigma_max
        self.prior_spectrum = prior.prior_spectrum

    def whitened_energy(self, x, sigma):
        """|P_sigma^(-1/2) F x|^2 / d: mean 1 under the prior smoothed to sigma."""
        energy = fftc(x).abs().square() / (self.power + sigma**2)
        return energy.double().sum((-2, -1)) / (2 * math.prod(self.shape))

    def score(self, x, sigma):
        """The exact score, and the error."""
        inside = self.whitened_energy(x, sigma) < self.share
        factor = (inside * self.strength / (1 + sigma**2)).to(x.real.dtype)
        return self.prior.score(x, sigma) - factor[..., None, None] * x

    def denoise(self, x, sigma):
        """By Tweedie's formula."""
        return x + sigma**2 * self.score(x, sigma)

    def relative_error(self, generator, n=256):
        """(E|e|^4 / E|s|^4)^(1/4) at sigma_min; P(inside) from the chi-squared law.

        Given the whitened norm the whitened direction is uniform, and |x|^2 is the norm times a
        factor that hardly varies: the errors are counted at the edge of the region.
        """
        freedom = 2 * math.prod(self.shape)
        probability = float(chi_squared(freedom, torch.tensor(freedom * self.share)))
        x = self.prior.sample(n, self.shape, generator, sigma=self.sigma_min)
        edge = (self.share / self.whitened_energy(x, self.sigma_min)).sqrt()
        size = edge * x.abs().square().sum((-2, -1)).double().sqrt() * self.strength
        score = self.prior.score(x, self.sigma_min).abs().square().sum((-2, -1)).double()
        return float((probability * size.pow(4).mean() / score.square().mean()) ** 0.25)


def image_distance(model, operator, x, data, variance):
    """Return the total variation of the two histograms, and the share of images in the region.

    `x` (n, *shape) are samples for as many data (n, coils, *shape) and unrelated truths.
    """
    energy = model.whitened_energy(x, model.sigma_min)
    residual = (data - operator.forward(x)).abs().square().double().sum((1, 2, 3)) / variance
    edges = torch.linspace(0, 1, BINS + 1, dtype=torch.float64)[1:-1]
    freedom = 2 * math.prod(model.shape)
    size = chi_squared(freedom, freedom * energy)
    misfit = chi_squared(2 * data[0].numel(), residual)
    distance = max(binned_distance(torch.bucketize(value, edges)) for value in (size, misfit))
    return distance, float((energy < model.share).double().mean())


def draw_noise(shape, generator):
    """Complex noise of unit variance per real component."""
    return standard_normal(shape, generator, torch.complex64)
