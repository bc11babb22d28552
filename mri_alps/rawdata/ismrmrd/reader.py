"""ISMRMRD HDF5: from acquisitions to slices on a Cartesian grid.

The readout oversampling is removed by cropping in image space, provided every imaging line has
a full readout. With an asymmetric echo (or discarded samples) the oversampled readout is kept
as it was measured, so that the mask stays exact: cropping would smear the missing side over all
columns. The final image is cropped by `RawKSpace.crop` in either case.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.core.hdf5 import Dataset, File, Group, open_hdf5, read_text
from mri_alps.rawdata.header import Encoding, Header, parse_header
from mri_alps.rawdata.ismrmrd._epi import refuse_ramps
from mri_alps.rawdata.ismrmrd.scan import ScanAssembler, Selection
from mri_alps.rawdata.ismrmrd.shots import (
    CARTESIAN,
    NON_CARTESIAN,
    ShotAssembler,
    is_non_cartesian,
)
from mri_alps.rawdata.ismrmrd.store import AcquisitionStore, Hdf5Acquisitions
from mri_alps.rawdata.noncartesian.options import TrajectoryOptions

if TYPE_CHECKING:
    from mri_alps.rawdata.raw import RawKSpace


_DESCRIBED = 20  # measurements, of files that have more


def find_groups(file: File) -> list[str]:
    """Return the HDF5 groups that look like ISMRMRD measurements, whatever their names.

    Parameters
    ----------
    file : File
        An open file.
    """
    groups = [name for name in file if isinstance(file.get(name), Group)]
    return [name for name in ["/", *groups] if _is_measurement(file[name])]


def _is_measurement(group: Group) -> bool:
    data = group.get("data")
    has_lines = isinstance(data, Dataset) and "head" in (data.dtype.names or ())
    return has_lines or isinstance(group.get("xml"), Dataset)


def read_ismrmrd(
    path: Path | str,
    selection: Selection = Selection(),
    options: TrajectoryOptions = TrajectoryOptions(),
) -> RawKSpace:
    """Open an ISMRMRD file: headers and noise acquisitions are read, imaging lines are not.

    Parameters
    ----------
    path : Path or str
        The HDF5 file.
    selection : Selection
        Which part of it.
    options : TrajectoryOptions
        What the user says of its trajectory.

    Returns
    -------
    RawKSpace
        Averages are averaged; slices are in order of position along their normal. A
        `RawTrajectoryData` of a scan that is not Cartesian.

    Raises
    ------
    InputFileError
        If the file is damaged, incomplete or contradicts itself, or its trajectory is unknown.
    ConfigurationError
        If the selection asks for what the file does not have.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        name, names = _choose_group(file, path, selection.dataset)
        header = parse_header(_xml(file[name], path), path)
        details = _details(file, path, names) if len(names) > 1 else {}
    scan = make_scan(Hdf5Acquisitions(path, name), header, selection, options)
    scan.note_choice("dataset", name, names, selection.dataset)
    scan.counters["dataset"]["details"] = details
    return scan.assemble()


def make_scan(
    store: AcquisitionStore,
    header: Header,
    selection: Selection,
    options: TrajectoryOptions = TrajectoryOptions(),
) -> ScanAssembler:
    """Select acquisitions, from wherever they lie.

    Parameters
    ----------
    store : AcquisitionStore
        Headers and samples.
    header : Header
        The XML header.
    selection : Selection
        Which part of it.
    options : TrajectoryOptions
        What the user says of its trajectory.

    Returns
    -------
    ScanAssembler
        `assemble` gives the `RawKSpace`.

    Raises
    ------
    InputFileError
        If it cannot be reconstructed (echo-planar), or has no lines.
    ConfigurationError
        If the selection asks for what there is not.
    """
    encoding = choose_encoding(header, selection.encoding or 0, store.path)
    if is_non_cartesian(encoding, options):
        return ShotAssembler(store, header, encoding, selection, options)
    return ScanAssembler(store, header, encoding, selection)


def _choose_group(file: File, path: Path, wanted: str | None) -> tuple[str, list[str]]:
    groups = find_groups(file)
    if wanted is not None and wanted not in groups:
        raise ConfigurationError(
            f"{path} has no ISMRMRD measurement {wanted!r}: choose one of {', '.join(groups)}"
        )
    if not groups:
        raise InputFileError(
            f"{path} has no group with `data` and `xml`: convert the scan with an ISMRMRD converter"
        )
    complete = [g for g in groups if "data" in file[g] and "xml" in file[g]]
    name = wanted or (complete or groups)[0]
    for part in ("data", "xml"):
        if part not in file[name]:
            raise InputFileError(
                f"{path}: the dataset `{part}` is missing in the group `{name}`: export the scan "
                "again, ISMRMRD needs `data` and `xml`"
            )
    return name, groups


def _details(file: File, path: Path, names: list[str]) -> dict[str, str]:
    """Say what each measurement is, for who has to choose one."""
    found = {}
    for name in names[:_DESCRIBED]:
        try:
            encoding = parse_header(_xml(file[name], path), path).encodings[0]
            matrix = " x ".join(str(size) for size in encoding.encoded_matrix)
            found[name] = f"{len(file[name]['data'])} lines, {matrix}"
        except (InputFileError, KeyError, IndexError):
            found[name] = "not readable"
    return found


def _xml(group: Group, path: Path) -> bytes | str:
    stored = group["xml"]
    text = read_text(stored) if isinstance(stored, Dataset) else None
    if text is None:
        raise InputFileError(f"{path}: the dataset `xml` holds no text: export the scan again")
    return text


def choose_encoding(header: Header, index: int, path: Path) -> Encoding:
    """Return an encoding space of the header.

    Parameters
    ----------
    header : Header
        The ISMRMRD header.
    index : int
        Number of the encoding space, from 0.
    path : pathlib.Path
        The file, for messages.

    Raises
    ------
    InputFileError
        If its trajectory cannot be reconstructed, as that of an EPI with ramp sampling.
    ConfigurationError
        If there is no such encoding space.
    """
    if not 0 <= index < len(header.encodings):
        raise ConfigurationError(
            f"{path} has {len(header.encodings)} encoding spaces, number {index} was asked for: "
            f"choose 0 to {len(header.encodings) - 1}"
        )
    encoding = header.encodings[index]
    if encoding.trajectory in (*CARTESIAN, "epi"):
        refuse_ramps(encoding, path)
    elif encoding.trajectory not in NON_CARTESIAN:
        raise InputFileError(
            f"{path}: the trajectory is {encoding.trajectory!r}, and Cartesian, radial, spiral "
            "and other scans whose samples lie where their trajectory says can be reconstructed: "
            "correct and grid the data first, or use another program"
        )
    return encoding
