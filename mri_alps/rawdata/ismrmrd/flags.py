"""Flags of acquisitions, by the names and bits (from 1) of the ISMRMRD format.

They are said here so that other formats are read without the package `ismrmrd`, whose import takes
an eighth of a second; it has no names for the last two before version 1.14.
"""

from enum import IntEnum


class Flag(IntEnum):
    """Number of a flag; `ismrmrd` has ACQ_ before the names."""

    LAST_IN_SLICE = 8
    IS_NOISE_MEASUREMENT = 19
    IS_PARALLEL_CALIBRATION = 20
    IS_PARALLEL_CALIBRATION_AND_IMAGING = 21
    IS_REVERSE = 22
    IS_NAVIGATION_DATA = 23
    IS_PHASECORR_DATA = 24
    LAST_IN_MEASUREMENT = 25
    IS_HPFEEDBACK_DATA = 26
    IS_DUMMYSCAN_DATA = 27
    IS_RTFEEDBACK_DATA = 28
    IS_SURFACECOILCORRECTIONSCAN_DATA = 29
    IS_PHASE_STABILIZATION_REFERENCE = 30
    IS_PHASE_STABILIZATION = 31
