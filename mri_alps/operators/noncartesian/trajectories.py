"""Trajectories in common use, in cycles per field of view along the axes of the image.

All return double precision, (shots, samples, axes), with the extent of the image's grid: k along
axis a lies in -N_a / 2 .. N_a / 2. Undersample by taking the first shots of an ordered pattern
(`golden_radial(...)[:40]`) or every few of an even one (`spiral(...)[::4]`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from mri_alps.core.errors import ConfigurationError


def golden_radial(
    n_shots: int, n_samples: int, shape: Sequence[int], order: int = 1
) -> torch.Tensor:
    """Spokes through the centre at multiples of the golden angle, 111.246 degrees.

    Parameters
    ----------
    n_shots, n_samples : int
        Spokes, and samples along each. Twice as many samples as pixels is what scanners with
        twofold oversampling record.
    shape : sequence of int
        Image shape (H, W).
    order : int
        From 2 on a tiny golden angle, pi / (tau + order - 1) with tau = 1.618: 23.63 degrees for 7.

    Returns
    -------
    torch.Tensor
        (n_shots, n_samples, 2), float64. Spoke 0 runs along the first image axis; sample
        n_samples // 2 is the centre of k-space.

    Raises
    ------
    ConfigurationError
        If a number is not positive, or `shape` is none.

    Notes
    -----
    Winkelmann et al., IEEE Trans Med Imaging 26:68 (2007); tiny golden angles: Wundrak et al.,
    IEEE Trans Med Imaging 34:1262 (2015).
    """
    _check(shape, 2, n_shots=n_shots, n_samples=n_samples, order=order)
    tau = (1 + math.sqrt(5)) / 2
    return _spokes(_count(n_shots) * (math.pi / (tau + order - 1)), n_samples, shape)


def uniform_radial(n_shots: int, n_samples: int, shape: Sequence[int]) -> torch.Tensor:
    """Spokes through the centre at equal angles over half a turn.

    Parameters
    ----------
    n_shots, n_samples : int
        Spokes, and samples along each. pi / 2 times the number of pixels across are as many
        spokes as leave no gap wider than one cycle per field of view.
    shape : sequence of int
        Image shape (H, W).

    Returns
    -------
    torch.Tensor
        (n_shots, n_samples, 2), float64, as from `golden_radial`.

    Raises
    ------
    ConfigurationError
        If a number is not positive, or `shape` is none.
    """
    _check(shape, 2, n_shots=n_shots, n_samples=n_samples)
    return _spokes(_count(n_shots) * (math.pi / n_shots), n_samples, shape)


def spiral(
    n_shots: int,
    n_samples: int,
    shape: Sequence[int],
    n_turns: float | None = None,
    power: float = 1.0,
) -> torch.Tensor:
    """Spiral interleaves from the centre outwards, r = N / 2 t^power at the angle 2 pi n_turns t.

    Parameters
    ----------
    n_shots, n_samples : int
        Interleaves, and samples along each, at equal distances but for the centre.
    shape : sequence of int
        Image shape (H, W).
    n_turns : float, optional
        Turns of each interleaf. If left out as many as leave gaps of one cycle per field of view
        for power 1: max(shape) / (2 n_shots).
    power : float
        1 for Archimedean spirals; above 1 the centre is sampled more densely than the rim.

    Returns
    -------
    torch.Tensor
        (n_shots, n_samples, 2), float64; sample 0 is the centre of k-space.

    Raises
    ------
    ConfigurationError
        If a number is not positive, or `shape` is none.

    Notes
    -----
    Kim, Adalsteinsson and Spielman, Magn Reson Med 50:214 (2003), without limits on gradients.
    """
    turns = max(shape, default=0) / (2 * max(n_shots, 1)) if n_turns is None else n_turns
    _check(shape, 2, n_shots=n_shots, n_samples=n_samples, n_turns=turns, power=power)
    time = (_count(n_samples) / max(n_samples - 1, 1)) ** (1 / (1 + power))
    angle = 2 * math.pi * (turns * time + _count(n_shots)[:, None] / n_shots)
    return _in_plane(time**power / 2, angle, shape)


def rosette(
    n_shots: int, n_samples: int, shape: Sequence[int], n_petals: int = 9, rotation: float = 0.5
) -> torch.Tensor:
    """Rosettes, r = N / 2 sin(pi n_petals t) at an angle that turns `rotation` as fast.

    Parameters
    ----------
    n_shots, n_samples : int
        Shots, turned against each other, and samples along each.
    shape : sequence of int
        Image shape (H, W).
    n_petals : int
        Passes through the centre in each shot.
    rotation : float
        Turning of the petals, relative to the oscillation along them.

    Returns
    -------
    torch.Tensor
        (n_shots, n_samples, 2), float64; sample 0 is the centre of k-space.

    Raises
    ------
    ConfigurationError
        If a number is not positive, or `shape` is none.

    Notes
    -----
    Noll, IEEE Trans Med Imaging 16:372 (1997).
    """
    _check(shape, 2, n_shots=n_shots, n_samples=n_samples, n_petals=n_petals, rotation=rotation)
    phase = math.pi * n_petals * _count(n_samples) / n_samples
    # Half a turn brings a petal back onto the one opposite.
    angle = rotation * phase + math.pi * _count(n_shots)[:, None] / n_shots
    return _in_plane(torch.sin(phase) / 2, angle, shape)


def kooshball(n_shots: int, n_samples: int, shape: Sequence[int]) -> torch.Tensor:
    """Spokes through the centre in three dimensions, ordered by two-dimensional golden means.

    Parameters
    ----------
    n_shots, n_samples : int
        Spokes, and samples along each.
    shape : sequence of int
        Image shape (D, H, W).

    Returns
    -------
    torch.Tensor
        (n_shots, n_samples, 3), float64; sample n_samples // 2 is the centre of k-space.

    Raises
    ------
    ConfigurationError
        If a number is not positive, or `shape` is none.

    Notes
    -----
    Chan, Ramsay, Cunningham and Plewes, Magn Reson Med 61:354 (2009).
    """
    _check(shape, 3, n_shots=n_shots, n_samples=n_samples)
    along = (_count(n_shots) * 0.4656) % 1
    azimuth = 2 * math.pi * ((_count(n_shots) * 0.6823) % 1)
    across = (1 - along**2).sqrt()
    directions = torch.stack([along, across * azimuth.cos(), across * azimuth.sin()], -1)
    return _radii(n_samples)[:, None] * directions[:, None] * directions.new_tensor(list(shape))


def _spokes(angles: torch.Tensor, n_samples: int, shape: Sequence[int]) -> torch.Tensor:
    return _in_plane(_radii(n_samples), angles[:, None], shape)


def _radii(n_samples: int) -> torch.Tensor:
    """Positions along a spoke, in cycles per pixel."""
    return (_count(n_samples) - n_samples // 2) / n_samples


def _in_plane(radius: torch.Tensor, angle: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return k from polar coordinates, the radius in cycles per pixel."""
    return torch.stack([shape[0] * radius * angle.cos(), shape[1] * radius * angle.sin()], -1)


def _count(n: int) -> torch.Tensor:
    return torch.arange(n, dtype=torch.float64)


def _check(shape: Sequence[int], n_axes: int, **numbers: float) -> None:
    if len(shape) != n_axes or min(shape, default=0) < 1:
        raise ConfigurationError(
            f"trajectory: found the image shape {tuple(shape)}, expected {n_axes} positive numbers"
        )
    for name, value in numbers.items():
        if not value > 0 or not math.isfinite(value):
            raise ConfigurationError(
                f"trajectory: found {name} = {value}, expected a positive number"
            )
