"""Constants of the default sampler, and the noise levels that its chains pass through."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from mri_alps.inverse_problem import DENSE_LIMIT
from mri_alps.sampling.schedules import karras_ladder

if TYPE_CHECKING:
    from mri_alps.priors.spectrum import PriorSpectrum
    from mri_alps.sampling.score import LocalSpectrum, Score


@dataclass(frozen=True)
class AlpsConfiguration:
    """Constants of the sampler, not meant to be tuned per scan.

    The docs' page of constants says on what each was chosen.

    Attributes
    ----------
    final_share : float
        Share of the evaluations spent at sigma_min.
    largest_step, stable_curvature : float
        Step size per level: min(largest_step, stable_curvature / curvature), the curvature
        relative to the preconditioner as the prior's spectrum has it.
    data_variance : float
        Data variance b of `mri_alps.sampling.alps`.
    data_noise : float or None
        Amplitude c of the path's noise on the data; None is 1, or 0.5 for the score of a density.
    start_excess : float
        The path starts at the lowest level above which the prior's distance from a Gaussian
        (squared standard deviations) stays below this.
    handover, finish : float or None
        Where guided diffusion hands over to the annealed path, and where it takes over from it
        again, relative to the root mean square of the prior's images per real component;
        infinity and 0 for no guided diffusion; None decides by the prior's score.
    guided_share, finish_share : float
        Shares of the evaluations above `handover` and below `finish`, where those apply; at least
        one evaluation below `finish`.
    rho : float
        Spacing of the levels (Karras).
    score_energy_limit : float
        A chain whose score has more than so many times the energy of the prior's own has left
        the region where the score can be trusted. Not applied to the first eighth of the steps
        (at least three), in which a chain comes in from its start.
    dense_limit : int
        Images of up to so many pixels are solved by dense factors.
    """

    final_share: float = 0.2
    largest_step: float = 1.0
    stable_curvature: float = 1.5
    data_variance: float = 0.0
    data_noise: float | None = None
    start_excess: float = 1.0
    handover: float | None = None
    finish: float | None = None
    guided_share: float = 0.15
    finish_share: float = 0.0
    rho: float = 7.0
    score_energy_limit: float = 25.0
    dense_limit: int = DENSE_LIMIT


def start_level(
    spectrum: PriorSpectrum | LocalSpectrum, sigma_min: float, sigma_max: float, limit: float
) -> float:
    """Noise level at which the path starts: above it the smoothed prior is nearly Gaussian.

    Parameters
    ----------
    spectrum : PriorSpectrum
        With `excess`, or without, in which case the path starts at `sigma_max`.
    sigma_min, sigma_max : float
        The prior's range.
    limit : float
        Largest excess that counts as Gaussian.
    """
    if spectrum.excess is None:
        return sigma_max
    sigmas = spectrum.sigmas.double()
    above = (spectrum.excess.double() > limit).nonzero()
    if not len(above):
        return sigma_min
    index = int(above[-1]) + 1
    return min(float(sigmas[min(index, len(sigmas) - 1)]), sigma_max)


class Path(NamedTuple):
    """Noise level of every step, and the phases that they fall into.

    Attributes
    ----------
    sigmas : list of float
        Level at which each step evaluates the score.
    n_guided, n_finish : int
        Steps of guided diffusion before the annealed path, and after it, before those at
        sigma_min.
    """

    sigmas: list[float]
    n_guided: int
    n_finish: int

    def phase(self, step: int) -> str:
        """Name the phase of a step: "start", "anneal", "finish" or "final"."""
        if step < self.n_guided:
            return "start"
        if self.sigmas[step] == self.sigmas[-1]:
            return "final"
        n_final = self.sigmas.count(self.sigmas[-1])
        return "finish" if step >= len(self.sigmas) - n_final - self.n_finish else "anneal"


def plan_path(
    score: Score,
    spectrum: PriorSpectrum | LocalSpectrum,
    n_evaluations: int,
    configuration: AlpsConfiguration,
    handover: float = math.inf,
    finish: float = 0.0,
) -> Path:
    """Divide the evaluations among the phases.

    Parameters
    ----------
    score : object
        With sigma_min and sigma_max.
    spectrum : PriorSpectrum
        Decides where the path starts.
    n_evaluations : int
        Number of steps.
    configuration : AlpsConfiguration
        Shares and spacing.
    handover, finish : float
        Levels above and below which diffusion is guided by the data.
    """
    rho, sigma_min = configuration.rho, score.sigma_min
    top = start_level(spectrum, sigma_min, score.sigma_max, configuration.start_excess)
    final_share = configuration.final_share if finish <= sigma_min else 0.0
    n_final = max(1, round(final_share * n_evaluations))
    left = n_evaluations - n_final if top > sigma_min else 0
    n_guided = round(configuration.guided_share * left) if handover < top else 0
    n_finish = max(1, round(configuration.finish_share * left)) if sigma_min < finish < top else 0
    n_annealed = left - n_guided - n_finish
    start = handover if n_guided else top
    end = max(finish, sigma_min) if n_finish else sigma_min
    # What each phase ends with is where the next one starts.
    sigmas = karras_ladder(top, start, n_guided + 1, rho)[:n_guided]
    sigmas += karras_ladder(start, end, n_annealed + bool(n_finish), rho)[:n_annealed]
    sigmas += karras_ladder(end, sigma_min, n_finish + 1, rho)[:n_finish]
    return Path(sigmas + [sigma_min] * (n_evaluations - len(sigmas)), n_guided, n_finish)
