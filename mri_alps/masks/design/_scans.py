"""The posteriors of real scans, as the design needs them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from mri_alps.calibration import MINIMUM_LINES
from mri_alps.core.crop import center_range
from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.core.random import stream_seed
from mri_alps.evaluation import expected_nmse
from mri_alps.masks.design._covariance import row_information
from mri_alps.masks.design.loop import ScanPosterior
from mri_alps.masks.design.points import point_information

if TYPE_CHECKING:
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
    """

    slices: Sequence[StudySlice]
    prior: ScoreModel
    configuration: ReconstructionConfiguration
    device: torch.device
    progress: Progress | None = None

    def __call__(self, measured: np.ndarray) -> list[ScanPosterior]:
        """Sample the posterior of every slice.

        Parameters
        ----------
        measured : numpy.ndarray
            bool (W,) for lines, or (H W,) for points.
        """
        mask = mask_of_candidates(measured, self.slices[0].raw.shape)
        if self.progress:
            self.progress.start_scan(f"{int(measured.sum())} measured", len(self.slices))
        posteriors = []
        for position, part in enumerate(self.slices):
            # Fresh noise at every mask and slice, and the same again after an interruption.
            seed = stream_seed(self.configuration.sampler_seed, int(measured.sum()), position) % (
                2**31
            )
            configuration = dataclasses.replace(self.configuration, seed=seed)
            reconstructor = part.reconstructor(mask, configuration, self.prior, self.device)
            sampled = reconstructor.draw(part.load(reconstructor), self.progress)
            posteriors.append(_scan_posterior(sampled, reconstructor.reduce(sampled)))
            if self.progress:
                self.progress.finish_slice()
        return posteriors


def mask_of_candidates(measured: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return measured candidates as a mask, (1, W) or (H, W).

    Parameters
    ----------
    measured : numpy.ndarray
        bool (W,) for lines, or (H W,) for points.
    shape : tuple of int
        K-space matrix (H, W).
    """
    return measured.reshape((1, -1) if len(measured) == shape[1] else shape)


def _scan_posterior(sampled: SampledSlice, images: SliceReconstruction) -> ScanPosterior:
    """Turn samples into what the design asks for."""
    acquisition = sampled.loaded.acquisition
    mean, std = images.reconstruction, images.reconstruction_std
    reference, actual = sampled.loaded.reference, None
    if reference is not None and reference.any():
        difference = np.square(mean - reference, dtype=np.float64).sum()
        actual = float(difference / np.square(reference, dtype=np.float64).sum())
    inform = point_information if _with_points(sampled.loaded.raw) else row_information
    information = inform(
        torch.from_numpy(sampled.samples),
        acquisition.sensitivity_maps.cpu(),
        acquisition.noise_std,
    )
    expected = expected_nmse(mean, std, len(sampled.samples))
    return ScanPosterior(information, expected, actual)


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
    sizes = raw.shape if _with_points(raw) else raw.shape[1:]
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
    if _with_points(raw):
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
    return outside.ravel() if _with_points(raw) else np.array(outside[0])


def _with_points(raw: RawKSpace) -> bool:
    """Tell whether single points can be measured: whether both axes are phase encodes."""
    return raw.axes[0] != "readout"
