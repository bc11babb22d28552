"""ISMRMRD: files, and acquisitions as they come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.lazy import lazy_names

if TYPE_CHECKING:
    from mri_alps.rawdata.ismrmrd.heads import COUNTERS, NOT_IMAGING, Heads, heads_from_records
    from mri_alps.rawdata.ismrmrd.reader import choose_encoding, find_groups, make_scan
    from mri_alps.rawdata.ismrmrd.shots import NON_CARTESIAN
    from mri_alps.rawdata.ismrmrd.store import Hdf5Acquisitions, SampleReader, SpooledAcquisitions
    from mri_alps.rawdata.ismrmrd.writer import make_acquisition, write_acquisitions, write_xml
    from mri_alps.rawdata.mrd2.writer import write_mrd2

_HOME_OF = {
    "COUNTERS": "mri_alps.rawdata.ismrmrd.heads",
    "Hdf5Acquisitions": "mri_alps.rawdata.ismrmrd.store",
    "Heads": "mri_alps.rawdata.ismrmrd.heads",
    "NON_CARTESIAN": "mri_alps.rawdata.ismrmrd.shots",
    "NOT_IMAGING": "mri_alps.rawdata.ismrmrd.heads",
    "SampleReader": "mri_alps.rawdata.ismrmrd.store",
    "SpooledAcquisitions": "mri_alps.rawdata.ismrmrd.store",
    "choose_encoding": "mri_alps.rawdata.ismrmrd.reader",
    "find_groups": "mri_alps.rawdata.ismrmrd.reader",
    "heads_from_records": "mri_alps.rawdata.ismrmrd.heads",
    "make_acquisition": "mri_alps.rawdata.ismrmrd.writer",
    "make_scan": "mri_alps.rawdata.ismrmrd.reader",
    "write_acquisitions": "mri_alps.rawdata.ismrmrd.writer",
    "write_mrd2": "mri_alps.rawdata.mrd2.writer",
    "write_xml": "mri_alps.rawdata.ismrmrd.writer",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME_OF)
