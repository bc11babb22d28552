"""One slice with one mask: everything that is measured of its posterior."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import digamma

from mri_alps.core.crop import center_crop_or_pad
from mri_alps.evaluation import expected_nmse, head_mask, image_metrics, interval_coverage
from mri_alps.masks.kinds import achieved_acceleration
from mri_alps.masks.study._slices import StudySlice, slice_name
from mri_alps.masks.study.sampling_pattern import noise_amplification, side_lobe
from mri_alps.pipeline import SampledSlice, used_mask, wavelet_image, zero_filled
from mri_alps.rawdata import RawTrajectoryData
from mri_alps.rawdata import acceleration as acceleration_of_shots

if TYPE_CHECKING:
    import torch

    from mri_alps.calibration import Acquisition
    from mri_alps.pipeline import Progress, ReconstructionConfiguration
    from mri_alps.priors import ScoreModel

WITH_REFERENCE = ("NMSE", "PSNR", "SSIM", "coverage", "wavelet_PSNR")
WITHOUT_REFERENCE = (
    "predicted_NMSE",
    "uncertainty_factor",
    "posterior_std",
    "entropy",
    "side_lobe",
    "noise_amplification",
    "data_misfit",
    "seconds",
)
METRICS = (*WITH_REFERENCE, *WITHOUT_REFERENCE)
MEANINGS = {
    "NMSE": "squared error over the energy of the reference, as fastMRI",
    "PSNR": "dB, as fastMRI, by the largest value of the slice's reference",
    "SSIM": "as fastMRI",
    "coverage": "share of the head's pixels whose reference lies in the 90 % interval",
    "wavelet_PSNR": "dB of L1-wavelets on the same data: is a mask good, or good for this prior?",
    "predicted_NMSE": "the NMSE that the posterior expects, without a reference",
    "uncertainty_factor": "by which self-calibration scaled deviations; 1 without it",
    "posterior_std": "mean over the head, relative to the mean of the image there",
    "entropy": "nats a pixel of the head, image scaled to 1; an upper bound (pixels alone)",
    "side_lobe": "largest of the point-spread function beside its main lobe, peak 1",
    "noise_amplification": "largest g-factor, bounded by sqrt(1/R) / noise",
    "data_misfit": "squared distance to the data over that of the noise; about 1",
    "seconds": "sampling, on this machine",
}


@dataclasses.dataclass(frozen=True)
class MaskResult:
    """What came of one slice with one mask.

    Parameters
    ----------
    scan, mask : str
        Names.
    slice : int
        Index.
    acceleration : float
        Of the group that the mask is compared in.
    achieved_acceleration : float
        Of what was used: the mask and what the scan measured.
    n_measured : int
        Lines, or points of a mask that varies along both axes; shots of a scan along a trajectory.
    metrics : dict
        The entries of `METRICS`; None where one cannot be had.
    images : dict
        float32 "mean", "std" and, where there is one, "reference", and bool "mask"; empty where
        they were not kept.
    is_of_shots : bool
        Whether shots along a trajectory were left out, and not lines or points.
    """

    scan: str
    slice: int
    mask: str
    acceleration: float
    achieved_acceleration: float
    n_measured: int
    metrics: dict[str, float | None]
    images: dict[str, np.ndarray] = dataclasses.field(default_factory=dict, repr=False)
    is_of_shots: bool = False

    @property
    def slice_name(self) -> str:
        """Scan and slice."""
        return slice_name(self.scan, self.slice)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the images, as JSON holds it."""
        fields = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("metrics", "images")
        }
        return {**fields, "metrics": dict(self.metrics)}


def measure_mask(
    part: StudySlice,
    name: str,
    acceleration: float,
    mask: np.ndarray,
    prior: ScoreModel,
    configuration: ReconstructionConfiguration,
    device: torch.device,
    progress: Progress | None = None,
) -> MaskResult:
    """Sample the posterior of a slice as a mask would leave it, and measure it.

    Parameters
    ----------
    part : StudySlice
        The slice.
    name : str
        Of the mask.
    acceleration : float
        Group of the mask.
    mask : numpy.ndarray
        Bool, broadcasts to (readout, phase_encode); (1, shots) of a scan along a trajectory.
    prior : ScoreModel
        On `device`.
    configuration : ReconstructionConfiguration
        Sampler and seed: the same noise whatever the mask.
    device : torch.device
        Where samples are drawn.
    progress : Progress, optional
        Told of every step.
    """
    reconstructor = part.reconstructor(mask, configuration, prior, device)
    if configuration.self_calibration not in (None, "off"):
        reconstructor = part.self_calibrated(reconstructor)
    loaded = part.load(reconstructor)
    sampled = reconstructor.draw(loaded, progress)
    reduced = reconstructor.reduce(sampled)
    base = _base_image(part)
    region = head_mask(base[None])[0]
    own = used_mask(loaded.acquisition)
    metrics: dict[str, float | None] = dict.fromkeys(METRICS)
    if part.reference is not None:
        metrics |= image_metrics(part.reference[None], reduced.reconstruction[None])
        metrics["coverage"] = interval_coverage(
            part.reference, reduced.reconstruction_lower, reduced.reconstruction_upper, region
        )
    intensity = float(reduced.reconstruction[region].mean()) if region.any() else 0.0
    metrics |= {
        "predicted_NMSE": expected_nmse(
            reduced.reconstruction,
            reduced.reconstruction_lower,
            reduced.reconstruction_upper,
            reduced.scalars["degrees_of_freedom"],
        ),
        "posterior_std": float(reduced.reconstruction_std[region].mean()) / intensity
        if intensity
        else None,
        "entropy": _entropy(sampled, region),
        "uncertainty_factor": reduced.scalars["uncertainty_factor"],
        "data_misfit": reduced.scalars["data_misfit"],
        "seconds": sampled.seconds,
    }
    path = reconstructor.raw
    along_shots, n_measured = isinstance(path, RawTrajectoryData), int(own.sum())
    if isinstance(path, RawTrajectoryData):  # point spread and g-factor are those of a grid
        n_measured = path.n_used_shots
        achieved = acceleration_of_shots(path.trajectory(part.index), path.shape, path.kind)
    else:
        achieved = achieved_acceleration(own)
        found = loaded.acquisition
        if part.reference is not None and found.n_sets == 1:
            control = center_crop_or_pad(_wavelet_magnitude(found), part.raw.crop)
            metrics["wavelet_PSNR"] = image_metrics(part.reference[None], control[None])["PSNR"]
        metrics["side_lobe"] = side_lobe(own)
        metrics["noise_amplification"] = noise_amplification(
            found.sensitivity_maps, found.mask, found.noise_std
        )
    images = {"mean": reduced.reconstruction, "std": reduced.reconstruction_std, "mask": own}
    if part.reference is not None:
        images["reference"] = part.reference
    return MaskResult(
        scan=part.scan_name,
        slice=part.index,
        mask=name,
        acceleration=acceleration,
        achieved_acceleration=achieved,
        n_measured=n_measured,
        metrics={key: _finite(value) for key, value in metrics.items()},
        images=images,
        is_of_shots=along_shots,
    )


def _wavelet_magnitude(acquisition: Acquisition) -> np.ndarray:
    image = wavelet_image(acquisition).abs() * acquisition.rss_weight * acquisition.scale
    return np.asarray(image.cpu().numpy(), np.float32)


def pixel_entropy(samples: np.ndarray) -> np.ndarray:
    """Return the differential entropy of each pixel under the posterior, in nats.

    log(pi e v) of a circular Gaussian whose variance v = E |x - mean|^2 is that of the samples,
    with the bias of log v from n samples (2 n - 2 degrees of freedom) taken out. The sum over
    pixels bounds the entropy of the image from above: it knows nothing of correlations.

    Parameters
    ----------
    samples : numpy.ndarray
        Complex (n, ...), n at least 2.

    Returns
    -------
    numpy.ndarray
        float64, shape of one sample; minus infinity where samples do not differ.
    """
    freedom = len(samples) - 1
    centred = samples - samples.mean(0, dtype=np.complex128)
    variance = np.square(np.abs(centred)).sum(0) / freedom
    bias = float(digamma(freedom)) - math.log(freedom)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(math.pi * math.e * variance) - bias)


def _entropy(sampled: SampledSlice, region: np.ndarray) -> float | None:
    entropy = center_crop_or_pad(pixel_entropy(sampled.decorrelated()), sampled.loaded.raw.crop)
    inside = region & np.isfinite(entropy)
    return float(entropy[inside].mean()) if inside.any() else None


def _base_image(part: StudySlice) -> np.ndarray:
    """Return the image that says where the head is, whatever the mask."""
    if part.reference is not None:
        return part.reference
    if part.preview is not None:
        return part.preview
    image = zero_filled(part.raw, part.index, part.raw.slice_mask(part.index))
    return center_crop_or_pad(image, part.raw.crop)


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
