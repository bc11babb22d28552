"""One slice: from its k-space to the statistics of its posterior samples."""

from __future__ import annotations

import logging
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mri_alps.calibration import Acquisition, VolumeCalibration, prepare_slice
from mri_alps.errors import (
    ConfigurationError,
    MissingDependencyError,
    MriAlpsError,
    MriAlpsWarning,
)
from mri_alps.priors.novelty import novelty
from mri_alps.rawdata import RawKSpace, read_sensitivity_maps
from mri_alps.reconstruction.batches import choose_batch, draw_in_batches
from mri_alps.reconstruction.configuration import ReconstructionConfiguration
from mri_alps.reconstruction.images import center_crop_or_pad, root_sum_of_squares
from mri_alps.reconstruction.progress import Progress
from mri_alps.reconstruction.result import SliceReconstruction
from mri_alps.reconstruction.statistics import sample_statistics
from mri_alps.sampling import PosteriorSamples, StepInfo, sample_posterior

_LOGGER = logging.getLogger(__name__)
# What the data of a slice can bring about; a full disk or a lost device is not among it.
_ERRORS_OF_A_SLICE = (
    MriAlpsError,
    ArithmeticError,
    np.linalg.LinAlgError,
    torch.linalg.LinAlgError,
)
_ERRORS_OF_SETTINGS = (ConfigurationError, MissingDependencyError)


def costs_one_slice(error: Exception) -> bool:
    """Tell whether the other slices of a scan can go on after an error in one of them.

    Parameters
    ----------
    error : Exception
        Raised while a slice was read, calibrated, sampled or reduced.
    """
    return isinstance(error, _ERRORS_OF_A_SLICE) and not isinstance(error, _ERRORS_OF_SETTINGS)


def reconstruct_slice(
    raw: RawKSpace,
    index: int,
    prior: Any,
    configuration: ReconstructionConfiguration,
    mask: np.ndarray | None,
    calibration: VolumeCalibration,
    device: torch.device,
    progress: Progress | None = None,
) -> SliceReconstruction:
    """Draw posterior samples of one slice and reduce them.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    index : int
        Slice.
    prior : ScoreModel
        The prior, on `device`.
    configuration : ReconstructionConfiguration
        The settings.
    mask : numpy.ndarray or None
        Retrospective mask, applied on top of the scan's own.
    calibration : VolumeCalibration
        The noise of the scan.
    device : torch.device
        Where the samples are drawn.
    progress : Progress, optional
        Told of every step.

    Returns
    -------
    SliceReconstruction
        In the scan's own units.
    """
    maps = given_maps(raw, index, configuration)
    tolerance = configuration.coil_compression_tolerance
    prepared = load_slice(raw, index, mask, calibration, device, maps, tolerance)
    return reduce_samples(draw_samples(prepared, prior, configuration, progress), configuration)


def given_maps(
    raw: RawKSpace, index: int, configuration: ReconstructionConfiguration
) -> np.ndarray | None:
    """Return the sensitivity maps of a slice from the configuration's file; None without one.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    index : int
        Slice.
    configuration : ReconstructionConfiguration
        Names the file.
    """
    if configuration.sensitivity_maps is None:
        return None
    return read_sensitivity_maps(configuration.sensitivity_maps, raw, index)


@dataclass(frozen=True)
class LoadedSlice:
    """A slice that is ready to be sampled: read, calibrated and on the device."""

    raw: RawKSpace
    index: int
    acquisition: Acquisition
    zero_filled: np.ndarray
    reference: np.ndarray | None
    seconds: float


@dataclass(frozen=True)
class SampledSlice:
    """A slice whose samples are drawn; `samples` is complex, (n_samples, H, W), on the CPU.

    There are fewer samples than were asked for where `result.lost` names some.

    `novelty` tells how unlike the prior's training images their mean is, see
    `mri_alps.priors.novelty`; None where the prior cannot tell. `batch` is how many samples were
    drawn at a time in the end.
    """

    loaded: LoadedSlice
    samples: np.ndarray
    result: PosteriorSamples
    seconds: float
    novelty: float | None = None
    batch: int | None = None


def load_slice(
    raw: RawKSpace,
    index: int,
    mask: np.ndarray | None,
    calibration: VolumeCalibration,
    device: torch.device,
    sensitivity_maps: np.ndarray | None = None,
    coil_compression_tolerance: float | None = None,
) -> LoadedSlice:
    """Read and calibrate one slice: the part that does not need the prior.

    Parameters
    ----------
    raw, index, mask, calibration, device
        As `reconstruct_slice` has them.
    sensitivity_maps : numpy.ndarray, optional
        From `given_maps`; estimated if left out.
    coil_compression_tolerance : float, optional
        As `ReconstructionConfiguration` has it.
    """
    started = time.perf_counter()
    acquisition = prepare_slice(
        raw,
        index,
        mask,
        calibration=calibration,
        sensitivity_maps=sensitivity_maps,
        row_compression_tolerance=coil_compression_tolerance,
        device=device,
    )
    _LOGGER.debug(
        "%s, slice %d: noise %.3g of the image scale, %d of %d coils, sensitivity maps from %s",
        raw.path,
        index,
        acquisition.noise_std,
        len(acquisition.kspace),
        raw.n_coils,
        "outside" if sensitivity_maps is not None else acquisition.info["calibration_source"],
    )
    image = zero_filled(raw, index, acquisition.mask.cpu().numpy())
    reference = reference_image(raw, index)
    return LoadedSlice(raw, index, acquisition, image, reference, time.perf_counter() - started)


def draw_samples(
    loaded: LoadedSlice,
    prior: Any,
    configuration: ReconstructionConfiguration,
    progress: Progress | None = None,
    batch: int | None = None,
) -> SampledSlice:
    """Draw the posterior samples of one slice: the part that the device is needed for.

    Parameters
    ----------
    loaded : LoadedSlice
        From `load_slice`.
    prior, configuration, progress
        As `reconstruct_slice` has them.
    batch : int, optional
        How many samples to draw at a time; as many as fit the memory if left out.

    Raises
    ------
    MriAlpsError
        If more than half of the chains diverged, or the memory does not hold a single sample.

    Warns
    -----
    MriAlpsWarning
        If the image is unlike those that the prior was trained on, or samples are lost.
    """
    started = time.perf_counter()
    if loaded.acquisition.is_empty:
        zeros = torch.zeros(configuration.n_samples, *loaded.acquisition.shape).to(torch.complex64)
        return SampledSlice(loaded, zeros.numpy(), PosteriorSamples(zeros, 0), 0.0, None, batch)
    if batch is None:
        batch = batch_of(loaded, prior, configuration)
    result, batch = _sample(loaded, prior, configuration, progress, batch)
    samples = result.samples.cpu().numpy()
    with torch.no_grad():
        mean = result.samples.mean(0).to(loaded.acquisition.kspace.device)
        unlike = novelty(prior, mean)
    seconds = time.perf_counter() - started
    _LOGGER.debug(
        "%s, slice %d: %d samples, %d at a time, of %d evaluations in %.1f s, data misfit %.3g",
        loaded.raw.path,
        loaded.index,
        len(samples),
        batch,
        result.n_evaluations,
        seconds,
        _number(_last_misfit(result.diagnostics)),
    )
    return SampledSlice(loaded, samples, result, seconds, unlike, batch)


def batch_of(loaded: LoadedSlice, prior: Any, configuration: ReconstructionConfiguration) -> int:
    """Return how many samples of a slice fit the memory at a time.

    Parameters
    ----------
    loaded : LoadedSlice
        The slice.
    prior, configuration
        As `reconstruct_slice` has them.
    """
    kspace = loaded.acquisition.kspace
    shape = loaded.acquisition.shape
    return choose_batch(prior, shape, len(kspace), configuration.n_samples, kspace.device)


def reduce_samples(
    sampled: SampledSlice, configuration: ReconstructionConfiguration
) -> SliceReconstruction:
    """Reduce samples to what is kept, in the scan's own units.

    Parameters
    ----------
    sampled : SampledSlice
        From `draw_samples`.
    configuration : ReconstructionConfiguration
        For what is kept.
    """
    started = time.perf_counter()
    loaded, samples, result = sampled.loaded, sampled.samples, sampled.result
    raw, acquisition = loaded.raw, loaded.acquisition
    statistics = sample_statistics(samples)
    weight = acquisition.rss_weight.cpu().numpy() * acquisition.scale
    rss_units = {
        "reconstruction": np.abs(statistics.mean) * weight,
        "reconstruction_std": statistics.magnitude_std * weight,
        "reconstruction_lower": statistics.lower * weight,
        "reconstruction_upper": statistics.upper * weight,
        "zero_filled": loaded.zero_filled,
    }
    maps = acquisition.raw_sensitivity_maps().cpu().numpy() if configuration.save_maps else None
    scaled_samples = None
    if configuration.save_samples:
        scaled_samples = _with_lost(samples, result.lost) * acquisition.scale
    return SliceReconstruction(
        index=loaded.index,
        posterior_mean=(statistics.mean * acquisition.scale).astype(np.complex64),
        samples=None if scaled_samples is None else scaled_samples.astype(np.complex64),
        sensitivity_maps=None if maps is None else maps.astype(np.complex64),
        facts={
            "scale": float(acquisition.scale),
            "noise_std": float(acquisition.noise_std),
            "n_evaluations": int(result.n_evaluations),
            "setup_evaluations": int(result.setup_evaluations),
            "n_samples": len(samples),
            "n_restarts": int(result.diagnostics.get("n_restarts", 0)),
            "split_r_hat": _number(result.diagnostics.get("split_r_hat")),
            "data_misfit": _number(_last_misfit(result.diagnostics)),
            "novelty": _number(sampled.novelty),
            "seconds": loaded.seconds + sampled.seconds + time.perf_counter() - started,
        },
        mask=used_mask(acquisition),
        reference=loaded.reference,
        diagnostics=_diagnostics(result),
        **{
            name: center_crop_or_pad(image, raw.crop).astype(np.float32)
            for name, image in rss_units.items()
        },
    )


def zero_filled(raw: RawKSpace, index: int, mask: np.ndarray) -> np.ndarray:
    """Return the root sum of squares of the coil images with zeros where nothing was measured.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    index : int
        Slice.
    mask : numpy.ndarray
        Bool, broadcasts to (readout, phase_encode).

    Returns
    -------
    numpy.ndarray
        float32, (readout, phase_encode), uncropped.
    """
    return root_sum_of_squares(raw.read_slice(index) * mask)


def used_mask(acquisition: Acquisition) -> np.ndarray:
    """Return the points of k-space that a slice is reconstructed from.

    Parameters
    ----------
    acquisition : Acquisition
        The prepared slice.

    Returns
    -------
    numpy.ndarray
        Bool, (1, phase_encode) for whole lines, else (readout, phase_encode).
    """
    mask = np.atleast_2d(acquisition.mask.cpu().numpy())
    return np.broadcast_to(mask, (mask.shape[-2], acquisition.kspace.shape[-1]))


def reference_image(raw: RawKSpace, index: int) -> np.ndarray | None:
    """Return the scan's own reference image of a slice, if it has the shape of the result.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    index : int
        Slice.
    """
    reference = raw.read_reference(index)
    if reference is None or reference.shape != tuple(raw.crop):
        return None
    return np.asarray(reference, dtype=np.float32)


def _sample(
    loaded: LoadedSlice,
    prior: Any,
    configuration: ReconstructionConfiguration,
    progress: Progress | None,
    batch: int,
) -> tuple[PosteriorSamples, int]:
    acquisition = loaded.acquisition
    n_samples, n_evaluations = configuration.n_samples, configuration.n_evaluations
    operator, data = acquisition.operator(), acquisition.data()
    if progress:
        progress.start_slice(loaded.index, n_evaluations)
    n_told = 0

    def tell(first: int, info: StepInfo) -> None:
        """One step of progress whenever all samples together are a step further on average."""
        nonlocal n_told
        done = (first * n_evaluations + len(info.x) * info.step) // n_samples
        while progress and n_told < done:
            progress.step()
            n_told += 1

    def draw(first: int, count: int) -> PosteriorSamples:
        # On the CPU whatever the device: one number is drawn from it, the seed of all streams.
        generator = torch.Generator().manual_seed(configuration.sampler_seed)
        return sample_posterior(
            prior,
            operator,
            data,
            acquisition.noise_std,
            n_samples=count,
            n_evaluations=n_evaluations,
            method=configuration.method,
            generator=generator,
            callback=(lambda info: tell(first, info)) if progress else None,
            first_sample=first,
            first_slice=loaded.index,
            allow_lost=True,  # `draw_in_batches` looks at all batches together
        )

    def say(sentence: str) -> None:
        warning = f"{loaded.raw.path}, slice {loaded.index}: {sentence}"
        warnings.warn(warning, MriAlpsWarning, stacklevel=2)

    return draw_in_batches(draw, n_samples, batch, say)


def _diagnostics(result: PosteriorSamples) -> dict[str, Any]:
    if not result.lost:
        return result.diagnostics
    return result.diagnostics | {"lost_samples": list(result.lost), "lost": str(result.failure)}


def _with_lost(samples: np.ndarray, lost: tuple[int, ...]) -> np.ndarray:
    """Put NaN where samples are lost, so that each of the others stands at its own index."""
    if not lost:
        return samples
    n_asked = len(samples) + len(lost)
    whole = np.full((n_asked, *samples.shape[1:]), np.nan, samples.dtype)
    whole[[index for index in range(n_asked) if index not in lost]] = samples
    return whole


def _last_misfit(diagnostics: dict[str, Any]) -> float | None:
    """Return |y - A x|^2 / (m noise_std^2) at the end, about 1 where model and noise agree."""
    levels = diagnostics.get("levels") or [{}]
    return levels[-1].get("data_misfit")


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
