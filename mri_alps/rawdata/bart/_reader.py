"""BART k-space: slices and volumes of cfl files.

The one format in which unsampled points are zeros in all coils by convention: its reader alone
infers the mask from them, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata._files import check_matrix, check_slice_bytes
from mri_alps.rawdata.bart._order import refuse_other_order
from mri_alps.rawdata.bart.cfl import DIMENSIONS, bart_base, read_cfl
from mri_alps.rawdata.decoupling import BlockCache, readout_to_image
from mri_alps.rawdata.geometry import Geometry
from mri_alps.rawdata.kspace_center import SPREAD, find_center
from mri_alps.rawdata.raw import RawKSpace
from mri_alps.rawdata.sampling_pattern import measured_range, net_acceleration
from mri_alps.rawdata.settling import check_readout

_COIL, _SLICE, _AVERAGE = 3, 13, 14
MAX_ACCIDENTAL_ZEROS = 0.01


def read_bart(path: Path | str) -> RawKSpace:
    """Open a BART k-space; the samples are mapped, not loaded.

    READ and PHS1 are the readout and the phase encode of a slice, SLICE counts slices. With
    PHS2 as well, the scan is 3-D: its readout is transformed to image space and every readout
    position is a slice with the axes (PHS1, PHS2). AVG is averaged; of every other dimension
    the first entry is taken.

    Parameters
    ----------
    path : Path or str
        x, x.cfl or x.hdr.

    Raises
    ------
    InputFileError
        If the pair is incomplete or inconsistent, holds no k-space, or is sampled so that the
        readout cannot be transformed.
    """
    base = bart_base(path)
    array = read_cfl(path)
    assert base is not None  # read_cfl has raised otherwise
    dims = array.shape
    check_matrix(base, "matrix of the BART header", *dims[:3], dims[_COIL], dims[_SLICE])
    refuse_other_order(base, array)
    if dims[4] > 1:
        raise InputFileError(
            f"{base}: {dims[4]} sets in the dimension MAPS, so these are sensitivity maps and no "
            "k-space: name the k-space file"
        )
    spatial = [axis for axis in range(3) if dims[axis] > 1]
    if len(spatial) < 2:
        raise InputFileError(
            f"{base}: READ x PHS1 x PHS2 is {dims[0]} x {dims[1]} x {dims[2]}, at least two must "
            "be longer than 1: name a 2-D or 3-D Cartesian k-space"
        )
    warnings = _warnings(dims, spatial)
    if len(spatial) == 3:
        return _volume(base, warnings)
    return _slices(base, (spatial[0], spatial[1]), warnings)


def _warnings(dims: tuple[int, ...], spatial: list[int]) -> list[str]:
    ignored = [
        f"{DIMENSIONS[axis] if axis < len(DIMENSIONS) else axis} ({size})"
        for axis, size in enumerate(dims)
        if size > 1 and axis not in (0, 1, 2, _COIL, _SLICE, _AVERAGE)
    ]
    warnings = ["unsampled points are taken to be those that are zero in all coils"]
    if ignored:
        warnings.append(f"the first entry is taken along {', '.join(ignored)}")
    if spatial == [1, 2]:
        warnings.append(
            "READ is 1: taken as a slice (PHS1, PHS2) of a Cartesian scan, as the energy along "
            "PHS2 has a peak"
        )
    return warnings


def _select(base: Path) -> np.ndarray:
    """Return the memory map as (READ, PHS1, PHS2, COIL, SLICE, AVG), no copy."""
    array = read_cfl(base)
    keep = (0, 1, 2, _COIL, _SLICE, _AVERAGE)
    return array[tuple(slice(None) if axis in keep else 0 for axis in range(array.ndim))]


@dataclass(frozen=True)
class BartSource:
    """Slices of a 2-D BART file; `axes` are the two spatial dimensions of a slice."""

    base: Path
    axes: tuple[int, int]

    def read_kspace(self, index: int) -> np.ndarray:
        """Return complex (coil, readout, phase_encode)."""
        return _average(self._samples(index))[0]

    def count(self, index: int) -> np.ndarray:
        """Return how often each point of a slice was measured, int (readout, phase_encode)."""
        return _average(self._samples(index))[1]

    def _samples(self, index: int) -> np.ndarray:
        array = _select(self.base)[:, :, :, :, index]
        other = ({0, 1, 2} - set(self.axes)).pop()
        samples = np.take(array, 0, axis=other)  # (first, second, coil, average)
        return np.ascontiguousarray(np.moveaxis(samples, (3, 2), (0, 1)))

    def read_calibration(self, index: int) -> None:
        """Return None: the calibration region is the centre of the mask."""
        return None

    def read_reference(self, index: int) -> None:
        """Return None: a cfl pair holds one array."""
        return None

    def read_ground_truth(self, index: int) -> None:
        """Return None: a cfl pair holds one array."""
        return None


def _average(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average (average, coil, ...) over the averages in which a point is not zero."""
    count = (samples != 0).any(axis=1).sum(axis=0)
    return samples.sum(axis=0) / np.maximum(count, 1), count


class BartVolumeSource(BartSource):
    """Readout positions of a 3-D BART file."""

    def __init__(self, base: Path):
        super().__init__(base, (1, 2))
        dims = _select(base).shape
        cache = BlockCache(self._load, dims[0], 8 * dims[1] * dims[2] * dims[3])
        object.__setattr__(self, "_cache", cache)

    def read_kspace(self, index: int) -> np.ndarray:
        """Return complex (coil, phase_encode, partition)."""
        return self._cache.read(index)  # type: ignore[attr-defined]

    def _load(self, volume: int, start: int, stop: int) -> np.ndarray:
        array = _select(self.base)[:, :, :, :, volume]
        n_phase, n_partitions, n_coils = array.shape[1:4]
        block = np.empty((stop - start, n_coils, n_phase, n_partitions), np.complex64)
        for coil in range(n_coils):
            for partition in range(n_partitions):
                lines = self._averaged_lines(array, coil, partition)
                block[:, coil, :, partition] = readout_to_image(lines, 0)[start:stop]
        return block

    @staticmethod
    def _averaged_lines(array: np.ndarray, coil: int, partition: int) -> np.ndarray:
        if array.shape[-1] == 1:
            return np.asarray(array[:, :, partition, coil, 0])
        samples = np.moveaxis(np.asarray(array[:, :, partition]), (3, 2), (0, 1))
        return _average(samples)[0][coil]


def _slices(base: Path, axes: tuple[int, int], warnings: list[str]) -> RawKSpace:
    dims = _select(base).shape
    shape = (dims[axes[0]], dims[axes[1]])
    check_slice_bytes(base, dims[3] * dims[5], *shape)
    source = BartSource(base, axes)
    if dims[0] == 1:
        _refuse_shots(base, source, dims[4] // 2)
    small = np.min_scalar_type(dims[5])  # counts of all slices are held at once
    counts = [source.count(index).astype(small) for index in range(dims[4])]
    names = ("phase_encode", "partition") if axes == (1, 2) else ("readout", "phase_encode")
    return _assemble(base, source, np.stack(counts), dims[4], dims[3], shape, names, warnings)


def _refuse_shots(base: Path, source: BartSource, index: int) -> None:
    """Refuse (1, samples, shots, coils), BART's layout of radial and spiral scans.

    A slice of a Cartesian scan has nearly all of its energy on few lines of PHS2; each shot goes
    through the centre of k-space.
    """
    kspace = source.read_kspace(index)
    if not kspace.any() or not np.isfinite(kspace).all():  # said when it is read
        return
    shots = find_center([kspace], [source.count(index) > 0])[1]
    if shots is None or shots.concentration < SPREAD:
        raise InputFileError(
            f"{base}: READ x PHS1 x PHS2 is 1 x {kspace.shape[1]} x {kspace.shape[2]} and the "
            "energy along PHS2 has no peak, so these are samples x shots of a radial or spiral "
            "scan, or too few lines to tell: name the trajectory (--trajectory traj), or give "
            "Cartesian k-space with READ and PHS1"
        )


def _volume(base: Path, warnings: list[str]) -> RawKSpace:
    array = _select(base)
    n_readout, n_phase, n_partitions, n_coils, n_volumes, n_averages = array.shape
    check_slice_bytes(base, n_coils, n_phase, n_partitions)
    counts = np.zeros((n_volumes, n_phase, n_partitions), int)
    for volume, partition, average in np.ndindex(n_volumes, n_partitions, n_averages):
        measured = (array[:, :, partition, :, volume, average] != 0).any(axis=-1)
        lines = measured.any(axis=0)
        zeros = 1 - measured[:, lines].mean() if lines.any() else 0.0
        if zeros > MAX_ACCIDENTAL_ZEROS:
            raise InputFileError(
                f"{base}: {zeros:.0%} of the samples along READ are zero where others of the same "
                "line are not, and only a fully sampled readout of a 3-D scan can be taken apart "
                "into slices: transform READ to image space and extract slices before"
            )
        counts[volume, :, partition] += lines
    _check_readout(base, array, counts[n_volumes // 2])
    warnings.append(f"3-D: READ goes to image space, its {n_readout} positions are slices")
    return _assemble(
        base,
        BartVolumeSource(base),
        np.repeat(counts, n_readout, axis=0) if n_volumes > 1 else counts,
        n_volumes * n_readout,
        n_coils,
        (n_phase, n_partitions),
        ("phase_encode", "partition"),
        warnings,
    )


def _check_readout(base: Path, array: np.ndarray, counts: np.ndarray) -> None:
    """Look at READ before it is gone, in the partition with the most energy on few of its lines."""
    middle = array[:, :, :, :, array.shape[4] // 2, 0]
    few = middle[:: max(1, middle.shape[0] // 16), :: max(1, middle.shape[1] // 16)]
    energy = [float((abs(few[:, :, k].astype(complex)) ** 2).sum()) for k in range(few.shape[2])]
    partition = int(np.argmax(energy))
    kspace = np.moveaxis(np.asarray(middle[:, :, partition]), -1, 0)
    check_readout(base, kspace, np.broadcast_to(counts[:, partition] > 0, kspace.shape[1:]))


def _assemble(
    base: Path,
    source: BartSource,
    counts: np.ndarray,
    n_slices: int,
    n_coils: int,
    shape: tuple[int, int],
    axes: tuple[str, str],
    warnings: list[str],
) -> RawKSpace:
    mask = counts > 0
    if not mask.any():
        raise InputFileError(f"{base}: every sample is zero: export the scan again")
    if (mask == mask[:1]).all():
        mask = mask[:1]
    n_averages = int(counts[counts > 0].min())
    if int(counts.max()) != n_averages:
        warnings.append(
            f"points were averaged {n_averages} to {counts.max()} times; the noise is that of "
            f"{n_averages}"
        )
    dims = _select(base).shape
    matrix = (dims[0], dims[1], dims[2])
    view = (float(dims[0]), float(dims[1]), float(dims[2]))
    return RawKSpace(
        path=base,
        format="bart",
        n_slices=n_slices,
        n_coils=n_coils,
        shape=shape,
        mask=mask,
        noise_covariance=None,
        geometry=Geometry.nominal(matrix, matrix, view, view, n_slices),
        crop=shape,
        source=source,
        axes=axes,
        acquired_range=measured_range(mask),
        n_averages=n_averages,
        size_is_known=False,
        provenance={
            "dimensions": [int(size) for size in read_cfl(base).shape],
            "mask_source": "inferred: zero in all coils means unsampled (BART's convention)",
            "net_acceleration": net_acceleration(mask),
            "n_slabs": dims[4],
            "warnings": warnings,
            "processing": ["no crop: a cfl header has no recon matrix"],
        },
    )
