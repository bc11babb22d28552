"""The noise of a scan, by all that its slices tell of it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mri_alps.calibration.given_noise import without_loud_scan
from mri_alps.calibration.noise_estimate import ENOUGH_SAMPLES, NoiseEstimate
from mri_alps.calibration.noise_spectrum import QUIETEST, NoiseSpectrum, measure_noise_spectrum
from mri_alps.calibration.noise_witnesses import NOISE_SCAN, NoiseVerdict, judge, noise_witnesses
from mri_alps.calibration.noncartesian.noise import shot_witnesses
from mri_alps.core.errors import ConfigurationError, InputFileError, ShapeError
from mri_alps.core.magnitudes import unit_of
from mri_alps.rawdata import RawKSpace, RawTrajectoryData

SLICES_FOR_NOISE = 8
"""Slices, spread over the volume, from which noise is estimated where it was not measured."""
SLICES_FOR_CHECK = 3
"""The same where it was measured, to check that."""
FEW_SAMPLES, MOST_SHARE = 0.05, 0.75
"""Coils over samples of their noise from which its covariance is enlarged, and up to which."""
NOISE_FREE = 1e-5
"""Noise level, relative to the root mean square of the k-space, that stands for no noise."""
_ADVICE = (
    "(standard deviations per real component, in the units of the file; filters of k-space and a "
    "wrong bandwidth change noise from place to place); give noise_std if it is known"
)


class MeasuredNoise(NamedTuple):
    """The noise of a scan.

    Attributes
    ----------
    covariance : numpy.ndarray
        complex128 (coils, coils), per real component, in the squared units of the k-space.
    source : str
        The witness that is taken.
    witnesses : tuple of NoiseEstimate
        All.
    spectrum : NoiseSpectrum or None
        How it falls along the phase encode.
    doubts, remarks : tuple of str
        What to warn of, and what is told without.
    """

    covariance: np.ndarray
    source: str
    witnesses: tuple[NoiseEstimate, ...]
    spectrum: NoiseSpectrum | None
    doubts: tuple[str, ...]
    remarks: tuple[str, ...]


def measure_noise(raw: RawKSpace, mask: np.ndarray | None) -> MeasuredNoise:
    """Compare the noise scan, where there is one, with what slices spread over the volume tell.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    mask : numpy.ndarray or None
        Retrospective bool mask, broadcastable to (readout, phase_encode).

    Raises
    ------
    InputFileError
        If no slice tells anything.
    """
    verdict = _verdict(raw, mask)
    covariance = _of_few_samples(verdict.chosen)
    spectrum = _spectrum(raw, mask, covariance)
    if spectrum is not None and spectrum.level > 1 and not verdict.note:
        spectrum = None  # other witnesses agree: it is signal
    doubts: list[str] = []
    remarks: list[str] = []
    if spectrum is not None:  # what the witnesses disagree about is allowed for
        covariance = covariance * spectrum.raised**2
    elif verdict.note:
        told = remarks if verdict.is_minor else doubts
        told.append(f"{raw.path}: {verdict.note} {_ADVICE}")
    if raw.noise_covariance is None:
        covariance = _raise_to_floor(raw, covariance, doubts)
    if spectrum is not None:
        remarks.append(_filtered(raw, covariance, spectrum))
    source = verdict.chosen.method
    return MeasuredNoise(
        covariance, source, verdict.witnesses, spectrum, tuple(doubts), tuple(remarks)
    )


def seen_noise(raw: RawKSpace, mask: np.ndarray | None) -> NoiseVerdict:
    """Judge what a few slices tell, without a noise scan; takes and raises as `measure_noise`.

    Parameters
    ----------
    raw, mask
        As `measure_noise` takes them.
    """
    return judge(_pooled(raw, mask, SLICES_FOR_CHECK))


def _verdict(raw: RawKSpace, mask: np.ndarray | None) -> NoiseVerdict:
    """The noise scan, where there is one, and what slices spread over the volume tell."""
    if raw.noise_covariance is None:
        return judge(_pooled(raw, mask, SLICES_FOR_NOISE))
    n_samples = raw.provenance.get("noise", {}).get("n_samples", ENOUGH_SAMPLES)
    found = NoiseEstimate(raw.noise_covariance, NOISE_SCAN, n_samples, 1.0)
    try:
        seen = _pooled(raw, mask, SLICES_FOR_CHECK)
    except InputFileError:
        return judge([found])
    return without_loud_scan(judge([found, *seen]), judge(seen), kspace_rms(raw))


def _of_few_samples(chosen: NoiseEstimate) -> np.ndarray:
    """Return the covariance, larger where few samples of many coils know it.

    The mean of the inverse of a complex Wishart matrix of n samples and p coils is n / (n - p)
    times the inverse that is sought: noise that is whitened by it has so much more variance.
    """
    share = len(chosen.covariance) / chosen.n_samples
    if share < FEW_SAMPLES:
        return chosen.covariance
    return chosen.covariance / (1 - min(share, MOST_SHARE))


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
    floor = (NOISE_FREE * kspace_rms(raw)) ** 2
    if np.trace(covariance).real / raw.n_coils >= floor:
        return covariance
    notes.append(
        f"{raw.path}: no noise was found in the data (simulated?): a standard deviation of "
        f"{np.sqrt(floor):.3g} per real component is assumed; give noise_std if it is known"
    )
    return covariance + floor * np.eye(raw.n_coils)


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


def kspace_rms(raw: RawKSpace) -> float:
    """Return the root mean square of the k-space of the slice nearest to the middle that has any.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    """
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
