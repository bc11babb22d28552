"""Scans along trajectories on their way through the pipeline: what replaces masks and grids."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mri_alps.core.errors import ConfigurationError, ShapeError
from mri_alps.rawdata import (
    RawKSpace,
    RawTrajectoryData,
    TrajectoryOptions,
    chosen_trajectory,
    trajectory_from_arrays,
)

if TYPE_CHECKING:
    import numpy as np

    from mri_alps.pipeline.configuration import ReconstructionConfiguration

TRAJECTORY_SETTINGS = ("trajectory", "trajectory_units", "golden_angle", "matrix")
"""Settings that say what the file does not: part of the scan, not of the reconstruction."""


def trajectory_options(configuration: ReconstructionConfiguration) -> TrajectoryOptions | None:
    """Return what the settings say of a trajectory, or None.

    Parameters
    ----------
    configuration : ReconstructionConfiguration
        The settings.
    """
    matrix = configuration.matrix
    options = TrajectoryOptions(
        configuration.trajectory,
        configuration.trajectory_units,
        configuration.golden_angle,
        None if matrix is None else (matrix[0], matrix[-1]),
    )
    return options if options.says_something else None


def with_chosen_shots(raw: RawKSpace, configuration: ReconstructionConfiguration) -> RawKSpace:
    """Return the scan with the shots that the settings choose.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    configuration : ReconstructionConfiguration
        The settings.

    Raises
    ------
    ConfigurationError
        If it has no such shots, or is Cartesian; or if the settings have a mask, which a scan
        along a trajectory has not.
    """
    if isinstance(raw, RawTrajectoryData):
        if configuration.mask is not None:
            raise ConfigurationError(
                f"{raw.path} is a {raw.kind} scan along a trajectory, and a mask chooses Cartesian "
                "points: leave --mask out, and use --shots to leave shots out"
            )
        return raw.with_shots(configuration.shots)
    if configuration.shots is not None:
        raise ConfigurationError(
            f"{raw.path} is Cartesian, and --shots chooses shots of radial and spiral scans: use "
            "--mask to leave lines out"
        )
    return raw


def shots_from_arrays(
    kspace: np.ndarray, trajectory: np.ndarray | None, options: TrajectoryOptions
) -> RawTrajectoryData:
    """Return the scan that arrays in memory stand for.

    Parameters
    ----------
    kspace : numpy.ndarray
        Complex ([slice,] [coil,] shot, sample).
    trajectory : numpy.ndarray or None
        Real ([slice,] shot, sample, 2); None where the options name it.
    options : TrajectoryOptions
        What was said of it.

    Raises
    ------
    ShapeError
        If k-space has no shots.
    ConfigurationError
        If there is no trajectory.
    """
    if kspace.ndim < 2:
        raise ShapeError(f"k-space of shape {kspace.shape}: expected (coil, shot, sample)")
    places = chosen_trajectory(
        options, kspace.shape[-2:], options.matrix, trajectory, Path("array")
    )
    return trajectory_from_arrays(kspace, places, options.matrix, units=options.units)
