"""From the samples of a slice to what is kept of it, in the scan's own units."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.calibration import NOTHING_TO_EXPLAIN, Acquisition, Explanation, portray_calibration
from mri_alps.core.crop import center_crop_or_pad
from mri_alps.pipeline.conformal import with_calibration
from mri_alps.pipeline.images import used_mask
from mri_alps.pipeline.interpolation import image_size, interpolate
from mri_alps.pipeline.point_estimate import estimate_evaluations
from mri_alps.pipeline.reached import MEAN_ERROR, STD_ERROR
from mri_alps.pipeline.result import CALIBRATION, UNEXPLAINED, SliceReconstruction
from mri_alps.pipeline.self_calibration import factors_as_diagnostics, factors_as_scalars
from mri_alps.pipeline.sets import saved_maps
from mri_alps.sampling import PosteriorSamples, antithetic_groups, decorrelated, sample_statistics

if TYPE_CHECKING:
    from mri_alps.pipeline.configuration import ReconstructionConfiguration
    from mri_alps.pipeline.tolerance import MonteCarloErrors
    from mri_alps.pipeline.warm_start import WarmStart
    from mri_alps.rawdata import RawKSpace
    from mri_alps.uncertainty import ConformalCalibration, UncertaintyFactors


@dataclass(frozen=True)
class LoadedSlice:
    """A slice that is ready to be sampled: read, calibrated and on the device.

    `start` is the reconstruction that sampling starts from, where the settings name one.
    """

    raw: RawKSpace
    index: int
    acquisition: Acquisition
    zero_filled: np.ndarray
    reference: np.ndarray | None
    seconds: float
    start: WarmStart | None = None


@dataclass(frozen=True)
class SampledSlice:
    """A slice whose samples are drawn; `samples` is complex, (n_samples, H, W), on the CPU.

    There are fewer samples than were asked for where `result.lost` names some.

    `novelty` tells how unlike the prior's training images their mean is, see
    `measure_novelty`; None where the prior cannot tell. `batch` is how many samples were drawn at
    a time in the end. `factors` are those by which the samples' deviations were scaled.
    `explanation` tells how far the mean explains the measurement, and `complaint` what is wrong
    where it was kept although it does not. `mean` is the posterior mean of several sets of maps,
    whose combined samples have another one; None where it is that of the samples.
    """

    loaded: LoadedSlice
    samples: np.ndarray
    result: PosteriorSamples
    seconds: float
    novelty: float | None = None
    batch: int | None = None
    factors: UncertaintyFactors | None = None
    explanation: Explanation = NOTHING_TO_EXPLAIN
    complaint: str | None = None
    mean: np.ndarray | None = None
    errors: MonteCarloErrors | None = None

    @property
    def groups(self) -> list[int]:
        """The antithetic group of each sample."""
        n_asked = len(self.samples) + len(self.result.lost)
        return antithetic_groups([i for i in range(n_asked) if i not in self.result.lost])

    def decorrelated(self) -> np.ndarray:
        """Samples of this mean whose textbook covariance is the posterior's."""
        return decorrelated(self.samples, self.groups)


def reduce_samples(
    sampled: SampledSlice,
    configuration: ReconstructionConfiguration,
    calibration: ConformalCalibration | None,
) -> SliceReconstruction:
    """Reduce samples to what is kept, in the scan's own units.

    Parameters
    ----------
    sampled : SampledSlice
        Of the slice.
    configuration : ReconstructionConfiguration
        The settings.
    calibration : ConformalCalibration or None
        By which intervals and deviations are scaled.
    """
    started = time.perf_counter()
    loaded, samples, result = sampled.loaded, sampled.samples, sampled.result
    raw, acquisition = loaded.raw, loaded.acquisition
    mean = sampled.mean
    weight = acquisition.rss_weight.cpu().numpy() * acquisition.scale
    size, crop = image_size(raw, configuration), raw.crop
    is_finer = size != tuple(crop)
    scale: float | np.ndarray = acquisition.scale
    if is_finer:  # samples first, so that the deviation is that of what is seen
        samples = interpolate(samples * weight, crop, size).astype(np.complex64)
        mean = None if mean is None else interpolate(mean * weight, crop, size)
        weight, scale = np.ones(size, np.float32), 1.0
    statistics = sample_statistics(samples, sampled.groups)
    if mean is not None:
        statistics = statistics._replace(mean=mean)
    statistics = with_calibration(statistics, calibration)
    rss_units = {
        "reconstruction": np.abs(statistics.mean) * weight,
        "reconstruction_std": statistics.magnitude_std * weight,
        "reconstruction_lower": statistics.lower * weight,
        "reconstruction_upper": statistics.upper * weight,
        "zero_filled": abs(interpolate(loaded.zero_filled, crop, size))
        if is_finer
        else loaded.zero_filled,
    }
    maps = saved_maps(acquisition, configuration)
    scaled_samples = None
    if configuration.save_samples:
        scaled_samples = _with_lost(samples, result.lost, configuration.most_samples)
        scaled_samples = scaled_samples * scale
    return SliceReconstruction(
        index=loaded.index,
        posterior_mean=(statistics.mean * scale).astype(np.complex64),
        samples=None if scaled_samples is None else scaled_samples.astype(np.complex64),
        sensitivity_maps=maps,
        scalars={
            "scale": float(acquisition.scale),
            "noise_std": float(acquisition.noise_std),
            "n_evaluations": int(result.n_evaluations),
            "setup_evaluations": int(result.setup_evaluations),
            "maps_evaluations": estimate_evaluations(acquisition),
            "n_samples": len(samples),
            "degrees_of_freedom": statistics.degrees_of_freedom,
            "n_restarts": int(result.diagnostics.get("n_restarts", 0)),
            "split_r_hat": number_or_nan(result.diagnostics.get("split_r_hat")),
            "data_misfit": number_or_nan(last_misfit(result.diagnostics)),
            "novelty": number_or_nan(sampled.novelty),
            **factors_as_scalars(sampled.factors),
            **_errors_as_scalars(sampled.errors),
            "calibration_misfit": sampled.explanation.center,
            "outer_misfit": sampled.explanation.outer,
            "seconds": loaded.seconds + sampled.seconds + time.perf_counter() - started,
        },
        mask=used_mask(acquisition),
        reference=None if is_finer else loaded.reference,
        diagnostics=_diagnostics(sampled) | factors_as_diagnostics(sampled.factors),
        **{
            name: center_crop_or_pad(image, size).astype(np.float32)
            for name, image in rss_units.items()
        },
    )


def _diagnostics(sampled: SampledSlice) -> dict[str, Any]:
    loaded, result = sampled.loaded, sampled.result
    found = dict(result.diagnostics)
    if sampled.complaint is not None:
        found[UNEXPLAINED] = sampled.complaint
    if not loaded.acquisition.is_empty:
        portrait = portray_calibration(loaded.raw, loaded.acquisition)
        found[CALIBRATION] = portrait.to_plain()
    if loaded.start is not None:
        found["initial"] = loaded.start.facts
    if not result.lost:
        return found
    return found | {"lost_samples": list(result.lost), "lost": str(result.failure)}


def _errors_as_scalars(errors: MonteCarloErrors | None) -> dict[str, float]:
    return {} if errors is None else {MEAN_ERROR: errors.mean, STD_ERROR: errors.std}


def _with_lost(samples: np.ndarray, lost: tuple[int, ...], most: int) -> np.ndarray:
    """Put NaN where samples are lost or were not needed: each stands at its own index."""
    if len(samples) == most:
        return samples
    asked = len(samples) + len(lost)
    whole = np.full((max(most, asked), *samples.shape[1:]), np.nan, samples.dtype)
    whole[[index for index in range(asked) if index not in lost]] = samples
    return whole


def last_misfit(diagnostics: dict[str, Any]) -> float | None:
    """Return |y - A x|^2 / (m noise_std^2) at the end, about 1 where model and noise agree.

    Parameters
    ----------
    diagnostics : dict
        Of a run.
    """
    levels = diagnostics.get("levels") or [{}]
    return levels[-1].get("data_misfit")


def number_or_nan(value: float | None) -> float:
    """Return a number that may not be known as files hold it.

    Parameters
    ----------
    value : float or None
        The number.
    """
    return float("nan") if value is None else float(value)
