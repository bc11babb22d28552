"""From the acquisitions of a non-Cartesian ISMRMRD scan to a `RawTrajectoryData`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata._files import check_matrix, check_slice_bytes
from mri_alps.rawdata.decoupling import readout_to_image
from mri_alps.rawdata.ismrmrd._geometry import group_slices, slice_geometry
from mri_alps.rawdata.ismrmrd._lines import read_acquisition
from mri_alps.rawdata.ismrmrd._source import check_coils
from mri_alps.rawdata.ismrmrd._trajectories import count_trajectories
from mri_alps.rawdata.ismrmrd.scan import ScanAssembler, Selection
from mri_alps.rawdata.noncartesian.data import RawTrajectoryData, assemble
from mri_alps.rawdata.noncartesian.files import read_trajectory
from mri_alps.rawdata.noncartesian.paths import spokes
from mri_alps.rawdata.noncartesian.units import (
    in_cycles_per_field_of_view,
    planar,
    reach_of,
    refuse_several_units,
)

if TYPE_CHECKING:
    from mri_alps.rawdata.geometry import Geometry
    from mri_alps.rawdata.header import Encoding, Header
    from mri_alps.rawdata.ismrmrd.store import AcquisitionStore
    from mri_alps.rawdata.noncartesian.options import TrajectoryOptions

CARTESIAN = ("cartesian", "")
NON_CARTESIAN = ("radial", "goldenangle", "spiral", "other")
"""Trajectories of the ISMRMRD schema; the one beside these, epi, needs its own corrections."""
SAME_PLACE = 1e-3
"""Of the extent, by which trajectories of partitions may differ and be the same."""


@dataclass(frozen=True)
class ShotLines:
    """The shots of slices, as they lie in a store.

    Parameters
    ----------
    store : AcquisitionStore
        The acquisitions.
    index : np.ndarray
        int (slice, partition, shot), numbers of acquisitions; one partition without a stack.
    first, n_samples, n_all : int
        Kept samples of each acquisition, and how many it has.
    factor : np.ndarray
        (2,), from the file's unit of k-space to cycles per field of view.
    n_coils : int
        Coils.
    given : np.ndarray or None
        float64 (shot, sample, 2), a trajectory that is not in the file, in cycles per field of
        view.
    """

    store: AcquisitionStore
    index: np.ndarray
    first: int
    n_samples: int
    n_all: int
    factor: np.ndarray
    n_coils: int
    given: np.ndarray | None = None

    def read_samples(self, index: int) -> np.ndarray:
        """Return complex64 (coil, shot, sample): of a stack, one of its slices."""
        n_partitions, n_shots = self.index.shape[1:]
        slab, position = divmod(index, n_partitions)
        shape = (n_partitions, self.n_coils, n_shots, self.n_samples)
        samples = np.empty(shape, np.complex64)
        with self.store.opened() as read:
            for partition, shot in np.ndindex(n_partitions, n_shots):
                number = int(self.index[slab, partition, shot])
                values = read_acquisition(read, number, self.n_all, self.store.path)
                kept = values[:, self.first : self.first + self.n_samples]
                samples[partition, :, shot] = check_coils(kept, self.n_coils, self.store.path)
        if n_partitions == 1:
            return samples[0]
        return _along_partitions(samples)[position]

    def trajectory(self, index: int) -> np.ndarray:
        """Return float64 (shot, sample, 2), cycles per field of view."""
        if self.given is not None:
            return self.given
        slab = index // self.index.shape[1]
        path = read_places(self.store, self.index[slab, 0], self.n_all)
        kept = path[:, self.first : self.first + self.n_samples]
        return planar(kept, str(self.store.path))[0] * self.factor


def _along_partitions(samples: np.ndarray) -> np.ndarray:
    """Transform the first axis from kz to slices."""
    return readout_to_image(samples, 0).astype(np.complex64)


def read_places(store: AcquisitionStore, numbers: np.ndarray, n_samples: int) -> np.ndarray:
    """Return the trajectories of acquisitions, float64 (shot, sample, dimension), in their unit.

    Parameters
    ----------
    store : AcquisitionStore
        The acquisitions.
    numbers : np.ndarray
        int (shot,).
    n_samples : int
        Of each.

    Raises
    ------
    InputFileError
        If one has another length than its samples, or less than two dimensions.
    """
    places = []
    with store.opened_trajectories() as read:
        for shot, number in enumerate(numbers):
            values = np.asarray(read(int(number), 1)[0], np.float64)
            n_axes = values.size // n_samples
            if values.size % n_samples or n_axes not in (2, 3):
                raise InputFileError(
                    f"{store.path}: the trajectory of shot {shot} (acquisition {int(number)}) has "
                    f"{values.size} numbers where its {n_samples} samples need "
                    f"{2 * n_samples} or {3 * n_samples}: export the scan again"
                )
            places.append(values.reshape(n_samples, n_axes))
    if len({path.shape for path in places}) > 1:
        raise InputFileError(
            f"{store.path}: some shots have trajectories of 2 and some of 3 dimensions: export the "
            "scan again"
        )
    return np.stack(places)


class ShotAssembler(ScanAssembler):
    """The steps of `read_ismrmrd` where the acquisitions are shots along a trajectory."""

    def __init__(
        self,
        store: AcquisitionStore,
        header: Header,
        encoding: Encoding,
        selection: Selection,
        options: TrajectoryOptions,
    ):
        self._options = options
        super().__init__(store, header, encoding, selection)

    def _check_trajectories(self) -> None:
        """Shots may have trajectories."""

    def assemble(self) -> RawTrajectoryData:
        """Sort the shots into slices, find the unit of k-space, and return the opened scan."""
        path, encoding = self.path, self.encoding
        first, n_samples, n_all = self._lengths()
        groups, group_of_line = group_slices(self.imaging, self.processing)
        check_matrix(path, "number of slices", len(groups))
        index = self._stacked(group_of_line, len(groups))
        n_slabs, n_partitions, n_shots = index.shape
        check_slice_bytes(path, self.n_coils, n_partitions, n_shots, n_samples)
        matrix = self._options.matrix or (encoding.encoded_matrix[0], encoding.encoded_matrix[1])
        check_matrix(path, "matrix", *matrix, cure="correct --matrix")
        view = (encoding.encoded_field_of_view[0], encoding.encoded_field_of_view[1])
        given, factor, how = self._places(index, first, n_samples, n_all, matrix, view)
        shots = ShotLines(self.store, index, first, n_samples, n_all, factor, self.n_coils, given)
        if n_partitions > 1:
            self._refuse_rotated(index, n_all)
            self.processing.append(
                f"a stack of {n_partitions} partitions with the same trajectory: the Fourier "
                "transform along kz makes independent slices of it"
            )
        noise, noise_provenance, notes = self._noise(1)
        self.warnings += notes
        crop = (min(encoding.image_size(0), matrix[0]), min(encoding.image_size(1), matrix[1]))
        if crop != matrix:
            self.processing.append(
                f"the image is reconstructed on the encoded matrix {matrix[0]} x {matrix[1]} and "
                f"cropped to {crop[0]} x {crop[1]} ({encoding.crop_reason()})"
            )
        return assemble(
            path,
            "ismrmrd",
            shots,
            n_slices=n_slabs * n_partitions,
            n_coils=self.n_coils,
            shape=matrix,
            geometry=self._geometry(group_of_line, n_slabs, n_partitions),
            crop=crop,
            units=how,
            n_shots=n_shots,
            n_samples=n_samples,
            noise_covariance=noise,
            acquisition=str(self.header.parameters.get("protocol", "")),
            size_is_known=encoding.size_is_known,
            provenance={
                "header": dict(self.header.parameters) | {"trajectory": encoding.trajectory},
                "dataset": self.store.group,
                "n_acquisitions": len(self.heads),
                "n_imaging_lines": len(self.imaging),
                "counters": self.counters,
                "slice_order": [int(group) for group in groups],
                "noise": noise_provenance,
                "not_chosen": self.not_chosen,
                "warnings": self.warnings,
                "processing": self.processing,
            },
        )

    def _lengths(self) -> tuple[int, int, int]:
        """Return the first kept sample of a shot, how many are kept, and how many there are."""
        heads = self.imaging
        counts = heads.number_of_samples - heads.discard_pre - heads.discard_post
        same = (
            (counts == counts[0])
            & (heads.discard_pre == heads.discard_pre[0])
            & (heads.number_of_samples == heads.number_of_samples[0])
        )
        if not same.all() or counts[0] < 1:
            odd = int(np.flatnonzero(~same)[0]) if not same.all() else 0
            raise InputFileError(
                f"{self.path}: shot {odd} has {int(counts[odd])} samples after discarding and shot "
                f"0 has {int(counts[0])}, all must have as many: export shots of one length, or "
                "correct discard_pre and discard_post"
            )
        return int(heads.discard_pre[0]), int(counts[0]), int(heads.number_of_samples[0])

    def _stacked(self, group_of_line: np.ndarray, n_groups: int) -> np.ndarray:
        """Return the acquisitions of each slice, partition and shot."""
        step = self.imaging.kspace_encode_step_2
        partitions = np.unique(step)
        index: list[list[np.ndarray]] = []
        for group in range(n_groups):
            here = [
                np.sort(self.imaging.index[(group_of_line == group) & (step == partition)])
                for partition in partitions
            ]
            index.append(here)
        counts = np.array([[len(shots) for shots in here] for here in index])
        if counts.min() != counts.max():
            what = "partitions" if len(partitions) > 1 else "slices"
            raise InputFileError(
                f"{self.path}: the {what} have {counts.min()} to {counts.max()} shots, and all "
                "must have as many: leave incomplete ones out when exporting"
            )
        if len(partitions) > 1:
            n_expected = self.encoding.encoded_matrix[2]
            limit = self.encoding.limits.get("kspace_encoding_step_2")
            center = n_expected // 2 if limit is None else limit.center
            expected = np.arange(n_expected) - n_expected // 2 + center
            if not np.array_equal(partitions, expected):
                raise InputFileError(
                    f"{self.path}: the stack has {len(partitions)} partitions, "
                    f"{partitions[0]} to {partitions[-1]} with the centre at {center}, where the "
                    f"encoded matrix has {n_expected}: complete kz is needed to take a stack apart "
                    "into slices"
                )
        return np.array(index)

    def _places(
        self,
        index: np.ndarray,
        first: int,
        n_samples: int,
        n_all: int,
        matrix: tuple[int, int],
        view: tuple[float, float],
    ) -> tuple[np.ndarray | None, np.ndarray, str]:
        """Return a trajectory that is not in the file, the factor of its unit, and its source."""
        options, path = self._options, self.path
        n_shots = index.shape[-1]
        known = view if self.encoding.size_is_known else None
        kept = slice(first, first + n_samples)
        if options.trajectory is not None:
            source = Path(options.trajectory)
            places, kz = planar(read_trajectory(source), str(source))
            if places.ndim != 3 or kz is not None or places.shape[0] != n_shots:
                raise InputFileError(
                    f"{source}: the trajectory has {places.shape[-3]} shots, and {path} has "
                    f"{n_shots} in a slice: name the trajectory that belongs to it"
                )
            if places.shape[1] not in (n_samples, n_all):
                raise InputFileError(
                    f"{source}: the trajectory has {places.shape[1]} samples a shot, and {path} "
                    f"has {n_samples}: name the trajectory that belongs to it"
                )
            places = places if places.shape[1] == n_samples else places[:, kept]
            factor, how = in_cycles_per_field_of_view(
                places, options.units, matrix, known, str(source)
            )
            return places * factor, factor, how
        carrying = self.imaging.trajectory_dimensions > 0
        if options.golden_angle is not None:
            if count_trajectories(self.store, self.imaging):
                raise InputFileError(
                    f"{path}: its acquisitions carry trajectories, and --golden-angle was given as "
                    "well: leave it out"
                )
            places = spokes(n_shots, n_all, options.golden_angle, matrix[0])[:, kept]
            places[..., 1] *= view[1] / view[0]
            return places, np.ones(2), f"computed, {options.golden_angle:g} degrees between spokes"
        if not carrying.all():
            raise InputFileError(
                f"{path}: {int((~carrying).sum())} of {len(carrying)} shots carry no trajectory, "
                f"which the header calls {self.encoding.trajectory or 'nothing'!r}: name its file "
                "(--trajectory), or for spokes the angle between them (--golden-angle 111.246)"
            )
        places, _ = planar(read_places(self.store, index[0, 0], n_all)[:, kept], str(path))
        slabs = (planar(read_places(self.store, slab[0], n_all), str(path))[0] for slab in index)
        refuse_several_units([reach_of(slab[:, kept]) for slab in slabs], str(path))
        factor, how = in_cycles_per_field_of_view(places, options.units, matrix, known, str(path))
        return None, factor, how

    def _refuse_rotated(self, index: np.ndarray, n_all: int) -> None:
        if self._options.trajectory is not None or self._options.golden_angle is not None:
            return  # the same for all partitions
        for slab in index:
            one = planar(read_places(self.store, slab[0], n_all), str(self.path))[0]
            for partition, numbers in enumerate(slab[1:], 1):
                other = planar(read_places(self.store, numbers, n_all), str(self.path))[0]
                if not np.abs(other - one).max() <= SAME_PLACE * np.abs(one).max():
                    raise InputFileError(
                        f"{self.path}: partition {partition} has another trajectory than partition "
                        "0 (a rotated stack, or a 3-D trajectory), and only stacks whose "
                        "partitions have the same are taken apart into slices: extract planes"
                    )

    def _geometry(self, group: np.ndarray, n_slabs: int, n_partitions: int) -> Geometry:
        geometry = slice_geometry(self.imaging, group, n_slabs, self.encoding, False, 1)
        return geometry if n_partitions == 1 else stacked_geometry(geometry, n_partitions)


def stacked_geometry(geometry: Geometry, n_partitions: int) -> Geometry:
    """Return the geometry of the slices of slabs, along their normals.

    Parameters
    ----------
    geometry : Geometry
        Of the slabs.
    n_partitions : int
        Slices of each.
    """
    spacing = geometry.encoded_field_of_view[2] / n_partitions
    positions, read, phase, normal = (
        np.repeat(array, n_partitions, axis=0)
        for array in (
            geometry.slice_positions,
            geometry.readout_direction,
            geometry.phase_direction,
            geometry.slice_direction,
        )
    )
    n_slabs = len(geometry.slice_positions)
    shift = (np.tile(np.arange(n_partitions), n_slabs) - n_partitions // 2) * spacing
    return dataclasses.replace(
        geometry,
        slice_positions=positions + shift[:, np.newaxis] * normal,
        readout_direction=read,
        phase_direction=phase,
        slice_direction=normal,
    )


def is_non_cartesian(encoding: Encoding, options: TrajectoryOptions) -> bool:
    """Return whether a scan is to be read along a trajectory.

    Parameters
    ----------
    encoding : Encoding
        Of the header, which is believed.
    options : TrajectoryOptions
        Unless the user says otherwise.
    """
    return encoding.trajectory in NON_CARTESIAN or options.says_something
