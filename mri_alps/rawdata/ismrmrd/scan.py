"""From the selected acquisitions of an ISMRMRD scan to a `RawKSpace`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.core.hdf5 import check_claim
from mri_alps.rawdata._files import check_matrix, check_slice_bytes
from mri_alps.rawdata.choices import AS_ASKED, in_words
from mri_alps.rawdata.ismrmrd._directions import DirectedLines
from mri_alps.rawdata.ismrmrd._epi import bring_together
from mri_alps.rawdata.ismrmrd._geometry import group_slices, slice_geometry
from mri_alps.rawdata.ismrmrd._lines import (
    Grid,
    LineTable,
    effective_centers,
    has_empty_samples,
    place_lines,
    settle_center,
)
from mri_alps.rawdata.ismrmrd._noise import measured_noise
from mri_alps.rawdata.ismrmrd._source import SliceLines, VolumeLines
from mri_alps.rawdata.ismrmrd._trajectories import count_trajectories
from mri_alps.rawdata.ismrmrd.heads import (
    COUNTERS,
    NOT_IMAGING,
    Heads,
    check_counters,
)
from mri_alps.rawdata.oversampling import without_oversampling
from mri_alps.rawdata.raw import RawKSpace
from mri_alps.rawdata.sampling_pattern import measured_range, net_acceleration
from mri_alps.rawdata.settling import settle_scan

if TYPE_CHECKING:
    from mri_alps.rawdata.header import Encoding, Header
    from mri_alps.rawdata.ismrmrd.store import AcquisitionStore


@dataclass(frozen=True)
class Selection:
    """Which part of an ISMRMRD file to read; the first one found where None.

    Parameters
    ----------
    dataset : str, optional
        Name of the HDF5 group.
    encoding : int, optional
        Encoding space of the header, counted from 0.
    repetition, contrast, phase, set : int, optional
        Values of the encoding counters.
    keep_oversampling : bool
        Deliver the readout as long as it was measured, instead of cropping it in image space.
    """

    dataset: str | None = None
    encoding: int | None = None
    repetition: int | None = None
    contrast: int | None = None
    phase: int | None = None
    set: int | None = None
    keep_oversampling: bool = False


class ScanAssembler:
    """The steps of `read_ismrmrd`, with the warnings and the processing that they note."""

    def __init__(
        self,
        store: AcquisitionStore,
        header: Header,
        encoding: Encoding,
        selection: Selection,
    ):
        self.store, self.path = store, store.path
        self.header, self.encoding = header, encoding
        self.warnings = list(header.warnings)
        self.processing: list[str] = []
        self._keep_oversampling = selection.keep_oversampling
        if not encoding.trajectory and type(self) is ScanAssembler:
            self.warnings.append("the header names no trajectory; Cartesian is assumed")
        if encoding.trajectory == "epi" and not encoding.trajectory_parameters:
            self.warnings.append(
                "the header names an EPI and no times of its gradients; samples are taken to be "
                "equally spaced, not to lie on ramps"
            )
        self.heads = store.heads()
        self._directions: dict[str, Any] = {}
        self.counters: dict[str, Any] = {}
        self.not_chosen: list[str] = []
        self.imaging, self.calibration = self._select(selection)
        self.n_coils = check_counters(self.imaging, self.path)
        self._check_trajectories()

    def _check_trajectories(self) -> None:
        """Refuse lines that say themselves that they are not where the counters place them."""
        n_lines = count_trajectories(self.store, self.imaging)
        if n_lines:
            name = self.encoding.trajectory
            said = f"says that the trajectory is {name}" if name else "names no trajectory"
            raise InputFileError(
                f"{self.path}: {n_lines} of {len(self.imaging)} imaging lines carry a trajectory "
                f"of their own, while the header {said}, and placed by their counters they would "
                "give a wrong image: correct the header to radial, spiral or other, or say "
                "--trajectory-units, or remove the trajectories if the lines are Cartesian"
            )

    def note_choice(
        self, name: str, chosen: object, found: Sequence[object], wanted: object
    ) -> None:
        """Note which of several parts of the file is read, and how to read another.

        Parameters
        ----------
        name : str
            Of the setting: a counter, "encoding" or "dataset".
        chosen : int or str
            What is read.
        found : sequence of int or str
            What there is.
        wanted : int or str or None
            What was asked for, if anything was.
        """
        self.counters[name] = {"chosen": chosen, "available": list(found)}
        if len(found) < 2:
            return
        if wanted is not None:
            self.processing.append(f"{name} {chosen} of {in_words(found)} {AS_ASKED}")
            return
        sentence = (
            f"{name} {chosen} is read, the file has {in_words(found)}: choose another one by the "
            f"setting {name} (--{name})"
        )
        self.warnings.append(sentence)
        self.not_chosen.append(sentence)

    def _select(self, selection: Selection) -> tuple[Heads, Heads]:
        heads = self.heads
        usable = ~heads.is_noise & ~heads.is_excluded
        space = selection.encoding or 0
        candidates = heads.take(usable & (heads.encoding_space_ref == space))
        imaging = candidates.take(~candidates.is_calibration_only)
        calibration = candidates.take(candidates.is_calibration)
        if self._is_interleaved(imaging):
            calibration = candidates
        if len(imaging) == 0:
            raise InputFileError(
                f"{self.path}: none of the {len(heads)} acquisitions is an imaging line of "
                f"encoding space {space}: check the flags, or name the file "
                "with the image scan"
            )
        spaces = [int(v) for v in np.unique(heads.encoding_space_ref[usable])]
        self.note_choice("encoding", space, spaces, selection.encoding)
        if len(spaces) > 1:
            others = int((usable & (heads.encoding_space_ref != space)).sum())
            self.processing.append(f"{others} lines of other encoding spaces are left out")
        for counter in COUNTERS:
            found = np.unique(getattr(imaging, counter))
            wanted = getattr(selection, counter)
            if wanted is not None and wanted not in found:
                raise ConfigurationError(
                    f"{self.path} has no imaging lines with {counter} {wanted}: choose one of "
                    f"{', '.join(map(str, found))}"
                )
            chosen = int(found[0] if wanted is None else wanted)
            self.note_choice(counter, chosen, [int(v) for v in found], wanted)
            imaging = imaging.take(getattr(imaging, counter) == chosen)
            same = getattr(calibration, counter) == chosen
            if counter == "repetition" and self._is_interleaved(calibration):
                continue
            if len(calibration) and not same.any():  # calibrated once, for all repetitions
                same = getattr(calibration, counter) == getattr(calibration, counter).min()
            calibration = calibration.take(same)
        return imaging, calibration

    def _is_interleaved(self, heads: Heads) -> bool:
        """Whether repetitions sample different lines, which together calibrate the coils."""
        declared = self.header.parameters.get("calibration_mode", "").lower() == "interleaved"
        return declared and len(np.unique(heads.repetition)) > 1

    def assemble(self) -> RawKSpace:
        """Place the lines, settle mask, centre, crop and noise, and return the opened scan."""
        encoding, path = self.encoding, self.path
        is_3d = len(np.unique(self.imaging.kspace_encode_step_2)) > 1
        if not is_3d and encoding.encoded_matrix[2] > 1:
            self.warnings.append("one partition only: read as 2-D slices")
        grid = Grid.from_encoding(encoding, is_3d)
        check_slice_bytes(path, self.n_coils, grid.n_phase, max(grid.n_readout, grid.n_partitions))
        self.imaging, grid, notes = settle_center(self.imaging, grid)
        self.warnings += notes
        groups, group_of_line = group_slices(self.imaging, self.processing)
        check_matrix(path, "number of slices", len(groups))
        sizes = (grid.n_readout, grid.n_phase, grid.n_partitions)
        check_claim(
            path,
            f"{len(groups)} slices or slabs of {self.n_coils} coils x "
            f"{' x '.join(map(str, sizes))}",
            8 * len(groups) * self.n_coils * math.prod(sizes),
        )
        table = self._place(self.imaging, group_of_line, grid, self.warnings)
        calibration = self._place_calibration(grid, groups)
        is_full = bool((table.count == grid.n_readout).all())
        counts = _line_counts(table, len(groups), grid)
        n_averages = self._averages(counts)
        noise, noise_provenance, notes = self._noise(n_averages)
        self.warnings += notes
        table, calibration = self._brought_together(table, calibration, grid, noise)
        sources = (self.store, grid, table, calibration, self.n_coils)
        n_readout = grid.n_readout
        if is_3d:
            n_readout = self._volume_readout(grid, table, is_full)
            mask = counts > 0
            shape = (grid.n_phase, grid.n_partitions)
            n_slices = len(groups) * n_readout
            mask = np.repeat(mask, n_readout, axis=0) if len(mask) > 1 else mask
        else:
            mask = (
                (counts > 0)[:, np.newaxis, :, 0] if is_full else _sample_mask(table, counts, grid)
            )
            shape = (n_readout, grid.n_phase)
            n_slices = len(groups)
        if (mask == mask[:1]).all():
            mask = mask[:1]
        axes = (1, 2) if is_3d else (0, 1)
        wanted = tuple(encoding.image_size(axis) for axis in axes)
        crop = (min(wanted[0], shape[0]), min(wanted[1], shape[1]))
        self._check_pixels()
        raw = RawKSpace(
            path=path,
            format="ismrmrd",
            n_slices=n_slices,
            n_coils=self.n_coils,
            shape=shape,
            mask=mask,
            noise_covariance=noise,
            geometry=slice_geometry(
                self.imaging, group_of_line, len(groups), encoding, is_3d, n_readout
            ),
            crop=crop,
            source=VolumeLines(*sources, n_readout) if is_3d else SliceLines(*sources),
            acquisition=str(self.header.parameters.get("protocol", "")),
            axes=("phase_encode", "partition") if is_3d else ("readout", "phase_encode"),
            acquired_range=self._acquired_range(mask, grid, is_3d),
            n_averages=n_averages,
            has_calibration=calibration is not None,
            size_is_known=encoding.size_is_known,
            provenance=self._provenance(mask, groups, counts, calibration, noise_provenance),
        )
        raw = settle_scan(raw)  # on the grid of the samples: cropping would smear what is wrong
        raw = raw if is_3d else self._without_oversampling(raw)
        if raw.crop != raw.shape:
            reason = encoding.crop_reason(axes)
            self.processing.append(
                f"the final image is cropped to {crop[0]} x {crop[1]} ({reason})"
            )
        return raw

    def _place(self, heads: Heads, group: np.ndarray, grid: Grid, warnings: list[str]) -> LineTable:
        centers, notes = effective_centers(heads, grid, self.store)
        warnings += notes
        table, n_dropped = place_lines(heads, group, grid, self.path, centers)
        if n_dropped:
            warnings.append(f"{n_dropped} samples beyond the edge of the grid are left out")
        return table

    def _place_calibration(self, grid: Grid, groups: np.ndarray) -> LineTable | None:
        heads = self.calibration
        known = np.isin(heads.slice, groups) & (heads.active_channels == self.n_coils)
        heads = heads.take(known)
        is_interleaved = self._is_interleaved(heads)
        if not heads.is_calibration_only.any() and not is_interleaved:
            return None
        # the grid's centre is settled by the imaging lines; only unset fields are filled here
        heads, _, _ = settle_center(heads, grid)
        order = np.argsort(groups)
        group = order[np.searchsorted(groups[order], heads.slice)]
        self.processing.append(
            "interleaved calibration: the sensitivity maps come from the lines of all repetitions"
            if is_interleaved
            else f"{int(heads.is_calibration_only.sum())} calibration lines are used for the "
            "sensitivity maps and not for the image"
        )
        return self._place(heads, group, grid, [])

    def _brought_together(
        self,
        table: LineTable,
        calibration: LineTable | None,
        grid: Grid,
        noise: np.ndarray | None,
    ) -> tuple[LineTable, LineTable | None]:
        """Undo what lines that were read in opposite directions differ by."""
        heads = self.heads
        space = self.imaging.encoding_space_ref[0]
        same = (heads.encoding_space_ref == space) & (heads.active_channels == self.n_coils)
        navigators = heads.take(heads.is_phase_correction & same)
        calibrating = None
        if calibration is not None:
            place = np.searchsorted(heads.index, calibration.index)
            calibrating = DirectedLines(heads.take(place), calibration)
        imaging = DirectedLines(self.imaging, table)
        found = bring_together(self.store, imaging, calibrating, navigators, grid, noise)
        self.processing += found.processing
        self.warnings += found.warnings
        self._directions = found.provenance
        return found.imaging, found.calibration

    def _volume_readout(self, grid: Grid, table: LineTable, is_full: bool) -> int:
        """Length of the readout in image space, of a 3-D scan; it has to be full."""
        if not is_full or has_empty_samples(self.store, table, grid):
            raise InputFileError(
                f"{self.path}: the readout of this 3-D scan is not full, its shortest line has "
                f"{int(table.count.min())} samples and the header's encoded matrix "
                f"{grid.n_readout} (asymmetric echo, discarded samples, zeros, or a matrix that is "
                "wrong), so that it cannot be taken apart into slices exactly: correct the encoded "
                "matrix, or complete the readout first, for example by POCS"
            )
        n_recon = self.encoding.image_size(0)
        if n_recon >= grid.n_readout or self._keep_oversampling:
            return grid.n_readout
        self.processing.append(
            f"readout oversampling removed in image space: {grid.n_readout} to {n_recon}"
        )
        return n_recon

    def _without_oversampling(self, raw: RawKSpace) -> RawKSpace:
        n_recon = self.encoding.image_size(0)
        if n_recon >= raw.shape[0] or self._keep_oversampling:
            return raw
        if raw.mask.shape[1] > 1:
            self.processing.append(
                "asymmetric echo: the readout keeps its oversampling, its missing samples are "
                "outside the mask"
            )
            return raw
        self.processing.append(
            f"readout oversampling removed in image space: {raw.shape[0]} to {n_recon}"
        )
        return without_oversampling(raw, n_recon)

    def _averages(self, counts: np.ndarray) -> int:
        measured = counts[counts > 0]
        lowest, highest = int(measured.min()), int(measured.max())
        if highest > 1:
            self.processing.append(
                f"{lowest} to {highest} averages per line averaged"
                if lowest < highest
                else f"{highest} averages averaged"
            )
        if lowest < highest:
            self.warnings.append(
                f"lines were averaged {lowest} to {highest} times; the noise is that of {lowest}"
            )
        return lowest

    def _noise(self, n_averages: int) -> tuple[np.ndarray | None, dict[str, Any], list[str]]:
        dwell = self.imaging.sample_time_us
        if np.ptp(dwell) > 1e-3 * dwell.max():
            self.warnings.append("imaging lines have different dwell times; the median is taken")
        noise = self.heads.take(self.heads.is_noise)
        bandwidth = self.header.relative_receiver_noise_bandwidth
        return measured_noise(
            self.store,
            noise,
            self.n_coils,
            float(np.median(dwell)),
            bandwidth,
            n_averages,
        )

    def _acquired_range(self, mask: np.ndarray, grid: Grid, is_3d: bool) -> tuple[int, int]:
        first, stop = measured_range(mask)
        name = "kspace_encoding_step_2" if is_3d else "kspace_encoding_step_1"
        offset = grid.partition_offset if is_3d else grid.row_offset
        limit = self.encoding.limits.get(name)
        if limit is not None:
            first = max(0, min(first, limit.minimum + offset))
            stop = min(mask.shape[-1], max(stop, limit.maximum + offset + 1))
        return first, stop

    def _check_pixels(self) -> None:
        encoding = self.encoding
        encoded = encoding.encoded_field_of_view[0] / encoding.encoded_matrix[0]
        recon = encoding.recon_field_of_view[0] / encoding.recon_matrix[0]
        has_said = encoding.image_size(0) != encoding.recon_matrix[0]
        if abs(encoded - recon) > 0.02 * encoded and not has_said:
            self.warnings.append(
                f"the header's pixels along the readout are {encoded:.3g} mm encoded and "
                f"{recon:.3g} mm reconstructed; the image keeps the encoded size and is cropped"
            )

    def _provenance(
        self,
        mask: np.ndarray,
        groups: np.ndarray,
        counts: np.ndarray,
        calibration: LineTable | None,
        noise_provenance: dict[str, Any],
    ) -> dict[str, Any]:
        heads = self.heads
        left_out = {name: int(heads.has(flag).sum()) for name, flag in NOT_IMAGING.items()}
        return {
            "header": dict(self.header.parameters),
            "study": dict(self.header.study),
            "dataset": self.store.group,
            "n_acquisitions": len(heads),
            "n_imaging_lines": len(self.imaging),
            "n_calibration_lines": 0 if calibration is None else len(calibration),
            "left_out": {name: count for name, count in left_out.items() if count},
            "counters": self.counters,
            "n_slabs": len(groups),
            "slice_order": [int(index) for index in groups],
            "averages": {
                "minimum": int(counts[counts > 0].min()),
                "maximum": int(counts.max()),
            },
            "directions": self._directions,
            "noise": noise_provenance,
            "mask_source": "acquired lines",
            "net_acceleration": net_acceleration(mask),
            "not_chosen": self.not_chosen,
            "warnings": self.warnings,
            "processing": self.processing,
        }


def _line_counts(table: LineTable, n_groups: int, grid: Grid) -> np.ndarray:
    """How often each line was measured, int (groups, phase_encode, partition)."""
    counts = np.zeros((n_groups, grid.n_phase, grid.n_partitions), np.int64)
    np.add.at(counts, (table.group, table.row, table.partition), 1)
    return counts


def _sample_mask(table: LineTable, counts: np.ndarray, grid: Grid) -> np.ndarray:
    """Sampling of slices whose lines are not full, bool (groups, readout, phase_encode)."""
    mask = np.zeros((len(counts), grid.n_readout, grid.n_phase), bool)
    for group, row, column, count in zip(
        table.group, table.row, table.column, table.count, strict=True
    ):
        mask[group, column : column + count, row] = True
    return mask
