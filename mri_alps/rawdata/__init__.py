"""Readers and writers of raw k-space files: fastMRI HDF5, ISMRMRD, BART cfl.

`read_raw` opens any of them by content and returns one dataclass, `RawKSpace`.
"""

from mri_alps.rawdata.raw import Geometry, RawKSpace, raw_from_arrays

__all__ = ["Geometry", "RawKSpace", "raw_from_arrays"]
