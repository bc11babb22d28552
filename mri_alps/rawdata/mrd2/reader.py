"""Open an MRD 2 stream: headers are kept, samples are found in the file and stay there."""

from __future__ import annotations

import contextlib
import dataclasses
import mmap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.core.errors import ConfigurationError, InputFileError, damage_of
from mri_alps.rawdata.ismrmrd.heads import heads_from_records
from mri_alps.rawdata.ismrmrd.reader import make_scan
from mri_alps.rawdata.ismrmrd.store import SampleReader, SpooledAcquisitions
from mri_alps.rawdata.mrd2._header import COUNTERS, header_of
from mri_alps.rawdata.mrd2._stream import DAMAGE, MAGIC, CountedFile, open_reader
from mri_alps.rawdata.noncartesian.options import TrajectoryOptions

if TYPE_CHECKING:
    from mri_alps.rawdata.header import Header
    from mri_alps.rawdata.ismrmrd.scan import Selection
    from mri_alps.rawdata.raw import RawKSpace

_LARGEST_COUNTER = 65535


@dataclass
class _Contents:
    header: Header
    heads: list[np.ndarray] = field(default_factory=list)
    end: int = 0
    offsets: list[int] = field(default_factory=list)
    trajectory_offsets: list[int] = field(default_factory=list)
    by_axis: list[bool] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def is_mrd2(path: Path) -> bool:
    """Return whether a file begins as an MRD 2 stream does.

    Parameters
    ----------
    path : pathlib.Path
        A file that can be read.
    """
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_mrd2(
    path: Path, selection: Selection, options: TrajectoryOptions = TrajectoryOptions()
) -> RawKSpace:
    """Open an MRD 2 stream; every record is looked at once, samples are not kept.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    selection : Selection
        Which part of it.
    options : TrajectoryOptions
        What the user says of its trajectory.

    Raises
    ------
    InputFileError
        If it is damaged, of another version of the format, or holds no acquisitions.
    ConfigurationError
        If the selection asks for what the file does not have.
    MissingDependencyError
        If mrd-python is not installed.
    """
    if selection.dataset is not None:
        raise ConfigurationError(
            f"{path} is an MRD 2 stream, which holds one measurement without a name: leave "
            f"dataset {selection.dataset!r} out"
        )
    contents = _index(path)
    if not contents.heads:
        held = ", ".join(f"{n} x {name}" for name, n in contents.others.items()) or "it is empty"
        raise InputFileError(
            f"{path} is an MRD 2 stream without acquisitions ({held}): export the scan again"
        )
    heads = heads_from_records(np.concatenate(contents.heads), np.arange(len(contents.heads)), path)
    offsets, sizes = np.array(contents.offsets, np.int64), np.array(contents.sizes, np.int64)
    store = _Acquisitions(
        path,
        path,
        heads,
        offsets,
        sizes,
        trajectory_offsets=np.array(contents.trajectory_offsets, np.int64),
        by_axis=np.array(contents.by_axis),
    )
    scan = make_scan(store, contents.header, selection, options)
    scan.warnings += contents.notes
    if contents.others:
        held = ", ".join(f"{n} x {name}" for name, n in contents.others.items())
        scan.processing.append(f"records that are no acquisitions are left out: {held}")
    return dataclasses.replace(scan.assemble(), format="mrd2")


def _index(path: Path) -> _Contents:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            counted = CountedFile(file)
            reader = open_reader(counted, path)
            try:
                contents = _Contents(header_of(reader.read_header(), path))
            except DAMAGE as error:
                raise _damaged(path, "header", error) from error
            try:
                for item in reader.read_data():
                    _take(item, contents, counted, whole, path)
            except (EOFError, BufferError):  # mrd-python raises both at the end
                contents.notes.append(
                    f"the stream ends within a record: the {len(contents.heads)} whole "
                    "acquisitions before are read, copy the file again if it should hold more"
                )
            except DAMAGE as error:
                raise _damaged(path, "record", error) from error
    except (OSError, ValueError) as error:
        raise InputFileError(f"{path} cannot be read ({damage_of(error)})") from error
    return contents


def _damaged(path: Path, what: str, error: Exception) -> InputFileError:
    return InputFileError(
        f"{path} is an MRD 2 stream with a {what} that is damaged ({damage_of(error)}): export the "
        "scan again"
    )


def _take(
    item: Any, contents: _Contents, counted: CountedFile, whole: mmap.mmap, path: Path
) -> None:
    kind = type(item).__name__.rpartition(".")[2]
    if kind != "Acquisition":
        contents.others[kind] += 1
        return
    acquisition = item.value
    if getattr(acquisition, "phase", None) is not None:
        raise InputFileError(
            f"{path}: acquisition {len(contents.heads)} carries phase offsets of its samples, "
            "which are not applied: apply them to the samples and leave them out"
        )
    number = len(contents.heads)
    data = np.ascontiguousarray(acquisition.data, "<c8")
    places = _places(acquisition, data, number, path)

    def find(array: np.ndarray) -> int:
        """Where an array that was read lies: behind the last one."""
        place = whole.find(array.tobytes(), contents.end, counted.position)
        place = place if array.size else contents.end
        if place < 0:
            raise InputFileError(
                f"{path}: the samples of acquisition {number} are not where they were read: the "
                "file was changed while it was read, open it again"
            )
        contents.end = place + array.nbytes
        return place

    contents.offsets.append(find(data))
    contents.sizes.append(data.nbytes)
    contents.trajectory_offsets.append(find(places))
    contents.by_axis.append(places.shape[1] == data.shape[1])
    record = _record(acquisition, data, number, path)
    record["trajectory_dimensions"] = places.size // max(data.shape[1], 1)
    contents.heads.append(record)


def _places(acquisition: Any, data: np.ndarray, number: int, path: Path) -> np.ndarray:
    """Return the trajectory, (axes, samples) as mrd-python has it, or (samples, axes); (0, 0)."""
    places = np.ascontiguousarray(acquisition.trajectory, "<f4")
    if places.size == 0:
        return np.zeros((0, 0), "<f4")
    n_samples = data.shape[1]
    if n_samples not in places.shape or places.size // n_samples not in (1, 2, 3, 4):
        raise InputFileError(
            f"{path}: the trajectory of acquisition {number} has the shape {places.shape} where "
            f"its {n_samples} samples need (2, {n_samples}) or (3, {n_samples}): export the scan "
            "again"
        )
    return places


@dataclass(frozen=True)
class _Acquisitions(SpooledAcquisitions):
    """Acquisitions of a stream, whose trajectories lie behind their samples.

    `by_axis` says of which all of one axis come first.
    """

    trajectory_offsets: np.ndarray = field(kw_only=True)
    by_axis: np.ndarray = field(kw_only=True)

    @contextlib.contextmanager
    def opened_trajectories(self) -> Iterator[SampleReader]:
        """Open the file for reading trajectories: float32 (sample, dimension), flat."""
        axes = self.columns.trajectory_dimensions
        sizes = 4 * self.columns.number_of_samples * axes
        with self._opened(self.trajectory_offsets, sizes) as read:

            def ordered(start: int, count: int) -> Sequence[np.ndarray]:
                found = read(start, count)
                return [
                    values.reshape(axes[index], -1).T.ravel() if self.by_axis[index] else values
                    for index, values in enumerate(found, start)
                ]

            yield ordered


def _record(acquisition: Any, data: np.ndarray, number: int, path: Path) -> np.ndarray:
    """Return the header as that of ISMRMRD 1, whose flags have the same bits."""
    from ismrmrd.hdf5 import acquisition_header_dtype

    head, record = acquisition.head, np.zeros(1, acquisition_header_dtype)
    values = {
        "active_channels": data.shape[0],
        "available_channels": data.shape[0],
        "number_of_samples": data.shape[1],
        "discard_pre": head.discard_pre or 0,
        "discard_post": head.discard_post or 0,
        "center_sample": head.center_sample or 0,
        "encoding_space_ref": head.encoding_space_ref or 0,
    }
    counters = {name: getattr(head.idx, name) or 0 for name in COUNTERS}
    largest = max([*values.values(), *counters.values()])
    if largest > _LARGEST_COUNTER:
        raise InputFileError(
            f"{path}: the header of acquisition {number} has the number {largest}, at most "
            f"{_LARGEST_COUNTER} can be: it is damaged, export the scan again"
        )
    for name, value in values.items():
        record[name] = value
    for name, value in counters.items():
        record["idx"][name] = value
    record["flags"] = int(head.flags.value if hasattr(head.flags, "value") else head.flags)
    nanoseconds = getattr(head, "sample_time_ns", None)  # from 2.2 on
    microseconds = getattr(head, "sample_time_us", None)
    record["sample_time_us"] = nanoseconds / 1000 if nanoseconds else microseconds or 0
    for name in ("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position"):
        record[name] = np.asarray(getattr(head, name), np.float32).reshape(3)
    return record
