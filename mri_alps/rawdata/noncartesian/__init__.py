"""Scans along trajectories: radial, spiral, any other 2-D path, and stacks of them."""

from mri_alps.rawdata.noncartesian.data import RawTrajectoryData
from mri_alps.rawdata.noncartesian.files import chosen_trajectory, trajectory_from_arrays
from mri_alps.rawdata.noncartesian.options import UNITS, TrajectoryOptions
from mri_alps.rawdata.noncartesian.paths import acceleration, covered_radius, visited_points

__all__ = [
    "UNITS",
    "RawTrajectoryData",
    "TrajectoryOptions",
    "acceleration",
    "chosen_trajectory",
    "covered_radius",
    "trajectory_from_arrays",
    "visited_points",
]
