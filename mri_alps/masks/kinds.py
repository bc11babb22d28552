"""Sampling masks for retrospective undersampling.

Masks are boolean numpy arrays (1, W) for lines along the last (phase-encode) axis, or (H, W)
for points; True means measured and DC is at (H // 2, W // 2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mri_alps.core.errors import ConfigurationError, ShapeError
from mri_alps.core.values import Rule, check, number, several, whole
from mri_alps.masks.patterns import (
    Seed,
    check_center,
    partial_fourier_lines,
    poisson_lines,
    radial_points,
)

MASK_KINDS = (
    "random",
    "equispaced",
    "equispaced-offset",
    "poisson",
    "poisson-lines",
    "gaussian",
    "polynomial",
    "gaussian-points",
    "radial",
    "partial-fourier",
)
"""What `make_mask` knows."""
MAX_LENGTH = 16384
"""Longest axis of a mask."""
_DENSITY_POWER = 4.0  # of the polynomial density, 1 at the centre and 0 just outside the matrix
_FASTMRI = {
    "random": "RandomMaskFunc",
    "equispaced": "EquispacedMaskFractionFunc",
    "equispaced-offset": "MagicMaskFractionFunc",
}


def make_mask(
    kind: str,
    shape: Sequence[int],
    acceleration: float = 4,
    center_fraction: float = 0.08,
    seed: Seed = 0,
    *,
    allowed: np.ndarray | None = None,
    density_std: float = 0.2,
) -> np.ndarray:
    """Make a sampling mask.

    Parameters
    ----------
    kind : str
        One of `MASK_KINDS`. Lines: "random", "equispaced" (by fraction) and "equispaced-offset"
        (its "magic_fraction", Defazio 2019: the two sides of k-space offset against each other)
        are fastMRI's own, bit by bit, for the fastmri package draws them. "gaussian" lines are
        drawn without replacement with a probability that falls off like a Gaussian from the
        centre, "polynomial" lines with (1 - r)^4 (Lustig 2007), "poisson-lines" keep a distance
        that grows towards the edge, "partial-fourier" takes 5/8 of the lines from one edge on,
        thinned out evenly. Points: "poisson" is sigpy's variable-density Poisson disc over both
        axes, its corners left out, "gaussian-points" and "radial" (golden-angle spokes on the
        grid).
    shape : sequence of int
        Image shape (H, W).
    acceleration : float
        Entries of the whole matrix per measured entry, the centre included. Within 5 % for
        "poisson", in expectation for fastMRI's kinds, exact (to rounding) for the others.
    center_fraction : float
        Part of each undersampled axis that is fully measured around the centre.
    seed : int or tuple of int
        The same seed gives the same mask. fastMRI seeds its evaluation masks with
        `tuple(map(ord, file_name))`.
    allowed : numpy.ndarray, optional
        Boolean, broadcastable to `shape`: where the scan has data at all. The mask is drawn for
        the whole matrix and then cut to it, as fastMRI does with the padding at the edges, so
        the acceleration is that of the whole matrix.
    density_std : float
        Standard deviation of the Gaussian kinds, as a fraction of the axis' length.

    Returns
    -------
    numpy.ndarray
        bool, (1, W) for lines or (H, W) for points (or where `allowed` varies along H).

    Raises
    ------
    ConfigurationError
        If the kind is unknown, or acceleration, centre and seed cannot be had together.
    ShapeError
        If `allowed` does not broadcast to `shape`.
    """
    height, width = _check_shape(shape)
    _check_options(kind, acceleration, center_fraction, seed, density_std)
    if acceleration == 1:
        mask = np.ones((1, width), dtype=bool)
    elif kind in _FASTMRI:
        mask = _fastmri_lines(kind, width, acceleration, center_fraction, seed)
    elif kind == "poisson":
        mask = _poisson_points((height, width), acceleration, center_fraction, seed)
    elif kind == "radial":
        center = (round(height * center_fraction), round(width * center_fraction))
        mask = radial_points((height, width), acceleration, center, seed)
    elif kind in ("poisson-lines", "partial-fourier"):
        draw = poisson_lines if kind == "poisson-lines" else partial_fourier_lines
        mask = draw(width, acceleration, round(width * center_fraction), seed)
    else:
        size = (height, width) if kind == "gaussian-points" else (1, width)
        std = None if kind == "polynomial" else density_std
        mask = _by_density(size, acceleration, center_fraction, seed, std)
    if allowed is not None:
        mask = mask & as_boolean_mask(allowed, (height, width), "allowed")
        if not mask.any():
            raise ConfigurationError(
                "make_mask: found no measured entry inside the allowed region, expected at least "
                "one; lower the acceleration or raise the centre fraction"
            )
    return mask


def achieved_acceleration(mask: np.ndarray) -> float:
    """Return the number of entries per measured entry.

    Parameters
    ----------
    mask : numpy.ndarray
        Boolean, not all False.
    """
    return float(np.size(mask) / np.count_nonzero(mask))


def as_boolean_mask(mask: np.ndarray, shape: tuple[int, int], name: str) -> np.ndarray:
    """Return `mask` as bool, (1, W) or (H, W).

    Parameters
    ----------
    mask : numpy.ndarray
        Boolean, or any dtype with only 0 and 1: (W,), (1, W), (H, 1) or (H, W), and any axes of
        length one before.
    shape : tuple of int
        Image shape (H, W).
    name : str
        What to call it in messages.

    Raises
    ------
    ShapeError
        If it does not broadcast to `shape`.
    ConfigurationError
        If it has other values than 0 and 1, or none that is True.
    """
    array = np.asarray(mask)
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or any(n not in (1, m) for n, m in zip(array.shape, shape, strict=True)):
        raise ShapeError(
            f"{name}: found a mask of shape {np.shape(mask)}, expected one for the k-space matrix "
            f"{shape}: ({shape[1]},) for lines along the last axis, or {shape}"
        )
    if array.dtype != bool:
        if array.dtype.kind not in "iufc" or not np.isin(array, (0, 1)).all():
            raise ConfigurationError(
                f"{name}: found a mask of {array.dtype} with values other than 0 and 1, expected "
                "True or 1 where measured; threshold it first"
            )
        array = array == 1
    if not array.any():
        raise ConfigurationError(
            f"{name}: found a mask without a single measured entry, expected at least one True"
        )
    rows = 1 if array.shape[0] == 1 else shape[0]
    return np.broadcast_to(array, (rows, shape[1])).copy()


def _check_shape(shape: Sequence[int]) -> tuple[int, int]:
    sizes = tuple(shape) if isinstance(shape, (Sequence, np.ndarray)) else ()
    if len(sizes) != 2 or not several(whole(1, MAX_LENGTH)).fits(sizes):
        raise ShapeError(
            f"make_mask: found shape {shape!r}, expected (H, W), each from 1 to {MAX_LENGTH}"
        )
    return int(sizes[0]), int(sizes[1])


def _check_options(
    kind: str, acceleration: float, center_fraction: float, seed: Seed, density_std: float
) -> None:
    parts = seed if isinstance(seed, tuple) else (seed,)
    rules = {
        "kind": Rule(f"one of {', '.join(MASK_KINDS)}", lambda value: value in MASK_KINDS),
        "acceleration": number(1, ends="[)"),
        "center_fraction": number(0, 1, ends="[]"),
        "density_std": number(0),
        "seed": Rule(
            "an integer from 0 to 2^32 - 1, or a tuple of them",
            lambda _: bool(parts) and all(map(whole(0, 2**32 - 1).fits, parts)),
        ),
    }
    check("make_mask", rules, locals())


def _fastmri_lines(
    kind: str, width: int, acceleration: float, center_fraction: float, seed: Seed
) -> np.ndarray:
    from fastmri.data import subsample  # slow to import, so only when asked for

    check_center(round(width * center_fraction), width / acceleration, acceleration)
    kind_of_mask = getattr(subsample, _FASTMRI[kind])
    maker = kind_of_mask(center_fractions=[center_fraction], accelerations=[acceleration])
    mask, _ = maker((1, width, 1), seed=seed)
    return mask.numpy().reshape(1, width).astype(bool)


def _poisson_points(
    shape: tuple[int, int], acceleration: float, center_fraction: float, seed: Seed
) -> np.ndarray:
    import sigpy.mri  # slow to import, so only when asked for

    calibration = tuple(round(n * center_fraction) for n in shape)
    n_center = math.prod(calibration)
    check_center(n_center, math.prod(shape) / acceleration, acceleration)
    number = int(np.random.SeedSequence(seed).generate_state(1)[0])
    tolerance = _PatientTolerance(0.05 * acceleration)
    try:
        with np.errstate(divide="ignore"):  # an empty mask while it searches
            mask = sigpy.mri.poisson(
                shape, acceleration, calib=calibration, dtype=bool, seed=number, tol=tolerance
            )
    except ValueError as error:
        raise ConfigurationError(
            f"make_mask: found no Poisson-disc mask of acceleration {acceleration} for the matrix "
            f"{shape} with a {calibration} centre, expected one within 5 %; change the "
            "acceleration (2 or more can be had) or the centre fraction"
        ) from error
    return mask


class _PatientTolerance:
    """A tolerance that gives up after as many comparisons as a bisection can need.

    sigpy's search for the density goes on until its interval is empty, which at an
    acceleration that cannot be had takes a thousand masks, or for ever.
    """

    __array_ufunc__ = None  # numpy numbers leave the comparison to this class
    most_comparisons = 40

    def __init__(self, value: float):
        self.value = value
        self.n_comparisons = 0

    def __gt__(self, error: float) -> bool:
        self.n_comparisons += 1
        if self.n_comparisons > self.most_comparisons:
            raise ValueError("the search does not converge")
        return error < self.value

    def __le__(self, error: float) -> bool:
        return error >= self.value


def _by_density(
    size: tuple[int, int],
    acceleration: float,
    center_fraction: float,
    seed: Seed,
    std: float | None,
) -> np.ndarray:
    """Draw with a Gaussian density of this standard deviation, or a polynomial one if None."""
    mask = np.ones(size, dtype=bool)
    exponent = np.zeros(size)
    for axis, length in enumerate(size):
        if length == 1:
            continue
        position = np.arange(length) - length // 2
        n_center = round(length * center_fraction)
        lowest = -(n_center // 2)
        inside = (position >= lowest) & (position < lowest + n_center)
        shape = [length if a == axis else 1 for a in (0, 1)]
        mask &= inside.reshape(shape)
        exponent = exponent + _exponent(position, length, std).reshape(shape)
    n_total = round(mask.size / acceleration)
    check_center(int(mask.sum()), n_total, acceleration)
    # The n smallest of Exp(1) / weight are a weighted draw of n without replacement (Efraimidis
    # and Spirakis 2006); in logarithms, since weights may underflow.
    exponential = np.random.default_rng(seed).exponential(size=size)
    keys = np.where(mask, np.inf, np.log(exponential) + exponent)
    n_drawn = n_total - int(mask.sum())
    mask.flat[np.argsort(keys, axis=None, kind="stable")[:n_drawn]] = True
    return mask


def _exponent(position: np.ndarray, length: int, std: float | None) -> np.ndarray:
    """Minus the logarithm of the density of lines, up to a constant."""
    if std is not None:
        return np.asarray((position / (std * length)) ** 2 / 2)
    return np.asarray(-_DENSITY_POWER * np.log1p(-np.abs(position) / (length / 2 + 1)))
