"""The reconstruction of one unit of a scan: from its acquisitions to arrays."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mri_alps.calibration import VolumeCalibration, calibrate_volume
from mri_alps.core.crop import center_crop_or_pad
from mri_alps.core.errors import InputFileError, MriAlpsError, MriAlpsWarning
from mri_alps.pipeline import (
    SliceReconstruction,
    SliceReconstructor,
    costs_one_slice,
    describe_failures,
    representative,
    trajectory_options,
    undersampling_mask,
    with_chosen_shots,
)
from mri_alps.rawdata import RawKSpace, RawTrajectoryData, Selection, TrajectoryOptions
from mri_alps.rawdata.ismrmrd import make_scan

if TYPE_CHECKING:
    import torch

    from mri_alps.pipeline import ReconstructionConfiguration
    from mri_alps.priors import ScoreModel
    from mri_alps.rawdata import Header
    from mri_alps.rawdata.ismrmrd import SpooledAcquisitions


class NotYet(MriAlpsError):
    """A unit that was taken to be complete cannot be reconstructed before the scan is over."""


class Cancelled(MriAlpsError):
    """The work was given up because nobody waits for it any more."""


@dataclass(frozen=True)
class Job:
    """Everything that the reconstruction of one unit needs; can be sent to another process.

    Parameters
    ----------
    store : SpooledAcquisitions
        The unit's lines, calibration lines and noise.
    header : Header
        The XML header.
    selection : Selection
        The unit's counters.
    configuration : ReconstructionConfiguration
        The settings.
    noise_index : int
        Address of the random numbers: the slice counter.
    noise_covariance : numpy.ndarray, optional
        Of the receivers, where an earlier unit of the scan has settled it.
    noise_store : SpooledAcquisitions, optional
        The whole scan, to estimate the noise from; the unit alone if left out.
    is_early : bool
        Whether more of the scan is to come.
    keep_samples : bool
        Whether the samples are wanted.
    """

    store: SpooledAcquisitions
    header: Header
    selection: Selection
    configuration: ReconstructionConfiguration
    noise_index: int
    noise_covariance: np.ndarray | None = None
    noise_store: SpooledAcquisitions | None = None
    is_early: bool = False
    keep_samples: bool = False


@dataclass(frozen=True)
class JobResult:
    """Images of one unit, in the units of the scan's root-sum-of-squares image.

    Parameters
    ----------
    mean, std : numpy.ndarray
        float32 (slices, H, W); of a 3-D scan (readout, phase_encode, partition).
    samples : numpy.ndarray or None
        complex64 (n_samples, slices, H, W).
    is_3d : bool
        Which of the two.
    noise_covariance : numpy.ndarray
        What was used, for the other units of the scan.
    scalars : dict
        json-able: noise, evaluations, seconds, versions of the prior.
    warnings : tuple of str
        Sentences for the client.
    """

    mean: np.ndarray
    std: np.ndarray
    samples: np.ndarray | None
    is_3d: bool
    noise_covariance: np.ndarray
    scalars: dict[str, Any]
    warnings: tuple[str, ...] = ()


class Steps:
    """Counts steps for `reconstruct_slice` and passes them on.

    Parameters
    ----------
    report : callable
        report(done, total), total an estimate; it may raise to give the work up.
    n_slices : int
        Slices of the unit.
    """

    def __init__(self, report: Callable[[int, int], None], n_slices: int):
        self._report, self._n_slices = report, n_slices
        self._done = self._slices = self._per_slice = 0

    def start_scan(self, name: str, n_slices: int) -> None:
        """Do nothing."""

    def start_slice(self, index: int, n_steps: int) -> None:
        """Begin a slice."""
        self._per_slice = max(n_steps, 1)
        self._done = self._slices * self._per_slice

    def step(self) -> None:
        """One step of the sampler is done."""
        self._done += 1
        self._report(self._done, self._n_slices * self._per_slice)

    def finish_slice(self) -> None:
        """A slice is done."""
        self._slices += 1

    def overall(self, name: str, done: int, total: int) -> None:
        """Do nothing."""


def run_job(
    job: Job, prior: ScoreModel, device: torch.device, report: Callable[[int, int], None]
) -> JobResult:
    """Reconstruct one unit.

    Parameters
    ----------
    job : Job
        What to do.
    prior : ScoreModel
        On `device`.
    device : torch.device
        Where to do it.
    report : callable
        report(done, total) after every step.

    Raises
    ------
    NotYet
        If the rest of the scan is needed first; only for an early job.
    MriAlpsError
        If no slice of the unit can be reconstructed.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", MriAlpsWarning)
        try:
            raw = _open(job, job.store, job.selection)
            calibration = _calibration(job, raw)
            result = _reconstruct(job, raw, calibration, prior, device, report)
        except InputFileError as error:
            if job.is_early:
                raise NotYet(str(error)) from error
            raise
    said = [str(w.message) for w in caught if issubclass(w.category, MriAlpsWarning)]
    said += [f"{raw.path}: {note}" for note in raw.provenance["warnings"]]
    return dataclasses.replace(result, warnings=tuple(dict.fromkeys(said)))


def _open(job: Job, store: SpooledAcquisitions, selection: Selection) -> RawKSpace:
    options = trajectory_options(job.configuration) or TrajectoryOptions()
    raw = make_scan(store, job.header, selection, options).assemble()
    return with_chosen_shots(raw, job.configuration)


def _calibration(job: Job, raw: RawKSpace) -> VolumeCalibration:
    settings = job.configuration
    corrected = settings.correct_delays
    if settings.noise_std is not None:
        return calibrate_volume(
            raw,
            noise_std=settings.noise_std,
            correct_delays=corrected,
            force=settings.force,
        )
    if raw.noise_covariance is not None:
        return calibrate_volume(raw, correct_delays=corrected)
    if job.noise_covariance is not None:
        known = job.noise_covariance
        return calibrate_volume(  # judged when it was measured
            raw, noise_covariance=known, correct_delays=corrected, force=True
        )
    calibration = calibrate_volume(_noisy_scan(job, raw), correct_delays=corrected)
    if calibration.noise_notes and job.is_early:
        raise NotYet("; ".join(calibration.noise_notes))
    return calibration


def _noisy_scan(job: Job, raw: RawKSpace) -> RawKSpace:
    """Return the scan that the noise is estimated from: the whole one, once it is there."""
    if job.noise_store is None:
        return raw
    try:
        return _open(job, job.noise_store, Selection())
    except InputFileError:
        if isinstance(raw, RawTrajectoryData):
            return raw  # a scan that was stopped: slices of fewer shots are no file, but images
        raise


def _reconstruct(
    job: Job,
    raw: RawKSpace,
    calibration: VolumeCalibration,
    prior: ScoreModel,
    device: torch.device,
    report: Callable[[int, int], None],
) -> JobResult:
    mask = undersampling_mask(raw, job.configuration)
    reconstructor = SliceReconstructor(raw, job.configuration, prior, device, mask, calibration)
    reconstructor = reconstructor.self_calibrated(range(raw.n_slices))
    progress = Steps(report, raw.n_slices)
    found: dict[int, _Slice] = {}
    failures: dict[int, MriAlpsError] = {}
    for index in range(raw.n_slices):
        try:
            found[index] = _reconstruct_slice(job, reconstructor, index, progress)
        except MriAlpsError as error:
            # Cancelled, a setting that is wrong, and what may still come are none of the slice.
            waits = job.is_early and isinstance(error, InputFileError)
            if isinstance(error, Cancelled) or waits or not costs_one_slice(error):
                raise
            failures[index] = error
        progress.finish_slice()
    if not found:
        raise failures[0]
    if failures:
        reasons = {index: str(error) for index, error in failures.items()}
        warnings.warn(f"{raw.path}: {describe_failures(reasons)}", MriAlpsWarning, stacklevel=2)
    result = representative(each.result for each in found.values())
    # No display shows NaN: what failed is black, and the client is told.
    black = np.zeros_like(result.reconstruction)
    rows = range(raw.n_slices)
    samples = None
    if job.keep_samples:
        n_left = min(len(each.samples) for each in found.values())
        nothing = np.zeros((n_left, *black.shape), np.complex64)
        samples = np.stack(
            [found[row].samples[:n_left] if row in found else nothing for row in rows], axis=1
        )
    return JobResult(
        mean=np.stack([found[i].result.reconstruction if i in found else black for i in rows]),
        std=np.stack([found[i].result.reconstruction_std if i in found else black for i in rows]),
        samples=samples,
        is_3d=raw.axes[1] == "partition",
        noise_covariance=calibration.noise_covariance,
        scalars={
            "noise_source": calibration.noise_source,
            "n_evaluations": int(result.scalars["n_evaluations"]),
            "data_misfit": float(result.scalars["data_misfit"]),
            "prior": str(getattr(prior, "name", type(prior).__name__)),
        },
    )


class _Slice(NamedTuple):
    """A slice and, if they are wanted, its samples: complex64 (n_samples, H, W)."""

    result: SliceReconstruction
    samples: np.ndarray


def _reconstruct_slice(
    job: Job, reconstructor: SliceReconstructor, index: int, progress: Steps
) -> _Slice:
    loaded = reconstructor.load(index)
    if reconstructor.raw.n_slices == 1:
        loaded = dataclasses.replace(loaded, index=job.noise_index)
    sampled = reconstructor.draw(loaded, progress)
    result = reconstructor.reduce(sampled)
    if not job.keep_samples:
        return _Slice(result, np.zeros(0, np.complex64))
    weight = loaded.acquisition.rss_weight.cpu().numpy() * loaded.acquisition.scale
    samples = center_crop_or_pad(sampled.samples * weight, reconstructor.raw.crop)
    return _Slice(result, samples.astype(np.complex64))
