"""Write acquisitions as an MRD 2 stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.core.atomic import atomic_path
from mri_alps.core.optional import require
from mri_alps.rawdata.header import parse_header
from mri_alps.rawdata.mrd2._header import COUNTERS, mrd_header

if TYPE_CHECKING:
    import ismrmrd


def write_mrd2(
    path: Path | str, header: bytes, acquisitions: Iterable[ismrmrd.Acquisition]
) -> None:
    """Write acquisitions as they are; the file appears complete or not at all.

    Parameters
    ----------
    path : Path or str
        The file to write, replaced if it exists.
    header : bytes
        XML header of ISMRMRD, see `make_header`.
    acquisitions : iterable of ismrmrd.Acquisition
        In the order of the file.

    Raises
    ------
    MissingDependencyError
        If mrd-python is not installed.
    """
    mrd = require("mrd", "writing MRD 2", "mrd")
    path = Path(path)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        writer = mrd.BinaryMrdWriter(file)
        writer.write_header(mrd_header(mrd, parse_header(header, path)))
        writer.write_data(_items(mrd, acquisitions))
        writer.close()


def _items(mrd: Any, acquisitions: Iterable[ismrmrd.Acquisition]) -> Iterator[Any]:
    for number, acquisition in enumerate(acquisitions):
        head = mrd.AcquisitionHeader(
            flags=mrd.AcquisitionFlags(int(acquisition.flags)),
            idx=mrd.EncodingCounters(
                **{name: int(getattr(acquisition.idx, name)) for name in COUNTERS}
            ),
            scan_counter=number,
            channel_order=list(range(acquisition.active_channels)),
            discard_pre=int(acquisition.discard_pre),
            discard_post=int(acquisition.discard_post),
            center_sample=int(acquisition.center_sample),
            encoding_space_ref=int(acquisition.encoding_space_ref),
        )
        if hasattr(head, "sample_time_ns"):  # from 2.2 on
            head.sample_time_ns = round(1000 * acquisition.sample_time_us)
        else:
            head.sample_time_us = float(acquisition.sample_time_us)
        for name in ("position", "read_dir", "phase_dir", "slice_dir"):
            setattr(head, name, np.array(list(getattr(acquisition, name)), np.float32))
        data = np.ascontiguousarray(acquisition.data, np.complex64)
        places = np.ascontiguousarray(np.asarray(acquisition.traj, np.float32).T)
        one = mrd.Acquisition(head=head, data=data)
        if places.size:
            one.trajectory = places  # (axes, samples)
        yield mrd.StreamItem.Acquisition(one)
