"""The posteriors of real scans, as the design needs them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from mri_alps.calibration import MINIMUM_LINES
from mri_alps.core.crop import center_crop_or_pad, center_range
from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.core.fourier import ifftc
from mri_alps.core.random import stream_seed
from mri_alps.evaluation import expected_nmse, head_mask
from mri_alps.masks.design._covariance import row_information
from mri_alps.masks.design._error_model import Deviations, line_errors, spectral_ratios
from mri_alps.masks.design.loop import ScanPosterior
from mri_alps.masks.design.points import point_information
from mri_alps.masks.study._slices import is_complete

if TYPE_CHECKING:
    from mri_alps.calibration import Acquisition
    from mri_alps.masks.design.expected_error import LineErrors
    from mri_alps.masks.design.information import Information
    from mri_alps.masks.study._slices import StudySlice
    from mri_alps.pipeline import (
        Progress,
        ReconstructionConfiguration,
        SampledSlice,
        SliceReconstruction,
    )
    from mri_alps.priors import ScoreModel
    from mri_alps.rawdata import RawKSpace


@dataclasses.dataclass(frozen=True)
class ScanPopulation:
    """Slices that get one mask, and how their posteriors are sampled: a `Measure`.

    Parameters
    ----------
    slices : sequence of StudySlice
        One k-space matrix.
    prior : ScoreModel
        On `device`.
    configuration : ReconstructionConfiguration
        Sampler, samples, evaluations and seed.
    device : torch.device
        Where samples are drawn.
    progress : Progress, optional
        Told of every slice and step.
    objective : {"error", "information", "task"}
        What the design goes by.
    task : numpy.ndarray, optional
        float (H, W): the region or the template of the objective "task".
    frames : int
        Of a film of such images: candidates are lines of every frame. The posterior is that of one
        frame's lines, and all have to have the same.
    dynamic : float
        Part of the unknown that changes from frame to frame.
    """

    slices: Sequence[StudySlice]
    prior: ScoreModel
    configuration: ReconstructionConfiguration
    device: torch.device
    progress: Progress | None = None
    objective: str = "information"
    task: np.ndarray | None = None
    frames: int = 1
    dynamic: float = 0.0

    def __call__(self, measured: np.ndarray) -> list[ScanPosterior]:
        """Sample the posterior of every slice.

        Parameters
        ----------
        measured : numpy.ndarray
            bool (W,) for lines, or (H W,) for points; (frames W,) for a film.
        """
        measured = measured.reshape(self.frames, -1)[0]
        mask = mask_of_candidates(measured, self.slices[0].raw.shape)
        if self.progress:
            self.progress.start_scan(f"{int(measured.sum())} measured", len(self.slices))
        drawn = []
        for position, part in enumerate(self.slices):
            # Fresh noise at every mask and slice, and the same again after an interruption.
            seed = stream_seed(self.configuration.sampler_seed, int(measured.sum()), position) % (
                2**31
            )
            configuration = dataclasses.replace(self.configuration, seed=seed)
            reconstructor = part.reconstructor(mask, configuration, self.prior, self.device)
            loaded = part.load(reconstructor)
            if loaded.reference is None or not loaded.reference.any():
                # without a truth, left-out lines of the scan tell how wide the posterior is
                reconstructor = part.self_calibrated(reconstructor)
            sampled = reconstructor.draw(loaded, self.progress)
            drawn.append(_Drawn.of(sampled, reconstructor.reduce(sampled)))
            if self.progress:
                self.progress.finish_slice()
        scale = calibrated_scale([(one.expected, one.actual) for one in drawn])
        return [
            ScanPosterior(information, one.expected, one.actual, one.expected * scale**2)
            for information, one in zip(self._informations(drawn, scale), drawn, strict=True)
        ]

    def _informations(self, drawn: Sequence[_Drawn], scale: float) -> list[Information]:
        if self.objective != "information" and not with_points(self.slices[0].raw):
            return list(self._line_errors(drawn))
        found: list[Information] = []
        for one in drawn:
            acquisition = one.sampled.loaded.acquisition
            samples = torch.from_numpy(one.sampled.decorrelated())
            mean = samples.mean(0)
            samples = mean + scale * (samples - mean)
            maps, noise_std = acquisition.sensitivity_maps.cpu(), acquisition.noise_std
            if with_points(one.sampled.loaded.raw):
                found.append(point_information(samples, maps, noise_std, self.objective))
            else:
                found.append(row_information(samples, maps, noise_std))
        return found

    def _line_errors(self, drawn: Sequence[_Drawn]) -> Iterator[LineErrors]:
        """Covariances of errors: of samples, with the spectrum of actual errors where known."""
        deviations = [Deviations.of(torch.from_numpy(one.sampled.decorrelated())) for one in drawn]
        errors = [
            None if one.actual is None else self._error(part, one)
            for part, one in zip(self.slices, drawn, strict=True)
        ]
        pairs = [(d, e) for d, e in zip(deviations, errors, strict=True) if e is not None]
        if pairs:
            ratios = spectral_ratios([d.power() for d, _ in pairs], [d.power(e) for d, e in pairs])
            deviations = [d.calibrated(ratios, e) for d, e in zip(deviations, errors, strict=True)]
        for one, deviation in zip(drawn, deviations, strict=True):
            acquisition = one.sampled.loaded.acquisition
            weight, contrast = torch.from_numpy(one.weight), None
            if self.task is not None and is_region(self.task):
                weight = torch.from_numpy(np.where(self.task > 0, one.full_weight, 0.0))
            elif self.task is not None:
                weight, contrast = torch.from_numpy(one.full_weight), torch.from_numpy(self.task)
            maps = acquisition.sensitivity_maps.cpu()
            found = line_errors(deviation, maps, acquisition.noise_std, weight, contrast)
            yield found if self.frames == 1 else found.of_frames(self.frames, self.dynamic)

    def _error(self, part: StudySlice, drawn: _Drawn) -> torch.Tensor | None:
        """Return the complex error of the mean, (H, W); None where the data are not complete."""
        if not is_complete(part.raw, part.index):
            return None
        reconstructor = part.reconstructor(None, self.configuration, self.prior, self.device)
        whole = part.load(reconstructor).acquisition
        if whole.n_sets > 1:  # no single image
            return None
        mean = torch.from_numpy(drawn.sampled.samples).to(torch.complex128).mean(0)
        return image_of_maps(whole, drawn.sampled.loaded.acquisition).cpu() - mean


def image_of_maps(whole: Acquisition, own: Acquisition) -> torch.Tensor:
    """Return the image of complete data as another acquisition of the scan would have it.

    Maps hold the slow phase of the image, as far as the calibration region shows it. So the same
    image has one phase beside maps of few lines and another beside those of all.

    Parameters
    ----------
    whole, own : Acquisition
        One slice, of all lines and of some, with the same magnitudes of maps.

    Returns
    -------
    torch.Tensor
        Complex (H, W), in the scale of `own` and with the phase that goes with its maps.
    """
    maps = whole.sensitivity_maps
    power = maps.abs().square().sum(0)
    image = (maps.conj() * ifftc(whole.kspace)).sum(0) / power.clamp_min(1e-6)
    # coil images are the same whatever the maps: they are taken apart anew
    coil_images = whole.raw_sensitivity_maps() * torch.where(power > 0, image, 0)
    maps = own.raw_sensitivity_maps()
    power = maps.abs().square().sum(0)
    own_image = (maps.conj() * coil_images).sum(0) / power.clamp_min(1e-30)
    return torch.where(power > 0, own_image, 0) * (whole.scale / own.scale)


def mask_of_candidates(measured: np.ndarray, shape: tuple[int, int], frames: int = 1) -> np.ndarray:
    """Return measured candidates as a mask, (1, W), (H, W) of points, or (frames, 1, W).

    Parameters
    ----------
    measured : numpy.ndarray
        bool (W,) for lines, (H W,) for points, or (frames W,) for a film.
    shape : tuple of int
        K-space matrix (H, W).
    frames : int
        Of a film.
    """
    if frames > 1:
        return measured.reshape(frames, 1, shape[1])
    return measured.reshape((1, -1) if len(measured) == shape[1] else shape)


class _Drawn(NamedTuple):
    """What was sampled of one slice; weights turn errors into those of the magnitude."""

    sampled: SampledSlice
    full_weight: np.ndarray
    weight: np.ndarray
    expected: float
    actual: float | None

    @classmethod
    def of(cls, sampled: SampledSlice, images: SliceReconstruction) -> _Drawn:
        """Compare the mean with the truth where there is one."""
        acquisition = sampled.loaded.acquisition
        mean = images.reconstruction
        reference, actual = sampled.loaded.reference, None
        if reference is not None and reference.any():
            difference = np.square(mean - reference, dtype=np.float64).sum()
            actual = float(difference / np.square(reference, dtype=np.float64).sum())
        weight = (acquisition.rss_weight * acquisition.scale).cpu().numpy().astype(np.float64)
        weight = np.broadcast_to(weight, acquisition.shape)
        object_mask = head_mask(mean[None])[0] if mean.any() else np.ones(mean.shape, bool)
        inside = center_crop_or_pad(object_mask.astype(np.float64), acquisition.shape)
        bounds = (images.reconstruction_lower, images.reconstruction_upper)
        expected = expected_nmse(mean, *bounds, images.scalars["degrees_of_freedom"])
        return cls(sampled, weight, weight * inside, expected, actual)


def calibrated_scale(errors: Sequence[tuple[float, float | None]]) -> float:
    """Return what the samples' deviations are multiplied by, one number for the population.

    Parameters
    ----------
    errors : sequence of tuple
        Expected and actual error of every scan; None where the truth is not known.

    Returns
    -------
    float
        The root of the ratio of actual to expected errors, geometric mean over the scans whose
        truth is known; 1 where there is none, whose samples calibrate themselves.
    """
    logarithms = [
        math.log(actual / expected) for expected, actual in errors if actual and expected > 0
    ]
    return math.exp(sum(logarithms) / (2 * len(logarithms))) if logarithms else 1.0


def is_region(task: np.ndarray) -> bool:
    """Tell whether a task is a region, all 0 and 1, rather than a template.

    Parameters
    ----------
    task : numpy.ndarray
        Real.
    """
    return bool(np.isin(task, (0, 1)).all())


def require_one_matrix(scans: Sequence[RawKSpace]) -> tuple[int, int]:
    """Return the k-space matrix that all scans share.

    Parameters
    ----------
    scans : sequence of RawKSpace
        At least one.

    Raises
    ------
    InputFileError
        If two differ: one mask cannot serve both.
    """
    first = scans[0]
    for raw in scans[1:]:
        if raw.shape != first.shape or raw.axes != first.axes:
            raise InputFileError(
                f"{raw.path} has a k-space matrix of {raw.shape} along {' and '.join(raw.axes)}, "
                f"{first.path} one of {first.shape} along {' and '.join(first.axes)}: design a "
                "mask for each matrix"
            )
    return first.shape


def start_region(
    scans: Sequence[RawKSpace], budget: int, center_fraction: float | None
) -> np.ndarray:
    """Return what is measured in any case, bool (n_candidates,).

    Parameters
    ----------
    scans : sequence of RawKSpace
        Of one matrix. Lines are the candidates, or points where both axes are phase encodes.
    budget : int
        Candidates in all: its acceleration decides on the centre as `reconstruct` does.
    center_fraction : float or None
        Of each phase-encode axis; None for 0.32 over the acceleration, and at least the 8 lines
        that sensitivity maps need.

    Raises
    ------
    ConfigurationError
        If maps cannot be made of so small a centre.
    """
    raw = scans[0]
    sizes = raw.shape if with_points(raw) else raw.shape[1:]
    needed = MINIMUM_LINES if max(scan.n_coils for scan in scans) > 1 else 1
    if center_fraction is None:
        fraction = 0.32 * budget / math.prod(sizes)
        center = [min(size, max(needed, round(size * fraction))) for size in sizes]
    else:
        center = [round(size * center_fraction) for size in sizes]
    if min(center) < needed:
        raise ConfigurationError(
            f"a centre fraction of {center_fraction:g} leaves {min(center)} lines, and the "
            f"sensitivity maps of {raw.path} need {needed}: raise --center-fraction"
        )
    region = np.zeros(sizes, dtype=bool)
    region[tuple(center_range(*pair) for pair in zip(sizes, center, strict=True))] = True
    return region.ravel()


def start_of_undersampled(raw: RawKSpace, index: int) -> np.ndarray:
    """Return what an undersampled scan has measured, bool (n_candidates,).

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    index : int
        Slice.

    Raises
    ------
    InputFileError
        If its lines are not whole.
    """
    mask = raw.slice_mask(index)
    if with_points(raw):
        return mask.ravel()
    lines = np.asarray(mask.any(0))
    if not mask[:, lines].all():
        raise InputFileError(
            f"{raw.path}: slice {index} has phase-encode lines of which only a part was measured, "
            "and lines are added as a whole: give a scan whose readouts are complete"
        )
    return lines


def unmeasurable(raw: RawKSpace) -> np.ndarray:
    """Return what the scan could not measure, bool (n_candidates,): its edge padding.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    """
    first, stop = raw.acquired_range
    outside = np.ones(raw.shape, dtype=bool)
    outside[:, first:stop] = False
    return outside.ravel() if with_points(raw) else np.array(outside[0])


def with_points(raw: RawKSpace) -> bool:
    """Tell whether single points can be measured: whether both axes are phase encodes.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    """
    return raw.axes[0] != "readout"
