"""One call that opens any supported file by its content."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.core.hdf5 import Dataset, check_readable, is_hdf5, open_hdf5
from mri_alps.core.values import as_path
from mri_alps.rawdata.bart._reader import read_bart
from mri_alps.rawdata.bart.cfl import bart_base
from mri_alps.rawdata.choices import refuse_choices
from mri_alps.rawdata.fastmri._reader import read_fastmri
from mri_alps.rawdata.ismrmrd.reader import find_groups, read_ismrmrd
from mri_alps.rawdata.ismrmrd.scan import Selection
from mri_alps.rawdata.ismrmrd.stream import is_mrd_stream, read_mrd_stream
from mri_alps.rawdata.layouts import layout_of, read_layout
from mri_alps.rawdata.mrd2.reader import is_mrd2, read_mrd2
from mri_alps.rawdata.noncartesian.files import is_npz, read_bart_shots, read_npz
from mri_alps.rawdata.noncartesian.options import TrajectoryOptions
from mri_alps.rawdata.settling import settle_scan
from mri_alps.rawdata.twix._measurements import is_twix
from mri_alps.rawdata.twix.reader import read_twix

if TYPE_CHECKING:
    from mri_alps.rawdata.raw import RawKSpace

_MATLAB_5 = b"MATLAB 5.0 MAT-file"


def read_raw(
    path: Path | str,
    *,
    selection: Selection | None = None,
    trajectory: TrajectoryOptions | None = None,
) -> RawKSpace:
    """Open a raw k-space file of any supported format; its samples stay in the file.

    Parameters
    ----------
    path : Path or str
        fastMRI HDF5, ISMRMRD HDF5, an MRD stream (what scanners send, in a file; version 1 or 2),
        Siemens raw data (twix), or a BART pair (x, x.cfl or x.hdr); or, of shots along a
        trajectory, .npz. The content decides, not the extension.
    selection : Selection, optional
        Which measurement, encoding, repetition, contrast, phase and set of an ISMRMRD file; the
        first of each if left out.
    trajectory : TrajectoryOptions, optional
        What the file does not say of a non-Cartesian scan: the trajectory, its unit, the matrix.

    Returns
    -------
    RawKSpace
        A `RawTrajectoryData` of a radial or spiral scan, or any other along a trajectory.
        Slices are read one at a time by `read_slice`. The centre of k-space is where its energy
        is, and exact zeros are not measured, whatever the header says: see `settle_scan`.

    Raises
    ------
    InputFileError
        If the file is missing, unreadable, damaged or of no supported format, or if its samples
        are no k-space or have their centre far from where the header has it.
    ConfigurationError
        If a selection is given for a format that has none.
    """
    path = as_path("read_raw", path)
    try:
        kind = kind_of(path)
    except OSError as error:  # a name that is too long, a folder that cannot be searched
        raise InputFileError(
            f"{path} cannot be read ({error.strerror or error}): check the path and its permissions"
        ) from error
    options = trajectory or TrajectoryOptions()
    if kind == "ismrmrd":
        return read_ismrmrd(path, selection or Selection(), options)
    if kind == "stream":
        return read_mrd_stream(path, selection or Selection(), options)
    if kind == "npz":
        refuse_choices(path, "numpy arrays", selection)
        return read_npz(path, options)
    if kind == "mrd2":
        return read_mrd2(path, selection or Selection(), options)
    if kind == "bart" and options.says_something:
        refuse_choices(path, "BART cfl", selection)
        return read_bart_shots(path, options)
    if options.says_something:
        raise ConfigurationError(
            f"{path} is a {kind} file, of which Cartesian lines alone are read: leave out what was "
            "said of a trajectory, or hand in the shots as ISMRMRD, BART or .npz"
        )
    if kind == "twix":
        return read_twix(path, selection or Selection())
    if kind == "layout":
        return settle_scan(read_layout(path, selection or Selection()))
    if kind == "fastmri":
        return settle_scan(read_fastmri(path, selection or Selection()))
    if selection is not None:
        refuse_choices(path, "BART cfl", selection)
    return settle_scan(read_bart(path))


def kind_of(path: Path) -> str:
    """Return which reader a file is for, by its content.

    Parameters
    ----------
    path : Path
        A file.

    Raises
    ------
    InputFileError
        If it is of no supported format.
    """
    if path.is_file():
        check_readable(path)
        if is_hdf5(path):
            return _hdf5_kind(path)
    if not path.is_dir() and bart_base(path) is not None:
        return "bart"
    check_readable(path)
    if is_twix(path):
        return "twix"
    if is_mrd2(path):
        return "mrd2"
    if is_mrd_stream(path):
        return "stream"
    if is_npz(path):
        return "npz"
    with path.open("rb") as file:
        if file.read(len(_MATLAB_5)) == _MATLAB_5:
            raise InputFileError(
                f"{path} is a MATLAB file of version 5 to 7, which is no HDF5 and is not read: "
                "save it with -v7.3"
            )
    raise InputFileError(
        f"{path} is neither HDF5 (fastMRI, ISMRMRD) nor an MRD stream nor Siemens raw data nor one "
        "of a BART .hdr/.cfl pair, nor .npz: convert it to one of these formats, or copy it "
        "again if it should be"
    )


def _hdf5_kind(path: Path) -> str:
    with open_hdf5(path) as file:
        if layout_of(file) is not None:
            return "layout"
        if isinstance(file.get("kspace"), Dataset):
            return "fastmri"
        if find_groups(file):
            return "ismrmrd"
        if "ismrmrd_header" in file:
            return "fastmri"  # its reader says that `kspace` is missing
        names = list(file)
    raise InputFileError(
        f"{path} is HDF5 but has neither `kspace` (fastMRI) nor a group with `data` and `xml` "
        f"(ISMRMRD); it holds {', '.join(names[:10]) or 'nothing'}: export the raw k-space"
    )
