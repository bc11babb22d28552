"""What is calibrated once per scan: the noise of the receivers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.calibration.given_noise import Doubt, doubt_given_noise
from mri_alps.calibration.noise import whitening_matrix
from mri_alps.calibration.noncartesian.delays import GradientDelays, scan_delays
from mri_alps.calibration.scan_noise import MeasuredNoise, kspace_rms, measure_noise, seen_noise
from mri_alps.core.errors import (
    CalibrationError,
    ConfigurationError,
    InputFileError,
    MriAlpsWarning,
    ShapeError,
)
from mri_alps.core.values import Rule, check, instance, number
from mri_alps.rawdata import RawKSpace, RawTrajectoryData

if TYPE_CHECKING:
    from mri_alps.calibration.noise_spectrum import NoiseSpectrum

_LEVEL = number(0)
NOISE_STD = Rule(
    "positive, finite numbers, one or as many as there are coils,",
    lambda value: all(map(_LEVEL.fits, np.atleast_1d(value).tolist())) and np.size(value) > 0,
).or_none()
"""What `noise_std` may be."""
_RULES = {
    "raw": instance(RawKSpace, named="a scan as read_raw returns it"),
    "noise_std": NOISE_STD,
}
GIVEN = "user"
"""Source of noise from outside."""
NOISE_RANGE = (1e-34, 1e32)
"""Standard deviations that leave room for the image on both sides in single precision."""


@dataclass(frozen=True)
class VolumeCalibration:
    """Noise of a scan, the same for all its slices.

    Parameters
    ----------
    noise_covariance : numpy.ndarray
        complex128 (coils, coils), per real component, in the squared units of the k-space.
    whitening : numpy.ndarray
        complex128 (coils, coils), W with W cov W^H = I.
    noise_source : str
        "user", "noise scan", or a part of the data such as "quiet readout positions".
    notes : tuple of str
        What the user should know.
    witnesses : tuple of dict
        What each part of the scan tells of its noise, as JSON holds it; empty if it was given.
    delays : GradientDelays or None
        Of a radial scan, where they could be measured.
    delays_corrected : bool
        Whether samples are taken to lie where the delays have them.
    noise_notes : tuple of str
        Those of the notes that are about the noise.
    implausible : str or None
        Why given noise would be refused if it were not forced.
    noise_spectrum : NoiseSpectrum or None
        How the noise falls along the phase encode, where k-space was filtered and it could be
        measured: its `line_noise` goes with `noise_covariance`.
    """

    noise_covariance: np.ndarray
    whitening: np.ndarray
    noise_source: str
    notes: tuple[str, ...] = ()
    witnesses: tuple[dict[str, Any], ...] = ()
    delays: GradientDelays | None = None
    delays_corrected: bool = False
    noise_notes: tuple[str, ...] = ()
    implausible: str | None = None
    noise_spectrum: NoiseSpectrum | None = None

    @property
    def noise_has_signal(self) -> bool:
        """Whether there is signal in what the noise was measured by, so that it is too large."""
        return any(w["has_signal"] for w in self.witnesses if w["witness"] == self.noise_source)


def calibrate_volume(
    raw: RawKSpace,
    mask: np.ndarray | None = None,
    *,
    noise_std: float | Sequence[float] | None = None,
    noise_covariance: np.ndarray | None = None,
    correct_delays: bool = False,
    force: bool = False,
) -> VolumeCalibration:
    """Find the noise covariance of a scan and the matrix that whitens it.

    What the caller gives; else the file's noise scan, quiet readout positions, the image's
    corners and the periphery of k-space are compared (measured samples of at most 8 slices inside
    `mask` only), see `mri_alps.calibration.noise_witnesses.judge`.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    mask : numpy.ndarray, optional
        Retrospective bool mask, broadcastable to (readout, phase_encode).
    noise_std : float or sequence of float, optional
        Standard deviation per real component of the noise of a k-space sample, in the units of
        the file, independent between coils: the same for all, or one for each.
    noise_covariance : numpy.ndarray, optional
        complex (coils, coils), per real component, in the squared units of the file.
    correct_delays : bool
        Whether gradient delays, which are measured on every radial scan, are corrected as well.
    force : bool
        Whether given noise that the k-space contradicts is taken all the same.

    Returns
    -------
    VolumeCalibration
        Hand it to `prepare_slice` for every slice.

    Raises
    ------
    ConfigurationError
        If both noise arguments are given, or `noise_std` is not positive.
    ShapeError
        If the covariance does not fit the number of coils.
    CalibrationError
        If given noise is far from what is measured, see `doubt_given_noise`, and not forced.

    Warns
    -----
    MriAlpsWarning
        If what tells of the noise disagrees, or has signal in it everywhere.
    """
    check("calibrate_volume", _RULES, locals())
    noise = _noise(raw, mask, noise_std, noise_covariance)
    covariance = noise.covariance
    if covariance.shape != (raw.n_coils, raw.n_coils):
        raise ShapeError(
            f"a noise covariance of shape {covariance.shape} does not fit the {raw.n_coils} coils "
            f"of {raw.path}"
        )
    doubt = _doubt(raw, mask, covariance, force) if noise.source == GIVEN else None
    notes = [*noise.doubts] if doubt is None else [doubt.sentence]
    of_noise = (*notes, *noise.remarks)
    delays, told, remarks = _delays(raw, correct_delays)
    notes += told
    for note in notes:
        warnings.warn(note, MriAlpsWarning, stacklevel=2)
    covariance = covariance.astype(np.complex128)
    _check_range(raw, covariance)
    return VolumeCalibration(
        covariance,
        whitening_matrix(covariance, f"{raw.path}: "),
        noise.source,
        notes=(*notes, *noise.remarks, *remarks),
        witnesses=tuple(witness.facts() for witness in noise.witnesses),
        delays=delays,
        delays_corrected=correct_delays and delays is not None,
        noise_notes=of_noise,
        implausible=doubt.sentence if doubt is not None and doubt.is_refused else None,
        noise_spectrum=noise.spectrum,
    )


def _noise(
    raw: RawKSpace,
    mask: np.ndarray | None,
    noise_std: float | Sequence[float] | None,
    noise_covariance: np.ndarray | None,
) -> MeasuredNoise:
    """Return the noise that was given, or is measured."""
    if noise_std is not None and noise_covariance is not None:
        raise ConfigurationError("give noise_std or noise_covariance, not both")
    if noise_std is not None:
        noise_covariance = _given_covariance(raw, noise_std)
    if noise_covariance is None:
        return measure_noise(raw, mask)
    return MeasuredNoise(np.asarray(noise_covariance), GIVEN, (), None, (), ())


def _delays(
    raw: RawKSpace, correct_delays: bool
) -> tuple[GradientDelays | None, list[str], list[str]]:
    """Return gradient delays of a radial scan, what is warned of them, and what is noted."""
    if isinstance(raw, RawTrajectoryData):
        return scan_delays(raw, correct_delays)
    if correct_delays:
        raise ConfigurationError(
            f"{raw.path} is Cartesian, and gradient delays are corrected of radial scans: leave "
            "--correct-delays out"
        )
    return None, [], []


def _given_covariance(raw: RawKSpace, noise_std: float | Sequence[float]) -> np.ndarray:
    levels = np.atleast_1d(noise_std).astype(np.float64)
    if levels.ndim != 1 or levels.size not in (1, raw.n_coils):
        raise ConfigurationError(
            f"{raw.path}: found noise_std of {levels.size} values, expected one, or one for each "
            f"of the {raw.n_coils} coils: give as many"
        )
    return np.diag(np.broadcast_to(levels**2, raw.n_coils)).astype(np.complex128)


def _check_range(raw: RawKSpace, covariance: np.ndarray) -> None:
    level = math.sqrt(abs(np.diag(covariance).real).max(initial=0.0))
    low, high = NOISE_RANGE
    if math.isfinite(level) and level > 0 and not low <= level <= high:
        raise InputFileError(
            f"{raw.path}: its noise has a standard deviation of {level:.2g} in the units of the "
            f"file, where {low:g} to {high:g} can be computed with in single precision: multiply "
            "the k-space, and the noise if it was given, by a constant"
        )


def _doubt(
    raw: RawKSpace, mask: np.ndarray | None, covariance: np.ndarray, force: bool
) -> Doubt | None:
    """Compare given noise with the samples; what would be refused is returned if it is forced."""
    try:
        seen = seen_noise(raw, mask)
    except InputFileError:  # which tell nothing, or are read for an image and refused then
        return None
    doubt = doubt_given_noise(covariance, seen, kspace_rms(raw))
    if doubt is None:
        return None
    sentence = f"{raw.path}: {doubt.sentence}: give it in the units of the file, or leave it out"
    if doubt.is_refused and not force:
        raise CalibrationError(f"{sentence}; --force (force=True) takes it, and marks the images")
    return doubt._replace(sentence=sentence)
