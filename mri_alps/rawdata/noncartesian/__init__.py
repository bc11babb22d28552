"""Scans along trajectories: radial, spiral, any other 2-D path, and stacks of them."""

from mri_alps.rawdata.noncartesian.data import RawTrajectoryData
from mri_alps.rawdata.noncartesian.field_of_view import LARGEST_SHARE, share_outside
from mri_alps.rawdata.noncartesian.files import chosen_trajectory, trajectory_from_arrays
from mri_alps.rawdata.noncartesian.options import UNITS, TrajectoryOptions
from mri_alps.rawdata.noncartesian.paths import acceleration, covered_radius, visited_points

__all__ = [
    "LARGEST_SHARE",
    "UNITS",
    "RawTrajectoryData",
    "TrajectoryOptions",
    "acceleration",
    "chosen_trajectory",
    "covered_radius",
    "share_outside",
    "trajectory_from_arrays",
    "visited_points",
]
