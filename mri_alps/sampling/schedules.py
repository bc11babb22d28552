"""Noise levels and steps: for smoothing the prior, and for the data of XGP's algorithms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mri_alps.core.errors import ConfigurationError

if TYPE_CHECKING:
    from mri_alps.priors.spectrum import PriorSpectrum


def karras_ladder(
    sigma_max: float, sigma_min: float, n_levels: int, rho: float = 7.0
) -> list[float]:
    """Noise levels from `sigma_max` down to `sigma_min`, both included.

    sigma_i = (sigma_max^(1/rho) + i/(n-1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho
    (Karras et al. 2022, equation 5).

    Parameters
    ----------
    sigma_max, sigma_min : float
        Ends of the ladder.
    n_levels : int
        Number of levels; one level is `sigma_min` alone.
    rho : float
        Larger values place more levels near `sigma_min`.
    """
    if n_levels <= 1 or sigma_max <= sigma_min:
        return [sigma_min] * max(n_levels, 0)
    position = torch.linspace(0, 1, n_levels, dtype=torch.float64)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    ladder = (high + position * (low - high)) ** rho
    ladder[0], ladder[-1] = sigma_max, sigma_min
    return [float(level) for level in ladder]


ACCURATE_STEPS = {"euler-maruyama": 0.04, "leimkuhler-matthews": 0.4}
"""Steps in units of 1 / (largest curvature): Euler-Maruyama leaves 1 % too much deviation in the
direction of that curvature, and less in all others."""


@dataclass(frozen=True)
class AdmissibleSchedule:
    """Data noise levels of XGP definition D.1, from the outermost to `noise_std`.

    Attributes
    ----------
    noise_levels : tuple of float
        eta_1 > ... > eta_N = noise_std, two at least.
    times : tuple of float
        T_1 ... T_(N-1): Langevin time spent at eta_2 ... eta_N, where the path from the level
        before ends.
    """

    noise_levels: tuple[float, ...]
    times: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.noise_levels) < 2 or len(self.times) != len(self.noise_levels) - 1:
            raise ConfigurationError(
                f"a schedule of {len(self.noise_levels)} noise levels has {len(self.times)} times: "
                "expected two levels at least, and a time for each but the outermost"
            )


def admissible_schedule(
    noise_std: float,
    operator_norm: float,
    n_measurements: float,
    dimension: float,
    radius: float,
    strong_convexity: float,
    mixing: float = 2.0,
    constant: float = 1e-9,
    accuracy: float = 1.0,
    max_levels: int = 1000,
) -> AdmissibleSchedule:
    """Build an admissible schedule greedily from `noise_std` outwards (XGP definition D.1).

    gamma_i = (eta_i / eta_(i+1))^2 - 1 <= 1 is taken as large as
    |A|^4 (T_i^2 m + T_i R^2) <= eta_i^4 / (C gamma_i^2) allows, until
    eta_1 >= |A| sqrt(d / alpha) / eps, at which level the data say little. There is one level
    above `noise_std` at least.

    Where that takes more than `max_levels`, neighbours are put together, and the time at what is
    left is that of all of them: the sum of the times, and with it the number of steps, stays that
    of the definition to the order of gamma.

    Parameters
    ----------
    noise_std : float
        eta_N, per real component.
    operator_norm : float
        |A|.
    n_measurements, dimension : float
        m and d, counted in real values.
    radius : float
        R, norm of the image.
    strong_convexity : float
        alpha, smallest curvature of -log p(x).
    mixing : float
        T_i in units of 1 / alpha, the time in which a chain forgets where it was.
    constant : float
        C. The paper does not publish it; smaller values allow larger steps outwards.
    accuracy : float
        eps / lambda of the outermost level.
    max_levels : int
        Limit on the number of levels.
    """
    norm2 = operator_norm**2
    largest = operator_norm * math.sqrt(dimension / strong_convexity) / accuracy
    time = mixing / strong_convexity
    budget = math.sqrt(constant * (time**2 * n_measurements + time * radius**2)) * norm2
    # log (1 + gamma) with which `max_levels` reach the outermost one
    least = 2 * math.log(max(largest / noise_std, 1.0)) / max_levels
    levels, times = [noise_std], []
    while levels[-1] < largest or len(levels) < 2:
        # gamma <= eta_i^2 / budget with eta_i^2 = (1 + gamma) eta_(i+1)^2, solved for gamma.
        ratio = levels[-1] ** 2 / budget
        gamma = 1.0 if ratio >= 0.5 else ratio / (1 - ratio)
        step = max(math.log1p(gamma), min(least, math.log(2)))
        # Between eta and exp(step / 2) eta there are (1 - exp(-step)) / ratio levels of
        # gamma = eta^2 / budget: the sum over 1 / gamma of d log eta^2.
        joined = -math.expm1(-step) / ratio if step > math.log1p(gamma) else 1.0
        times.append(time * max(joined, 1.0))
        levels.append(levels[-1] * math.exp(step / 2))
    return AdmissibleSchedule(tuple(reversed(levels)), tuple(reversed(times)))


@dataclass(frozen=True)
class LangevinPlan:
    """How the evaluations left are divided among the noise levels.

    Attributes
    ----------
    factors : tuple of float
        Noise levels in units of the data's own noise, the last being 1.
    step_sizes : tuple of float
        Step at each level.
    n_steps : tuple of int
        Steps at each level.
    n_needed : int
        Steps that would cover the schedule's time with accurate steps.
    """

    factors: tuple[float, ...]
    step_sizes: tuple[float, ...]
    n_steps: tuple[int, ...]
    n_needed: int


def curvature_bounds(
    spectrum: PriorSpectrum, sigma_min: float, shape: tuple[int, ...], sigma0: float | None = None
) -> tuple[float, float]:
    """Return alpha and L, smallest and largest curvature of -log p(x), for a schedule.

    alpha is the largest that the prior's second moments allow: p is alpha-strongly log-concave
    only if its variance is at most 1 / alpha in every direction (Brascamp and Lieb), and if its
    mean curvature, the Fisher information, is at least alpha. L is what was measured, and at most
    1 / sigma_min^2, which bounds the curvature of any density smoothed to sigma_min.

    Parameters
    ----------
    spectrum : PriorSpectrum
        The prior's.
    sigma_min : float
        Its smallest noise level.
    shape : tuple of int
        Image shape.
    sigma0 : float, optional
        For p(x | x0) of x0 = x + sigma0 n, which is more curved by 1 / sigma0^2.
    """
    fisher = spectrum.fisher(sigma_min, shape)
    smallest = min(float(fisher.min()), 1 / float(spectrum.image(shape).max()))
    largest = 1 / sigma_min**2
    if spectrum.curvature is not None:
        measured = max(1.0, float(spectrum.curvature[0])) * float(fisher.max())
        largest = min(largest, measured)
    added = 0.0 if sigma0 is None else 1 / sigma0**2
    return smallest + added, max(smallest, largest) + added


def plan_langevin(
    schedule: AdmissibleSchedule,
    n_steps: int,
    prior_curvature: float,
    operator_norm: float,
    largest_step: float = ACCURATE_STEPS["euler-maruyama"],
) -> LangevinPlan:
    """Divide `n_steps` among the levels of a schedule.

    Steps are at most largest_step / (L + |A|^2 / eta^2). Where more evaluations are left than
    the schedule's time needs, steps get smaller, and with them the Euler-Maruyama bias. Where
    there are fewer, each level runs for the same share of its time, or is passed over; the last
    one never is.

    Parameters
    ----------
    schedule : AdmissibleSchedule
        Noise levels and times.
    n_steps : int
        Evaluations left, at least 1.
    prior_curvature : float
        L, largest curvature of -log p(x).
    operator_norm : float
        |A|.
    largest_step : float
        See above.
    """
    levels, times = schedule.noise_levels[1:], schedule.times
    longest = [largest_step / (prior_curvature + (operator_norm / eta) ** 2) for eta in levels]
    needed = [max(1, math.ceil(t / h)) for t, h in zip(times, longest, strict=True)]
    total = sum(needed)
    # Cumulative rounding: every level gets its share, and the shares add up.
    bounds = [round(n_steps * sum(needed[: i + 1]) / total) for i in range(len(needed))]
    bounds[:-1] = [min(bound, n_steps - 1) for bound in bounds[:-1]]
    counts = [b - a for a, b in zip([0, *bounds[:-1]], bounds, strict=True)]
    rows = [
        (eta, min(h, time / count), count)
        for eta, h, time, count in zip(levels, longest, times, counts, strict=True)
        if count
    ]
    final = levels[-1]
    factors, steps, n = zip(*rows, strict=True)
    return LangevinPlan(tuple(eta / final for eta in factors), steps, n, total)
