"""Noise levels: for smoothing the prior, and for the data of XGP's algorithms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


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


@dataclass(frozen=True)
class AdmissibleSchedule:
    """Data noise levels of XGP definition D.1, from the outermost to `noise_std`.

    Attributes
    ----------
    noise_levels : tuple of float
        eta_1 > ... > eta_N = noise_std.
    times : tuple of float
        T_1 ... T_(N-1): Langevin time spent at eta_2 ... eta_N.
    """

    noise_levels: tuple[float, ...]
    times: tuple[float, ...]


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
    eta_1 >= |A| sqrt(d / alpha) / eps, at which level the data say little.

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
    levels = [noise_std]
    while levels[-1] < largest and len(levels) < max_levels:
        # gamma <= eta_i^2 / budget with eta_i^2 = (1 + gamma) eta_(i+1)^2, solved for gamma.
        ratio = levels[-1] ** 2 / budget
        gamma = 1.0 if ratio >= 0.5 else ratio / (1 - ratio)
        levels.append(levels[-1] * math.sqrt(1 + gamma))
    return AdmissibleSchedule(tuple(reversed(levels)), (time,) * (len(levels) - 1))
