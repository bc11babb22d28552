"""Readers and writers of raw k-space files: fastMRI HDF5, ISMRMRD, BART cfl.

`read_raw` opens any of them by content and returns one dataclass, `RawKSpace`.
"""

from mri_alps.core.atomic import atomic_path
from mri_alps.rawdata.arrays import raw_from_arrays
from mri_alps.rawdata.bart.cfl import bart_base, kspace_to_cfl, read_cfl, write_cfl
from mri_alps.rawdata.choices import AS_ASKED
from mri_alps.rawdata.decoupling import readout_to_image
from mri_alps.rawdata.description import describe, notes_of
from mri_alps.rawdata.fastmri.writer import write_fastmri
from mri_alps.rawdata.field_of_view import with_field_of_view
from mri_alps.rawdata.geometry import Geometry
from mri_alps.rawdata.header import (
    MAX_HEADER_BYTES,
    Encoding,
    Header,
    Limit,
    keep_encoding,
    make_header,
    parse_header,
)
from mri_alps.rawdata.image_files import StoredImage, read_image
from mri_alps.rawdata.ismrmrd.scan import Selection
from mri_alps.rawdata.ismrmrd.writer import write_ismrmrd
from mri_alps.rawdata.noncartesian import (
    LARGEST_SHARE,
    UNITS,
    RawTrajectoryData,
    TrajectoryOptions,
    acceleration,
    chosen_trajectory,
    covered_radius,
    share_outside,
    trajectory_from_arrays,
    visited_points,
)
from mri_alps.rawdata.open import read_raw
from mri_alps.rawdata.parts import list_parts
from mri_alps.rawdata.raw import RawKSpace
from mri_alps.rawdata.sampling_pattern import (
    center_block,
    net_acceleration,
    pattern_name,
    smallest_mask,
)
from mri_alps.rawdata.sensitivity_files import read_sensitivity_maps
from mri_alps.rawdata.settling import settle_scan, with_measured_zeros

__all__ = [
    "Geometry",
    "RawKSpace",
    "RawTrajectoryData",
    "Selection",
    "StoredImage",
    "TrajectoryOptions",
    "atomic_path",
    "center_block",
    "describe",
    "kspace_to_cfl",
    "list_parts",
    "notes_of",
    "raw_from_arrays",
    "read_cfl",
    "read_image",
    "read_raw",
    "read_sensitivity_maps",
    "settle_scan",
    "trajectory_from_arrays",
    "with_field_of_view",
    "write_cfl",
    "write_fastmri",
    "write_ismrmrd",
]
