"""Where the centre of k-space is: found from the energy of the samples, not from the header.

The energy over an axis, summed over coils and the other axis, has its peak where the image has no
phase gradient on average, whatever the phases of the coils are; of three bright slices the one
whose peak is neither nearest to nor farthest from the header's centre counts. An axis of k-space
has nearly all of its energy in an eighth of its length; an axis of images, slices or coils has
not, and that is how it is told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

VOICE = 0.02
"""Of the energy of the brightest slice, from which a slice says where the centre is."""
SMALLEST_AXIS = 8
"""Samples; over fewer, nothing can be said about a centre."""
TOLERANCE = 2
"""Samples by which the centre found may be off that of the header: phases of the object do it."""
LARGEST_SHIFT = 0.25
"""Of the matrix: what is farther off is no centre that was counted wrongly."""
DISTINCT_PEAK = 4.0
"""Peak over lower quartile of the energy, from which on there is a centre to be found."""
LEVEL = 8.0
"""The same, below which an axis that ought to have a peak has none."""
CERTAIN_PEAK = 20.0
"""The same, from which on a centre that is much too far off is an error of the file."""
CONCENTRATED = 0.7
"""Energy in the best eighth of the axis beyond that of noise: certainly an axis of k-space."""
SPREAD = 0.3
"""The same for an axis that may be none; images, slices and coils have 0.3 at most."""
IMAGE_LIKE = 0.65
"""The same for the Fourier transform of an axis that is one of the image."""
FLAT = 1.02
"""Peak over lower quartile of an axis without any structure: a point, or a test."""
_HALF_WINDOW = 12


@dataclass(frozen=True)
class AxisCenter:
    """What the energy over one axis says.

    Parameters
    ----------
    size : int
        Samples of the axis.
    position : float
        Index of the centre of k-space, to a fraction of a sample.
    distinctness : float
        Peak over lower quartile of the energy; about 1 for noise.
    concentration : float
        Energy in the best eighth of the axis: 0 if spread evenly, 1 if all of it is there.
    spacing : int
        Largest distance of measured neighbours around the centre.
    gap : int
        The same of the two next to it only.
    is_image_like : bool
        Whether the Fourier transform along the axis, and not the data, is concentrated.
    """

    size: int
    position: float
    distinctness: float
    concentration: float
    spacing: int
    gap: int
    is_image_like: bool

    @property
    def offset(self) -> float:
        """Samples from index N // 2."""
        return self.position - self.size // 2


def find_center(
    slices: Sequence[np.ndarray], masks: Sequence[np.ndarray]
) -> tuple[AxisCenter | None, AxisCenter | None]:
    """Find the centre of k-space along both axes of slices.

    Parameters
    ----------
    slices : sequence of numpy.ndarray
        Complex (coil, readout, phase_encode), zero outside their masks, at least one.
    masks : sequence of numpy.ndarray
        bool (readout, phase_encode) each.

    Returns
    -------
    tuple
        For each axis what was found, None where there is nothing to find: too few samples, or no
        energy.
    """
    energies = [_energy(kspace) for kspace in slices]
    total, count = np.sum(energies, axis=0), np.sum(masks, axis=0)
    bright = max(energy.sum() for energy in energies) * VOICE
    voices = [i for i, energy in enumerate(energies) if energy.sum() > bright]
    found = []
    for axis in (0, 1):
        center = _axis_center(total.sum(1 - axis), count.sum(1 - axis), axis, slices)
        alone = [
            _axis_center(energies[i].sum(1 - axis), masks[i].sum(1 - axis), axis, [slices[i]])
            for i in voices
        ]
        found.append(_where_most_have_it(center, alone))
    return found[0], found[1]


def _where_most_have_it(
    center: AxisCenter | None, alone: Sequence[AxisCenter | None]
) -> AxisCenter | None:
    """Take the place in the middle of that of single slices: one may have a steep phase."""
    distinct = [each for each in alone if each and each.distinctness >= DISTINCT_PEAK]
    if center is None or len(distinct) < 3:
        return center
    middle = sorted(distinct, key=lambda each: abs(each.offset))[len(distinct) // 2]
    return replace(center, position=middle.position)


def _energy(kspace: np.ndarray) -> np.ndarray:
    """Sum over the coils of |y|^2, in double precision, one coil at a time."""
    energy = np.zeros(kspace.shape[1:])
    for coil in kspace:
        energy += coil.real.astype(float) ** 2 + coil.imag.astype(float) ** 2
    return energy


def _axis_center(
    energy: np.ndarray, count: np.ndarray, axis: int, slices: Sequence[np.ndarray]
) -> AxisCenter | None:
    measured = np.flatnonzero(count)
    if len(measured) == 0 or np.ptp(measured) + 1 < SMALLEST_AXIS or not energy.any():
        return None
    first = int(measured[0])
    inside = np.arange(first, measured[-1] + 1)
    # Unsampled points between samples get the energy of their neighbours.
    profile = np.interp(inside, measured, energy[measured] / count[measured])
    smooth = _median_of_three(profile)
    floor = float(np.quantile(profile, 0.25))
    peak = int(smooth.argmax())
    place = np.searchsorted(measured, inside[peak])
    around = measured[max(0, place - 2) : place + 3]
    beside = measured[max(0, place - 1) : place + 2]
    concentration = energy_concentration(profile)
    image_like = concentration < SPREAD and _is_image_like(slices, axis)
    return AxisCenter(
        size=len(energy),
        position=first + _centroid(profile - floor, peak, wraps=len(inside) == len(energy)),
        distinctness=float(smooth[peak] / floor) if floor > 0 else np.inf,
        concentration=concentration,
        spacing=int(np.diff(around).max()),
        gap=int(np.diff(beside).max()),
        is_image_like=image_like,
    )


def _median_of_three(profile: np.ndarray) -> np.ndarray:
    """Smooth without moving the peak to a single spike, which interference leaves in k-space."""
    padded = np.pad(profile, 1, mode="edge")
    smooth: np.ndarray = np.median([padded[:-2], profile, padded[2:]], axis=0)
    return smooth


def _centroid(signal: np.ndarray, peak: int, wraps: bool) -> float:
    """Centroid over a window around the peak, as many samples to either side."""
    half = min(_HALF_WINDOW, (len(signal) - 1) // 2)
    if not wraps:
        half = min(half, peak, len(signal) - 1 - peak)
    steps = np.arange(-half, half + 1)
    weights = np.maximum(signal[(peak + steps) % len(signal)], 0)
    total = weights.sum()
    return peak + float((steps * weights).sum() / total) if total > 0 else float(peak)


def energy_concentration(profile: np.ndarray) -> float:
    """Return the energy in the best eighth of an axis: 0 if spread evenly, 1 if all is there.

    Parameters
    ----------
    profile : numpy.ndarray
        Energy over the axis, not zero throughout.
    """
    n_samples = len(profile)
    width = max(3, n_samples // 8)
    circular = np.concatenate([profile, profile[: width - 1]])
    share = np.convolve(circular, np.ones(width), "valid").max() / profile.sum()
    return float((share - width / n_samples) / (1 - width / n_samples))


def _is_image_like(slices: Sequence[np.ndarray], axis: int) -> bool:
    """Whether the data are as concentrated after a Fourier transform as k-space is before."""
    transformed = (np.fft.fft(coil, axis=axis) for kspace in slices for coil in kspace)
    profile = sum((np.abs(coil.astype(np.complex128)) ** 2).sum(1 - axis) for coil in transformed)
    return energy_concentration(np.asarray(profile)) > IMAGE_LIKE


def concentrations(block: np.ndarray) -> list[float | None]:
    """Return how much of its energy each axis has in its best eighth, None where that says nothing.

    Parameters
    ----------
    block : numpy.ndarray
        Complex, as numpy or as pairs of fields has it, any shape; zeros were not measured.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        energy = np.square(np.abs(as_complex(block)), dtype=np.float64)
    found: list[float | None] = []
    for axis in range(energy.ndim):
        others = tuple(other for other in range(energy.ndim) if other != axis)
        profile = energy.sum(others)
        profile = profile[profile > 0]
        usable = len(profile) >= SMALLEST_AXIS and np.isfinite(profile).all()
        found.append(energy_concentration(profile) if usable else None)
    return found


def as_complex(array: np.ndarray) -> np.ndarray:
    """Return complex64, of complex numbers or of records of a real and an imaginary part.

    Parameters
    ----------
    array : numpy.ndarray
        As HDF5 holds it: written by numpy, or by MATLAB and ISMRMRD's C++ library.
    """
    with np.errstate(over="ignore"):  # an overflow is Inf, which who reads the slice reports
        if array.dtype.names is None:
            return array.astype(np.complex64, copy=False)
        parts = np.empty(array.shape, np.complex64)
        parts.real, parts.imag = array["real"], array["imag"]
        return parts
