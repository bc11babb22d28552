"""From the shots of one slice to what a sampler needs: whitened, with maps, scaled, weighted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from mri_alps.calibration.chain import MappedSlice, WhitenedSlice, use_given_maps
from mri_alps.calibration.folding import find_folding
from mri_alps.calibration.noise import apply_to_coils
from mri_alps.calibration.noncartesian.center import SMALLEST, Center, least_squares_center
from mri_alps.calibration.region import CalibrationRegion
from mri_alps.calibration.sensitivity import local_operators, maps_of
from mri_alps.core.errors import ConfigurationError, InputFileError, MissingDependencyError
from mri_alps.rawdata import RawTrajectoryData, covered_radius

if TYPE_CHECKING:
    from mri_alps.calibration.volume import VolumeCalibration

SOURCE = "least-squares center of the shots"
SMALLEST_SINGLE = 3
"""Radius in cycles per field of view from which the image of a single coil has a scale."""
SMALLEST_GIVEN = 0.5
"""Radius from which there is an image where maps of several coils are given: its mean is known."""


def read_shots(
    raw: RawTrajectoryData,
    index: int,
    calibration: VolumeCalibration,
    left_out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the measured samples of a slice and where they lie.

    Samples that are zero in all coils were not measured, and those beyond the grid it cannot show.

    Parameters
    ----------
    raw, index : RawTrajectoryData and int
        Scan and slice.
    calibration : VolumeCalibration
        Has the gradient delays, corrected where it says so.
    left_out : numpy.ndarray, optional
        bool (shots,): shots that count as not measured.

    Returns
    -------
    kspace : numpy.ndarray
        complex64 (coils, samples, shots), or (coils, samples, 1) where single ones are missing;
        of size 0 where all are zero.
    trajectory : numpy.ndarray
        float64 (samples, shots, 2), alike.
    """
    samples, places = raw.read_samples(index), raw.trajectory(index)
    if calibration.delays_corrected and calibration.delays is not None:
        places = calibration.delays.applied_to(places)
    if left_out is not None:
        samples, places = samples[:, ~left_out], places[~left_out]
    kept = raw.on_grid(places) & (samples != 0).any(axis=0)
    half = np.array(raw.shape) / 2
    places = np.clip(places, -half, half)  # by no more than `on_grid` tolerates
    if (kept == kept[:1]).all():  # the same samples of all shots
        samples, places = samples[:, :, kept[0]], places[:, kept[0]]
        return np.ascontiguousarray(samples.swapaxes(1, 2)), places.swapaxes(0, 1).copy()
    return samples[:, kept][:, :, np.newaxis], places[kept][:, np.newaxis]


def whiten_shots(
    raw: RawTrajectoryData,
    index: int,
    kspace: np.ndarray,
    trajectory: np.ndarray,
    calibration: VolumeCalibration,
    has_maps: bool = False,
) -> tuple[WhitenedSlice, Center]:
    """Whiten the samples of a slice, and find the centre of its k-space.

    Parameters
    ----------
    raw, index, calibration
        As `read_shots` takes them.
    kspace, trajectory : numpy.ndarray
        From it.
    has_maps : bool
        Whether maps of several coils are given: a centre that is not covered is empty then, of
        size 0, and is nothing that an image would need.

    Raises
    ------
    InputFileError
        If the centre of k-space is not sampled as far as it is needed.
    """
    whitened = apply_to_coils(calibration.whitening, kspace)
    radius = covered_radius(trajectory)
    _require_center(raw, index, radius, has_maps)
    if radius < SMALLEST_SINGLE:
        center = Center(np.zeros((raw.n_coils, 0, 0), np.complex64), 1.0)
    else:
        center = least_squares_center(whitened, trajectory, radius)
    region = CalibrationRegion(center.kspace, SOURCE)
    measured = np.ones(trajectory.shape[:-1], bool)
    slice_ = WhitenedSlice(raw, index, calibration, whitened, measured, region, trajectory)
    return slice_, center


def _require_center(raw: RawTrajectoryData, index: int, radius: float, has_maps: bool) -> None:
    """Refuse a centre of k-space that is covered less far than maps, or an image, take."""
    if has_maps:
        needed, what, way_out = SMALLEST_GIVEN, "an image takes", "use more shots"
    elif raw.n_coils == 1:
        needed, what, way_out = SMALLEST_SINGLE, "an image takes", "use more shots"
    else:
        needed, what = SMALLEST, f"sensitivity maps of {raw.n_coils} coils take"
        way_out = "use more shots, hand in maps (--sensitivity-maps), scan with a dense centre"
    if radius < needed:
        raise InputFileError(
            f"{raw.path}: slice {index} is sampled densely only up to {radius:g} cycles per field "
            f"of view around the centre of k-space, where {what} {needed:g}: {way_out}, or check "
            "the trajectory"
        )


def shot_maps(
    whitened: WhitenedSlice,
    center: Center,
    given: np.ndarray | torch.Tensor | None,
    device: torch.device | str,
) -> MappedSlice:
    """Return the slice with maps: given ones, or those of the centre; of one coil 1.

    Parameters
    ----------
    whitened, center : WhitenedSlice and Center
        From `whiten_shots`.
    given : array or None
        Complex (coils, H, W).
    device : torch.device or str
        Where maps lie.

    """
    raw = whitened.raw
    if given is not None:
        return use_given_maps(whitened, given, device, 1)
    if raw.n_coils == 1:
        maps = torch.ones((1, *raw.shape), dtype=torch.complex64, device=device)
        return MappedSlice(whitened, maps, "ESPIRiT")
    operators = local_operators(
        whitened.region.kspace, raw.shape, noise_std=center.noise_std, device=device
    )
    return MappedSlice(whitened, maps_of(operators), "ESPIRiT", folding=find_folding(operators))


def refuse_cartesian_settings(
    raw: RawTrajectoryData,
    mask: object,
    row_compression_tolerance: float | None,
    n_maps: int | None = None,
) -> None:
    """Refuse what only Cartesian lines can have.

    Parameters
    ----------
    raw : RawTrajectoryData
        The scan.
    mask : array or None
        Retrospective.
    row_compression_tolerance : float or None
        Of coil compression at each readout position.
    n_maps : int or None
        Sets of sensitivity maps.

    Raises
    ------
    ConfigurationError
        If there is one.
    """
    if mask is not None:
        raise ConfigurationError(
            f"{raw.path} is a {raw.kind} scan along a trajectory, and a mask chooses Cartesian "
            "points: leave --mask out, and use --shots to leave shots out"
        )
    if row_compression_tolerance is not None:
        raise ConfigurationError(
            f"{raw.path} is a {raw.kind} scan along a trajectory, and coils are compressed by rows "
            "of Cartesian lines alone: leave --coil-compression-tolerance out"
        )
    if n_maps is not None and n_maps > 1:
        raise ConfigurationError(
            f"{raw.path} is a {raw.kind} scan along a trajectory, and n_maps is {n_maps}, where "
            "one set of sensitivity maps is possible: leave --n-maps out"
        )


def require_finufft(raw: RawTrajectoryData) -> None:
    """Refuse a scan along a trajectory where the library for it is not installed.

    Parameters
    ----------
    raw : RawTrajectoryData
        The scan, for the message.

    Raises
    ------
    MissingDependencyError
        If finufft cannot be imported.
    """
    try:
        import finufft  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"{raw.path} is a {raw.kind} scan along a trajectory, which takes finufft: pip install "
            "'mri-alps[noncartesian]'"
        ) from error
