"""Arrays in HDF5 as public sets of scans have them: SKM-TEA, Calgary-Campinas, CMRxRecon."""

from mri_alps.rawdata.layouts._recognise import layout_of
from mri_alps.rawdata.layouts.reader import read_layout

__all__ = ["layout_of", "read_layout"]
