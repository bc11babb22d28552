"""How large the error of the sensitivity maps is, judged by the data themselves.

Coils measure the same image many times over. Where their maps are right, an image can be found
that explains all of them to within the noise; where they are not, something is left over. It is
measured with one draw of the image given the data under a stationary Gaussian prior, whose
expected misfit |y - A x|^2 / (2 m noise_std^2) is 1 if noise and model error are as assumed. That
takes no evaluation of a learned prior. Where there are hardly more data than unknowns nothing is
left over whatever the maps are, so a small misfit does not lower the allowance of `line_weights`.
A large one raises it, but to `LARGEST_ERROR` at most, and not at all for maps from outside.

Shots along a trajectory meet near the centre of k-space, where nearly all of the signal is, and
measure it many times over. There a small misfit does tell that maps are better than usual, and the
usual allowance, which concerns many of the samples, would leave them unexplained: it is lowered.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn.functional import avg_pool1d

from mri_alps.calibration.line_weights import (
    LARGEST_ERROR,
    MAPS_ERROR,
    sample_power,
    sampling_weights,
)
from mri_alps.core.random import standard_normal
from mri_alps.inverse_problem import (
    CovarianceAtLevel,
    FourierPreconditioner,
    SolvedCovariance,
    make_problem,
    to_image,
    to_spectrum,
)
from mri_alps.operators import sense_operator

if TYPE_CHECKING:
    from mri_alps.calibration.acquisition import AnySenseOperator

HIGHEST_MISFIT = 1.05
"""Misfit up to which the usual allowance is kept."""
STRICT_ERROR = 0.02
"""Relative error of a sample with which `strict_misfit` tells good maps from bad ones."""
SMALLEST_ERROR = 0.005
"""Of a sample, which is allowed for in any case."""
LARGEST_LOWERED_MISFIT = 1.02
"""Misfit up to which the allowance is lowered along trajectories. Simulated, 8 coils, maps of the
centre with errors of 0.4 to 1.6 %: the truth's misfit was 0.82 to 0.97, and is 0.97 to 1.05."""
LINE_EXCESS, LINE_SCATTER = 0.05, 5.0
"""Misfit of a line beyond 1, or beyond that of half of the lines, from which it does not belong to
the others: this much, and so many standard deviations of the mean over its samples. Of simulated
scans healthy ones have 5.4 standard deviations at most, without the excess."""
SPREAD_ERROR, SPREAD_LINES = MAPS_ERROR, 12
"""Error of the maps whose part of the power of as many lines to both sides a line may have beside:
estimated maps are wrong beyond what their calibration lines tell, which brings the strong centre
into the lines next to it."""
EDGE_LINES = 4
"""Lines at either end of k-space that are not looked at: coils would mix them with what lies beyond
the end, and the model mixes them with the other end."""
_ROUNDS, _ITERATIONS, _PROGRESS, _SOLVED = 20, 50, 0.97, 1e-3
_MEAN_ITERATIONS, _MEAN_SOLVED = 150, 1e-4
_FITS, _LOWERINGS, _WORTHWHILE, _SEED = 6, 3, 0.8, 20_260
# Power per real component of an image of scale 1 with 256 x 256 pixels at f cycles per field of
# view, AMPLITUDE / (1 + (f / KNEE)^EXPONENT): several times that of heads, since a prior that is
# too narrow would be taken for an error of the maps.
_AMPLITUDE, _KNEE, _EXPONENT, _FLOOR, _PIXELS = 7500.0, 0.5, 2.5, 1e-4, 256**2


class MapsError(NamedTuple):
    """What is allowed for.

    Attributes
    ----------
    weights : torch.Tensor
        For `SenseOperator`, shape of the mask.
    relative_error : float
        Of F S x, that the weights allow for.
    misfit : float
        With these weights.
    found : float
        Error that would explain the data: more than is allowed for where maps, or the centre of
        k-space, are wrong.
    noise_factor : float
        Standard deviation of the noise that would explain them, over the stated one; at least 1.
        The weights allow for it.
    odd_lines : tuple of int
        Whole lines that no image explains together with the others, by an error in proportion to
        the signal or not: the object moved between them, or they were corrupted.
    """

    weights: torch.Tensor
    relative_error: float
    misfit: float
    found: float
    noise_factor: float = 1.0
    odd_lines: tuple[int, ...] = ()


def fit_maps_error(
    kspace: torch.Tensor,
    mask: torch.Tensor,
    sensitivity_maps: torch.Tensor,
    noise_std: float,
    largest: float = LARGEST_ERROR,
    trajectory: torch.Tensor | None = None,
) -> MapsError:
    """Find the variance at which data and model agree where the usual allowance is too small.

    The variance of a sample is taken for a noise_std^2 + e^2 (power of the sample), and a and e are
    found from what draws of the image given the data leave of the data, in a few rounds of
    expectation maximisation (Dempster, Laird and Rubin, J R Stat Soc B 39:1, 1977). What is
    proportional to the signal is told from what is not, such as noise that was underestimated.

    Parameters
    ----------
    kspace : torch.Tensor
        Complex64 (coils, H, W), whitened, divided by the image scale; zero outside the mask.
    mask : torch.Tensor
        Bool (W,) for whole lines, else (H, W).
    sensitivity_maps : torch.Tensor
        Complex64 (coils, H, W), unit norm over coils; or (sets, coils, H, W) of several sets.
    noise_std : float
        Per real component, in the units of `kspace`.
    largest : float
        Error that the weights allow for at most, whatever is found.
    trajectory : torch.Tensor, optional
        float64 (samples, shots, 2); `kspace` is (coils, samples, shots) then, and all of it counts.

    Returns
    -------
    MapsError
        Weights, errors and misfit.
    """
    return _error(_MisfitOfDraws(kspace, mask, sensitivity_maps, noise_std, trajectory), largest)


class MapsJudge:
    """Judges one set of maps after the other by the same data.

    Draws start from that of the maps before: it takes half of the time where these were similar.

    Parameters
    ----------
    kspace, mask, noise_std
        As `fit_maps_error` has them.
    """

    def __init__(self, kspace: torch.Tensor, mask: torch.Tensor, noise_std: float):
        self._kspace, self._mask, self._noise_std = kspace, mask, noise_std
        self._image: torch.Tensor | None = None

    def __call__(self, sensitivity_maps: torch.Tensor) -> tuple[MapsError, float]:
        """Return what `fit_maps_error` and `strict_misfit` do.

        Parameters
        ----------
        sensitivity_maps : torch.Tensor
            Complex64 (coils, H, W).
        """
        problem = _MisfitOfDraws(self._kspace, self._mask, sensitivity_maps, self._noise_std)
        problem.image = self._image
        judged = _error(problem, LARGEST_ERROR), _strict_misfit(problem)
        self._image = problem.image
        return judged


def _error(problem: _MisfitOfDraws, largest: float) -> MapsError:
    kspace, mask, noise_std = problem.kspace, problem.mask, problem.noise_std
    weights = sampling_weights(kspace, mask, noise_std)
    rest, misfit = problem.draw(weights, HIGHEST_MISFIT)
    if misfit <= HIGHEST_MISFIT:
        odd = problem.odd_lines(weights, rest)
        usual = MapsError(weights, MAPS_ERROR, misfit, MAPS_ERROR, odd_lines=odd)
        return usual if problem.trajectory is None else _lowered(problem, usual, rest)
    noise_factor, found = _fit(problem, mask.expand(kspace.shape[-2:]))
    allowed = min(found, largest)
    weights = sampling_weights(kspace, mask, noise_std, allowed, noise_factor)
    rest, misfit = problem.draw(weights)
    # Maps that are worse than is allowed for leave too much in many lines, which tells no more.
    odd = problem.odd_lines(weights, rest) if found <= allowed else ()
    return MapsError(weights, allowed, misfit, found, noise_factor, odd)


def _lowered(problem: _MisfitOfDraws, usual: MapsError, rest: torch.Tensor) -> MapsError:
    """Lower the allowance as far as the misfit of draws hardly exceeds its expectation, 1.

    Expectation maximisation from above: where a sample alone tells of the image, what is left of it
    is as large as what is allowed for, so that only what was measured many times over lowers it.
    """
    mask, noise_std = problem.mask, problem.noise_std
    power, allowed, error = sample_power(problem.kspace, mask), usual, None
    for _ in range(_LOWERINGS):
        if error is None:
            variance = (noise_std / allowed.weights.double()).square()
            left = (rest / allowed.weights).abs().double().square().mean(0) / 2
            error = _regress(left[mask], power[mask], variance[mask], noise_std**2)[1]
        if error > _WORTHWHILE * allowed.relative_error:
            break
        weights = sampling_weights(problem.kspace, mask, noise_std, error)
        left_over, misfit = problem.draw(weights, LARGEST_LOWERED_MISFIT)
        if misfit > LARGEST_LOWERED_MISFIT:  # too far: half the way
            error = math.sqrt(error * allowed.relative_error)
        else:
            allowed, rest, error = MapsError(weights, error, misfit, error), left_over, None
    return allowed


def _fit(problem: _MisfitOfDraws, points: torch.Tensor) -> tuple[float, float]:
    """Return the factor of the noise, and the error."""
    power, noise_std = sample_power(problem.kspace, points), problem.noise_std
    # From below: what a sample alone tells of the image is soon taken for an error, and then stays.
    variance = noise_std**2 + SMALLEST_ERROR**2 * power
    for _ in range(_FITS):
        weights = torch.where(points, noise_std / variance.sqrt(), 1.0).to(torch.float32)
        rest = problem.rest(weights).abs().double().square().mean(0) / 2
        noise_factor, error = _regress(rest[points], power[points], variance[points], noise_std**2)
        variance = noise_factor * noise_std**2 + error**2 * power
    return math.sqrt(noise_factor), error


def _regress(
    rest: torch.Tensor, power: torch.Tensor, variance: torch.Tensor, noise_variance: float
) -> tuple[float, float]:
    """Find a and e for which a noise_variance + e^2 power is the expectation of `rest`.

    Least squares with the standard deviations that squares have, which are proportional to their
    expectation; a is at least 1, and e at least `SMALLEST_ERROR`.
    """
    columns = torch.stack([torch.full_like(power, noise_variance), power]) / variance
    target = rest / variance
    normal, right = columns @ columns.mT, columns @ target
    smallest = torch.tensor([1.0, SMALLEST_ERROR**2], dtype=normal.dtype, device=normal.device)
    found = torch.linalg.solve(normal, right)
    for fixed, free in ((0, 1), (1, 0)):
        if found[fixed] < smallest[fixed]:
            found = smallest.clone()
            found[free] = (right[free] - normal[free, fixed] * smallest[fixed]) / normal[free, free]
            break
    noise_factor, error_square = torch.maximum(found, smallest).tolist()
    return noise_factor, math.sqrt(error_square)


def strict_misfit(
    kspace: torch.Tensor, mask: torch.Tensor, sensitivity_maps: torch.Tensor, noise_std: float
) -> float:
    """Misfit where an error of only 2 % is allowed for, sample by sample.

    Up to `HIGHEST_MISFIT` the maps are good, and iterations stop there. Of five real and three
    simulated scans those with good maps had 0.65 to 0.98, a prospectively undersampled one 1.06,
    and one whose maps come from 8, 10 and 12 lines 1.76, 1.55 and 1.08.

    Parameters
    ----------
    kspace, mask, sensitivity_maps, noise_std
        As `fit_maps_error` has them.
    """
    return _strict_misfit(_MisfitOfDraws(kspace, mask, sensitivity_maps, noise_std))


def _strict_misfit(problem: _MisfitOfDraws) -> float:
    kspace = problem.kspace
    points = problem.mask.expand(kspace.shape[-2:])
    weights = sampling_weights(kspace, points, problem.noise_std, STRICT_ERROR)
    return problem.draw(weights, HIGHEST_MISFIT)[1]


def gaussian_mean(operator: AnySenseOperator, data: torch.Tensor, noise_std: float) -> torch.Tensor:
    """Posterior mean of the image under the stationary Gaussian prior, complex64 (H, W).

    Parameters
    ----------
    operator : SenseOperator, SoftSenseOperator or NonCartesianSenseOperator
        A.
    data : torch.Tensor
        Complex64, in its range, scaled so that the image has the scale 1.
    noise_std : float
        Per real component.

    Returns
    -------
    torch.Tensor
        Complex64 (H, W), solved to `_MEAN_SOLVED`, by so many iterations at most.
    """
    level = _at_level(operator, data, noise_std, _MEAN_SOLVED, _MEAN_ITERATIONS)
    problem = level.problem
    target = to_spectrum(problem.back_projection[None] / noise_std**2, problem)
    return to_image(level.solve(target).x, problem)[0]


def _at_level(
    operator: AnySenseOperator, data: torch.Tensor, noise_std: float, tolerance: float, most: int
) -> CovarianceAtLevel:
    """The posterior covariance under the Gaussian prior.

    Each operator is asked for one image or two: what the sampler sets up for hundreds of them, the
    factors of lines, would take longer than it saves.
    """
    problem = make_problem(operator, data, noise_std)
    covariance = SolvedCovariance(problem, FourierPreconditioner(problem))
    precision = 1 / _image_power(operator.domain_shape[-2:])
    return covariance.at(
        precision.expand(problem.image_shape), problem.noise_std, tolerance, most, wide=False
    )


class _MisfitOfDraws:
    """Data and maps, whose misfit depends on the weights."""

    def __init__(
        self,
        kspace: torch.Tensor,
        mask: torch.Tensor,
        maps: torch.Tensor,
        noise_std: float,
        trajectory: torch.Tensor | None = None,
    ):
        self.kspace, self.mask, self.maps, self.noise_std = kspace, mask, maps, noise_std
        self.trajectory = trajectory
        generator = torch.Generator().manual_seed(_SEED)  # on the CPU, so that devices agree
        shape, device = tuple(kspace.shape), kspace.device
        image_shape = (*maps.shape[:-3], *maps.shape[-2:])
        self.prior_noise = standard_normal(image_shape, generator, torch.complex64).to(device)
        self.data_noise = standard_normal(shape, generator, torch.complex64).to(device)
        self.image: torch.Tensor | None = None  # the latest draw, from which the next one starts

    def rest(self, weights: torch.Tensor) -> torch.Tensor:
        """What one draw of the image given the data leaves of the data, zero outside the mask."""
        return self.draw(weights, 0.0)[0] / weights

    def odd_lines(self, weights: torch.Tensor, rest: torch.Tensor) -> tuple[int, ...]:
        """Whole lines with too large a `rest`, from `draw`; none where single points are measured.

        Where nothing is wrong with the model, the rest of a draw of the posterior has the law of
        the noise, whatever else was measured.
        """
        if self.mask.ndim > 1 or self.trajectory is not None:
            return ()
        odd = self._above_others(rest, weights)
        if odd.any():  # iterations stop where the mean is small enough: these may be behind
            odd = self._above_others(self.draw(weights, 0.0)[0], weights)
        return tuple(torch.nonzero(odd).flatten().tolist())

    def _above_others(self, rest: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        misfit = rest.abs().double().square().mean((0, 1)) / (2 * self.noise_std**2)
        scatter = LINE_SCATTER / math.sqrt(len(rest) * rest.shape[1])
        limit = (1 + LINE_EXCESS + scatter) * max(1.0, float(misfit[self.mask].median()))
        spread = (SPREAD_ERROR * weights / self.noise_std).square() * self._power_nearby() / 2
        inside = torch.zeros_like(self.mask)
        inside[EDGE_LINES:-EDGE_LINES] = True
        return (misfit > limit + spread) & self.mask & inside

    def _power_nearby(self) -> torch.Tensor:
        """Mean square of the samples of the measured lines around each one, float64 (W,)."""
        power = self.kspace.abs().double().square().mean((0, 1))
        both = torch.stack([power, self.mask.to(power)])
        sums = avg_pool1d(both, 2 * SPREAD_LINES + 1, stride=1, padding=SPREAD_LINES)
        return sums[0] / sums[1].clamp_min(1e-9)

    def draw(self, weights: torch.Tensor, enough: float = 1.0) -> tuple[torch.Tensor, float]:
        """What one draw leaves of the data times the weights, and its misfit.

        Iterations make it smaller; they stop where it is no more than `enough`.
        """
        operator = sense_operator(self.maps, self.mask, weights, self.trajectory)
        data, noise_std = self.kspace * weights, self.noise_std
        level = _at_level(operator, data, noise_std, _SOLVED, _ITERATIONS)
        problem = level.problem
        noise = torch.stack([operator.adjoint(self.data_noise), self.prior_noise])[:, None]
        target = level.perturbation(noise)
        target += to_spectrum(problem.back_projection / noise_std**2, problem)
        measured = self.mask.expand(operator.range_shape)
        expected = 2 * noise_std**2 * max(int(measured.sum()), 1)
        solution = None if self.image is None else level.started_at(self.image[None])
        misfit = math.inf
        for _ in range(_ROUNDS):
            solution = level.solve(target, solution)
            self.image = to_image(solution.x, problem)[0]
            rest = (data - operator.forward(self.image)).masked_fill(~measured, 0)
            before, misfit = misfit, float(rest.abs().double().square().sum()) / expected
            is_solved = solution.n_normals < _ITERATIONS
            if is_solved or misfit <= enough or misfit > _PROGRESS * before:
                break
        return rest, misfit


def _image_power(shape: tuple[int, ...]) -> torch.Tensor:
    """Power of the image on the centred grid: the same object in coarser or finer pixels."""
    height, width = shape
    y, x = (torch.arange(n) - n // 2 for n in (height, width))
    power = _AMPLITUDE / (1 + (torch.hypot(y[:, None].float(), x) / _KNEE) ** _EXPONENT)
    return (power + _FLOOR) * (height * width / _PIXELS)
