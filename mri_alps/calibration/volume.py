"""What is calibrated once per scan: the noise of the receivers."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mri_alps.calibration.given_noise import doubt_given_noise, without_loud_scan
from mri_alps.calibration.noise import whitening_matrix
from mri_alps.calibration.noise_estimate import ENOUGH_SAMPLES, NoiseEstimate
from mri_alps.calibration.noise_spectrum import (
    QUIETEST,
    NoiseSpectrum,
    measure_noise_spectrum,
)
from mri_alps.calibration.noise_witnesses import (
    NOISE_SCAN,
    NoiseVerdict,
    judge,
    noise_witnesses,
)
from mri_alps.calibration.noncartesian.delays import GradientDelays, scan_delays
from mri_alps.calibration.noncartesian.noise import shot_witnesses
from mri_alps.core.errors import (
    CalibrationError,
    ConfigurationError,
    InputFileError,
    MriAlpsWarning,
    ShapeError,
)
from mri_alps.core.magnitudes import unit_of
from mri_alps.core.values import Rule, check, instance, number
from mri_alps.rawdata import RawKSpace, RawTrajectoryData

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
SLICES_FOR_NOISE = 8
"""Slices, spread over the volume, from which noise is estimated where it was not measured."""
SLICES_FOR_CHECK = 3
"""The same where it was measured, to check that."""
_ADVICE = (
    "(standard deviations per real component, in the units of the file; filters of k-space and a "
    "wrong bandwidth change noise from place to place); give noise_std if it is known"
)
GIVEN = "user"
"""Source of noise from outside."""
NOISE_RANGE = (1e-34, 1e32)
"""Standard deviations that leave room for the image on both sides in single precision."""
FEW_SAMPLES, MOST_SHARE = 0.05, 0.75
"""Coils over samples of their noise from which its covariance is enlarged, and up to which."""
NOISE_FREE = 1e-5
"""Noise level, relative to the root mean square of the k-space, that stands for no noise."""


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


def combined_mask(raw: RawKSpace, index: int, mask: np.ndarray | None) -> np.ndarray:
    """What counts as measured: the scan's own mask and, if given, a retrospective one.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    index : int
        Slice.
    mask : numpy.ndarray or None
        bool, broadcastable to (readout, phase_encode).

    Returns
    -------
    numpy.ndarray
        bool (readout, phase_encode).

    Raises
    ------
    ShapeError
        If the mask does not fit.
    InputFileError
        If nothing is left.
    """
    measured = raw.slice_mask(index)
    if mask is not None:
        values = np.asarray(mask)
        if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
            raise ConfigurationError(
                f"found a mask of {values.dtype} with other values than 0 and 1, expected True or "
                "1 where measured: threshold it first"
            )
        try:
            wanted = np.broadcast_to(values.astype(bool), raw.shape)
        except ValueError:
            raise ShapeError(
                f"a mask of shape {np.shape(mask)} does not fit {raw.path} with slices of "
                f"{raw.shape[0]}x{raw.shape[1]} (readout x phase encode): give one value per "
                "phase encode, or one per sample"
            ) from None
        measured &= wanted
    if not measured.any():
        raise InputFileError(
            f"{raw.path}: no sample of slice {index} is both measured and in the mask: choose "
            "another mask"
        )
    return measured


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
    notes: list[str] = []
    minor: list[str] = []
    covariance, source, witnesses, spectrum = _covariance(
        raw, mask, noise_std, noise_covariance, notes, minor
    )
    minor += [] if spectrum is None else [_filtered(raw, covariance, spectrum)]
    implausible = _doubt(raw, mask, covariance, force, notes) if source == GIVEN else None
    of_noise = (*notes, *minor)
    delays, told, remarks = _delays(raw, correct_delays)
    notes += told
    for note in notes:
        warnings.warn(note, MriAlpsWarning, stacklevel=2)
    covariance = covariance.astype(np.complex128)
    _check_range(raw, covariance)
    return VolumeCalibration(
        covariance,
        whitening_matrix(covariance, f"{raw.path}: "),
        source,
        notes=(*notes, *minor, *remarks),
        witnesses=tuple(_facts(witness) for witness in witnesses),
        delays=delays,
        delays_corrected=correct_delays and delays is not None,
        noise_notes=of_noise,
        implausible=implausible,
        noise_spectrum=spectrum,
    )


def _covariance(
    raw: RawKSpace,
    mask: np.ndarray | None,
    noise_std: float | Sequence[float] | None,
    noise_covariance: np.ndarray | None,
    notes: list[str],
    minor: list[str],
) -> tuple[np.ndarray, str, tuple[NoiseEstimate, ...], NoiseSpectrum | None]:
    """Return the noise that was given, or is measured, its source, witnesses and spectrum.

    What to warn of is added to `notes`, what is told without to `minor`.
    """
    witnesses: tuple[NoiseEstimate, ...] = ()
    spectrum = None
    if noise_std is not None and noise_covariance is not None:
        raise ConfigurationError("give noise_std or noise_covariance, not both")
    if noise_std is not None:
        covariance, source = _given_covariance(raw, noise_std), GIVEN
    elif noise_covariance is not None:
        covariance, source = np.asarray(noise_covariance), GIVEN
    else:
        verdict = _measured_noise(raw, mask)
        witnesses = verdict.witnesses
        covariance, source = _of_few_samples(verdict.chosen), verdict.chosen.method
        spectrum = _spectrum(raw, mask, covariance)
        if spectrum is not None and spectrum.level > 1 and not verdict.note:
            spectrum = None  # other witnesses agree: it is signal
        if spectrum is not None:  # what the witnesses disagree about is allowed for
            covariance = covariance * spectrum.raised**2
        elif verdict.note:
            (minor if verdict.is_minor else notes).append(f"{raw.path}: {verdict.note} {_ADVICE}")
        if raw.noise_covariance is None:
            covariance = _raise_to_floor(raw, covariance, notes)
    if covariance.shape != (raw.n_coils, raw.n_coils):
        raise ShapeError(
            f"a noise covariance of shape {covariance.shape} does not fit the {raw.n_coils} coils "
            f"of {raw.path}"
        )
    return covariance, source, witnesses, spectrum


def _of_few_samples(chosen: NoiseEstimate) -> np.ndarray:
    """Return the covariance, larger where few samples of many coils know it.

    The mean of the inverse of a complex Wishart matrix of n samples and p coils is n / (n - p)
    times the inverse that is sought: noise that is whitened by it has so much more variance.
    """
    share = len(chosen.covariance) / chosen.n_samples
    if share < FEW_SAMPLES:
        return chosen.covariance
    return chosen.covariance / (1 - min(share, MOST_SHARE))


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


def _facts(witness: NoiseEstimate) -> dict[str, Any]:
    """What a witness says, as JSON holds it."""
    return {
        "witness": witness.method,
        "noise_std": witness.level,
        "standard_error": float(witness.level * witness.relative_error),
        "noise_std_per_coil": np.sqrt(np.diag(witness.covariance).real).tolist(),
        "has_signal": bool(witness.is_contaminated),
        "n_samples": witness.n_samples,
    }


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


def _measured_noise(raw: RawKSpace, mask: np.ndarray | None) -> NoiseVerdict:
    """The noise scan, where there is one, and what slices spread over the volume tell."""
    if raw.noise_covariance is None:
        return judge(_pooled(raw, mask, SLICES_FOR_NOISE))
    n_samples = raw.provenance.get("noise", {}).get("n_samples", ENOUGH_SAMPLES)
    found = NoiseEstimate(raw.noise_covariance, NOISE_SCAN, n_samples, 1.0)
    try:
        seen = _pooled(raw, mask, SLICES_FOR_CHECK)
    except InputFileError:
        return judge([found])
    return without_loud_scan(judge([found, *seen]), judge(seen), _rms(raw))


def _spectrum(
    raw: RawKSpace, mask: np.ndarray | None, covariance: np.ndarray
) -> NoiseSpectrum | None:
    """How the noise falls along the phase encode; None of a white one, and where none can tell."""
    if isinstance(raw, RawTrajectoryData) or raw.axes[0] != "readout":
        return None

    def slices() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for index in _spread(raw, SLICES_FOR_NOISE):
            with contextlib.suppress(InputFileError):
                measured = combined_mask(raw, index, mask)
                yield raw.read_slice(index) * measured, measured

    return measure_noise_spectrum(slices(), covariance, raw.crop[0])


def _filtered(raw: RawKSpace, covariance: np.ndarray, spectrum: NoiseSpectrum) -> str:
    unit = float(np.sqrt(np.diag(covariance).real.mean())) / spectrum.raised
    return (
        f"{raw.path}: k-space was filtered along the phase encode: at quiet readout positions the "
        f"noise falls from {unit * spectrum.level:.3g} in lines near the centre to "
        f"{unit * spectrum.outermost:.3g} in the outermost ones (known to "
        f"{100 * spectrum.standard_error:.0f} %), which is allowed for line by line, down to "
        f"{QUIETEST:g} of the loudest"
    )


def _doubt(
    raw: RawKSpace, mask: np.ndarray | None, covariance: np.ndarray, force: bool, notes: list[str]
) -> str | None:
    """Compare given noise with the samples; return why it would be refused if it is forced."""
    try:
        seen = judge(_pooled(raw, mask, SLICES_FOR_CHECK))
    except InputFileError:  # which tell nothing, or are read for an image and refused then
        return None
    doubt = doubt_given_noise(covariance, seen, _rms(raw))
    if doubt is None:
        return None
    sentence = f"{raw.path}: {doubt.sentence}: give it in the units of the file, or leave it out"
    if doubt.is_refused and not force:
        raise CalibrationError(f"{sentence}; --force (force=True) takes it, and marks the images")
    notes.append(sentence)
    return sentence if doubt.is_refused else None


def _pooled(raw: RawKSpace, mask: np.ndarray | None, n_slices: int) -> list[NoiseEstimate]:
    """Pool the witnesses of slices; raises where no slice has any."""
    readout_crop = raw.crop[0] if raw.axes[0] == "readout" else None
    estimates: dict[str, list[NoiseEstimate]] = {}
    failures = []
    for index in _spread(raw, n_slices):
        try:
            found = _of_slice(raw, index, mask, readout_crop)
        except InputFileError as error:  # a bad slice says nothing about the noise of the others
            failures.append(error)
            continue
        for witness in found:
            if not np.isfinite(witness.covariance).all():  # numbers that round to zero
                continue
            estimates.setdefault(witness.method, []).append(witness)
    if not estimates and failures:
        raise failures[0]
    if not estimates:
        raise InputFileError(
            f"{raw.path}: the k-space holds only zeros, or numbers too small to compute with: "
            "export the scan again"
        )
    return [_pool(found) for found in estimates.values()]


def _spread(raw: RawKSpace, n_slices: int) -> list[int]:
    """Slices spread over the volume, at most so many."""
    chosen = np.unique(np.linspace(0, raw.n_slices - 1, n_slices).round().astype(int))
    return [int(index) for index in chosen]


def _of_slice(
    raw: RawKSpace, index: int, mask: np.ndarray | None, readout_crop: int | None
) -> list[NoiseEstimate]:
    if isinstance(raw, RawTrajectoryData):
        samples = raw.read_samples(index)
        return shot_witnesses(samples, raw.trajectory(index), raw.kind) if samples.any() else []
    measured = combined_mask(raw, index, mask)
    kspace = raw.read_slice(index) * measured
    return noise_witnesses(kspace, measured, readout_crop) if kspace.any() else []


def _pool(estimates: list[NoiseEstimate]) -> NoiseEstimate:
    pool = [e for e in estimates if not e.is_contaminated] or estimates
    # Slices without signal, or with more of it at the periphery, would pull the mean.
    traces = np.array([np.trace(e.covariance).real for e in pool])
    pool = [e for e, trace in zip(pool, traces, strict=True) if trace <= 1.5 * np.median(traces)]
    weights = np.array([e.n_samples for e in pool], float)
    return NoiseEstimate(
        np.average([e.covariance for e in pool], axis=0, weights=weights),
        pool[0].method,
        int(weights.sum()),
        float(np.average([e.signal_ratio for e in pool], weights=weights)),
    )


def _raise_to_floor(raw: RawKSpace, covariance: np.ndarray, notes: list[str]) -> np.ndarray:
    """Keep noise-free (simulated) data usable: give them a little noise, and say so."""
    floor = (NOISE_FREE * _rms(raw)) ** 2
    if np.trace(covariance).real / raw.n_coils >= floor:
        return covariance
    notes.append(
        f"{raw.path}: no noise was found in the data (simulated?): a standard deviation of "
        f"{np.sqrt(floor):.3g} per real component is assumed; give noise_std if it is known"
    )
    return covariance + floor * np.eye(raw.n_coils)


def _rms(raw: RawKSpace) -> float:
    """Root mean square of the k-space of the slice nearest to the middle that holds any."""
    for index in sorted(range(raw.n_slices), key=lambda index: abs(index - raw.n_slices // 2)):
        with contextlib.suppress(InputFileError):
            if isinstance(raw, RawTrajectoryData):
                kspace = raw.read_samples(index)
            else:
                kspace = raw.read_slice(index)
            unit = unit_of(kspace)
            energy = float((np.abs(kspace / unit) ** 2).mean())
            if energy > 0:
                return math.sqrt(energy) * unit
    return 1.0
