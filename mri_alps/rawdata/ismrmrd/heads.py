"""Acquisition headers of an ISMRMRD file as columns, and what their flags mean."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.core.hdf5 import check_claim
from mri_alps.rawdata._files import check_matrix
from mri_alps.rawdata.ismrmrd.flags import Flag

if TYPE_CHECKING:
    import h5py

NOT_IMAGING = {
    "navigation": Flag.IS_NAVIGATION_DATA,
    "phase correction": Flag.IS_PHASECORR_DATA,
    "high-priority feedback": Flag.IS_HPFEEDBACK_DATA,
    "dummy": Flag.IS_DUMMYSCAN_DATA,
    "real-time feedback": Flag.IS_RTFEEDBACK_DATA,
    "surface coil correction": Flag.IS_SURFACECOILCORRECTIONSCAN_DATA,
    "phase stabilization reference": Flag.IS_PHASE_STABILIZATION_REFERENCE,
    "phase stabilization": Flag.IS_PHASE_STABILIZATION,
}
COUNTERS = ("repetition", "contrast", "phase", "set")
_CHUNK_HEADERS = 8192


@dataclass(frozen=True)
class Heads:
    """Acquisition headers as columns, one entry a line; see the ISMRMRD format for each."""

    index: np.ndarray
    flags: np.ndarray
    number_of_samples: np.ndarray
    active_channels: np.ndarray
    discard_pre: np.ndarray
    discard_post: np.ndarray
    center_sample: np.ndarray
    encoding_space_ref: np.ndarray
    sample_time_us: np.ndarray
    trajectory_dimensions: np.ndarray
    position: np.ndarray
    read_dir: np.ndarray
    phase_dir: np.ndarray
    slice_dir: np.ndarray
    kspace_encode_step_1: np.ndarray
    kspace_encode_step_2: np.ndarray
    average: np.ndarray
    slice: np.ndarray
    contrast: np.ndarray
    phase: np.ndarray
    repetition: np.ndarray
    set: np.ndarray
    segment: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def take(self, which: np.ndarray) -> Heads:
        """Return the lines that a bool mask or an index array selects."""
        return Heads(**{f.name: getattr(self, f.name)[which] for f in fields(self)})

    @classmethod
    def none(cls) -> Heads:
        """Return no lines."""
        return cls(**{f.name: np.zeros(0, np.int64) for f in fields(cls)})

    def has(self, flag: int) -> np.ndarray:
        """Return whether ISMRMRD flag number `flag` (counted from 1) is set, per line."""
        return (self.flags.astype(np.uint64) >> np.uint64(flag - 1)) & np.uint64(1) == 1

    @property
    def is_excluded(self) -> np.ndarray:
        """Lines that carry no image: navigators, phase correction, feedback, dummies."""
        return np.any([self.has(flag) for flag in NOT_IMAGING.values()], axis=0)

    @property
    def is_reversed(self) -> np.ndarray:
        """Lines that were read against the direction of increasing k."""
        return self.has(Flag.IS_REVERSE)

    @property
    def is_phase_correction(self) -> np.ndarray:
        """EPI's lines without phase encoding, which tell how the two directions differ."""
        return self.has(Flag.IS_PHASECORR_DATA) & ~self.is_noise

    @property
    def is_noise(self) -> np.ndarray:
        """Noise measurements."""
        return self.has(Flag.IS_NOISE_MEASUREMENT)

    @property
    def is_calibration(self) -> np.ndarray:
        """Parallel-imaging calibration lines, those that are imaging lines too included."""
        return self.has(Flag.IS_PARALLEL_CALIBRATION) | self.has(
            Flag.IS_PARALLEL_CALIBRATION_AND_IMAGING
        )

    @property
    def is_calibration_only(self) -> np.ndarray:
        """Calibration lines that are no part of the image set."""
        return self.has(Flag.IS_PARALLEL_CALIBRATION) & ~self.has(
            Flag.IS_PARALLEL_CALIBRATION_AND_IMAGING
        )


def read_heads(dataset: h5py.Dataset, path: Path) -> Heads:
    """Read all acquisition headers of an ISMRMRD `data` dataset, not their samples.

    Parameters
    ----------
    dataset : h5py.Dataset
        One compound element per acquisition.
    path : pathlib.Path
        The file, for messages.

    Raises
    ------
    InputFileError
        If the dataset is not laid out as ISMRMRD lays it out, or is empty.
    """
    names = dataset.dtype.names or ()
    if "head" not in names or "data" not in names or dataset.dtype["head"].names is None:
        raise InputFileError(
            f"{path}: `{dataset.name}` has the type {str(dataset.dtype)[:60]}, expected ISMRMRD "
            "acquisitions with `head` and `data`: convert the scan with an ISMRMRD converter"
        )
    if dataset.size == 0 or dataset.shape[0] != dataset.size:
        raise InputFileError(
            f"{path}: `{dataset.name}` has the shape {dataset.shape}, expected a list of "
            "acquisitions that is not empty: export the scan again"
        )
    n_bytes = dataset.size * dataset.dtype["head"].itemsize
    check_claim(path, f"a list of {dataset.size} acquisition headers", n_bytes)
    parts = []
    for start in range(0, dataset.size, _CHUNK_HEADERS):
        head = dataset.fields("head")[start : start + _CHUNK_HEADERS].reshape(-1)
        parts.append(heads_from_records(head, np.arange(start, start + len(head)), path))
    return Heads(
        **{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Heads)}
    )


def heads_from_records(records: np.ndarray, index: np.ndarray, path: Path) -> Heads:
    """Return acquisition headers as columns.

    Parameters
    ----------
    records : np.ndarray
        Structured array with the fields of an ISMRMRD acquisition header.
    index : np.ndarray
        Numbers of the acquisitions in their store.
    path : Path
        Named in errors.

    Raises
    ------
    InputFileError
        If a field is missing.
    """
    names = [f.name for f in fields(Heads)][1:]
    return Heads(np.asarray(index), **{name: _column(records, name, path) for name in names})


def _column(head: np.ndarray, name: str, path: Path) -> np.ndarray:
    holder = head if name in (head.dtype.names or ()) else head["idx"]
    if name not in (holder.dtype.names or ()):
        raise InputFileError(
            f"{path}: the acquisition headers lack `{name}`: convert the scan with a current "
            "ISMRMRD converter"
        )
    column = np.array(holder[name])
    # uint16 counters would wrap around in the arithmetic that follows
    return column.astype(np.int64) if column.dtype.kind in "ui" and name != "flags" else column


def kept_samples(heads: Heads) -> tuple[np.ndarray, np.ndarray]:
    """Return first kept sample and number of kept samples, in the order of increasing k.

    discard_pre and discard_post count in the order of acquisition, so they change sides in a
    reversed line.

    Parameters
    ----------
    heads : Heads
        Of any lines.
    """
    reverse = heads.has(Flag.IS_REVERSE)
    first = np.where(reverse, heads.discard_post, heads.discard_pre)
    return first, heads.number_of_samples - heads.discard_pre - heads.discard_post


def check_counters(heads: Heads, path: Path) -> int:
    """Check what all imaging lines must share and return the number of coils.

    Parameters
    ----------
    heads : Heads
        Of the imaging lines.
    path : pathlib.Path
        The file, for messages.

    Raises
    ------
    InputFileError
        If coils differ between lines, or a count is impossible.
    """
    channels = np.unique(heads.active_channels)
    if len(channels) != 1:
        raise InputFileError(
            f"{path}: imaging lines have {' and '.join(map(str, channels))} coils, all must have "
            "the same: split the scan into one file per coil selection"
        )
    check_matrix(path, "number of coils", int(channels[0]))
    return int(channels[0])
