"""The one road to every HDF5 file that the package reads; nothing in such a file is trusted.

`open_hdf5` hands out objects of h5py that refuse what leads out of the file (external links,
external storage, virtual datasets) and what would need far more memory than the file is large,
each at the moment at which it is asked for and before anything is read or allocated.
"""

from mri_alps.core.hdf5.limits import (
    ALWAYS_ALLOWED_BYTES,
    MAX_GROWTH,
    MAX_HEADER_BYTES,
    MAX_MEMBERS,
    check_claim,
)
from mri_alps.core.hdf5.objects import Dataset, File, Group
from mri_alps.core.hdf5.opening import check_readable, is_hdf5, open_hdf5, read_text

__all__ = [
    "ALWAYS_ALLOWED_BYTES",
    "MAX_GROWTH",
    "MAX_HEADER_BYTES",
    "MAX_MEMBERS",
    "Dataset",
    "File",
    "Group",
    "check_claim",
    "check_readable",
    "is_hdf5",
    "open_hdf5",
    "read_text",
]
