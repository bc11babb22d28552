"""Slices on which masks are compared: the same truth, noise and coils whatever the mask."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.calibration import VolumeCalibration, calibrate_volume, prepare_slice
from mri_alps.core.crop import center_crop_or_pad
from mri_alps.core.errors import ConfigurationError, InputFileError, MriAlpsWarning
from mri_alps.masks.study.shots import COMPLETE, as_setting
from mri_alps.pipeline import (
    LoadedSlice,
    SliceReconstructor,
    chosen_slices,
    open_parts,
    reference_image,
    root_sum_of_squares,
    scan_name,
    shot_preview,
)
from mri_alps.rawdata import RawTrajectoryData, acceleration

if TYPE_CHECKING:
    import torch

    from mri_alps.pipeline import ReconstructionConfiguration
    from mri_alps.priors import ScoreModel
    from mri_alps.rawdata import RawKSpace

_REFERENCE_ITERATIONS = 30


@dataclasses.dataclass(frozen=True)
class StudySlice:
    """One slice with what no mask may change.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    index : int
        Slice.
    calibration : VolumeCalibration
        Noise, looked at in all of the data.
    sensitivity_maps : torch.Tensor
        Complex (coils, readout, phase_encode) of the scan's own coils, estimated from all of the
        data.
    reference : numpy.ndarray or None
        float32, cropped as the final image: the scan's own reference, or the root sum of
        squares of the data where they are complete; None where there is neither.
    preview : numpy.ndarray or None
        float32, cropped alike: of a scan along a trajectory the image of all its shots.
    """

    raw: RawKSpace
    index: int
    calibration: VolumeCalibration
    sensitivity_maps: torch.Tensor
    reference: np.ndarray | None
    preview: np.ndarray | None = None

    @property
    def scan_name(self) -> str:
        """The file's name without suffix, and which part of the file it is."""
        return scan_name(self.raw)

    def reconstructor(
        self,
        mask: np.ndarray | None,
        configuration: ReconstructionConfiguration,
        prior: ScoreModel,
        device: torch.device,
    ) -> SliceReconstructor:
        """Return the road of the slice as a scan with this mask would take it.

        Parameters
        ----------
        mask : numpy.ndarray or None
            Bool, broadcasts to (readout, phase_encode); (1, shots) of a scan along a trajectory.
        configuration, prior, device
            See `SliceReconstructor`.
        """
        if isinstance(self.raw, RawTrajectoryData):
            part = self.raw if mask is None else self.raw.with_shots(as_setting(mask))
            return SliceReconstructor(part, configuration, prior, device, None, self.calibration)
        return SliceReconstructor(self.raw, configuration, prior, device, mask, self.calibration)

    def self_calibrated(self, reconstructor: SliceReconstructor) -> SliceReconstructor:
        """Return a reconstructor whose uncertainty is calibrated on samples that are left out.

        As `reconstruct` does it, but with maps of all of the data. By "slice" it does so itself.

        Parameters
        ----------
        reconstructor : SliceReconstructor
            From `reconstructor`.
        """
        maps = self.sensitivity_maps.cpu().numpy()
        maps = np.broadcast_to(maps, (self.raw.n_slices, *maps.shape))
        reconstructor = dataclasses.replace(reconstructor, given_maps=maps)
        if reconstructor.configuration.self_calibration == "slice":
            return reconstructor
        return reconstructor.self_calibrated((self.index,))

    def load(self, reconstructor: SliceReconstructor) -> LoadedSlice:
        """Return the slice as its mask leaves it, with maps and reference of all of the data.

        Parameters
        ----------
        reconstructor : SliceReconstructor
            From `reconstructor`.

        Raises
        ------
        InputFileError
            If the slice holds only zeros.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MriAlpsWarning)  # said when the slice was opened
            loaded = reconstructor.load(self.index, self.sensitivity_maps)
        if loaded.acquisition.is_empty:
            raise InputFileError(
                f"{self.raw.path}: slice {self.index} holds only zeros, which say nothing about a "
                "mask: choose other slices"
            )
        return dataclasses.replace(loaded, reference=self.reference)


def open_scans(
    inputs: Sequence[Path], configuration: ReconstructionConfiguration
) -> list[RawKSpace]:
    """Open scans, each part of a file that is meant; their names have to tell them apart.

    Parameters
    ----------
    inputs : sequence of pathlib.Path
        Raw files.
    configuration : ReconstructionConfiguration
        Says which part of each is meant.

    Raises
    ------
    InputFileError
        If one cannot be read.
    ConfigurationError
        If there is none, or two have one name.
    """
    if not inputs:
        raise ConfigurationError("no scan was given: name at least one raw file")
    names = [Path(path).stem for path in inputs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(
            f"two of the inputs are called {twice[0]}: results are named after their scan, so "
            "give one of them another name, or study them apart"
        )
    return [raw for path in inputs for raw in open_parts(Path(path), configuration)]


def study_slices(
    raw: RawKSpace, configuration: ReconstructionConfiguration
) -> Iterator[StudySlice]:
    """Calibrate the chosen slices of a scan on all of its data, one after the other.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    configuration : ReconstructionConfiguration
        For the choice of slices.
    """
    scan = CalibratedScan(raw, configuration.noise_std, configuration.correct_delays)
    for index in chosen_slices(raw, configuration):
        yield scan.slice(index)


class CalibratedScan:
    """A scan that is calibrated, on all of its data, only once one of its slices is needed.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    noise_std : tuple of float, optional
        Of its noise, see `ReconstructionConfiguration`; measured if left out.
    correct_delays : bool
        Of the gradients, of a radial scan.
    """

    def __init__(
        self,
        raw: RawKSpace,
        noise_std: tuple[float, ...] | None = None,
        correct_delays: bool = False,
    ):
        self._raw, self._noise_std = raw, noise_std
        self._correct_delays = correct_delays
        self._slice: StudySlice | None = None

    @cached_property
    def _calibration(self) -> VolumeCalibration:
        return calibrate_volume(
            self._raw, noise_std=self._noise_std, correct_delays=self._correct_delays
        )

    def slice(self, index: int) -> StudySlice:
        """Return a slice; the last one is kept, for the next mask."""
        if self._slice is None or self._slice.index != index:
            acquisition = prepare_slice(self._raw, index, calibration=self._calibration)
            maps = acquisition.raw_sensitivity_maps()
            if isinstance(self._raw, RawTrajectoryData):
                image = shot_preview(acquisition, _REFERENCE_ITERATIONS)
                preview = center_crop_or_pad(image, self._raw.crop)
                reference = preview if is_complete(self._raw, index) else None
            else:
                preview, reference = None, _find_reference(self._raw, index)
            self._slice = StudySlice(self._raw, index, self._calibration, maps, reference, preview)
        return self._slice


def slice_name(scan: str, index: int) -> str:
    """Return what a slice is called in files and figures.

    Parameters
    ----------
    scan : str
        Name of the scan.
    index : int
        Slice.
    """
    return f"{scan}_slice{index:03d}"


def _find_reference(raw: RawKSpace, index: int) -> np.ndarray | None:
    """Return the truth, as far as it is known, or None."""
    reference = reference_image(raw, index)
    if reference is None and is_complete(raw, index):
        image = root_sum_of_squares(raw.read_slice(index))
        reference = center_crop_or_pad(image, raw.crop).astype(np.float32)
    return reference


def is_complete(raw: RawKSpace, index: int) -> bool:
    """Tell whether everything between the edges of a slice's k-space was measured, or nearly.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    index : int
        Slice.
    """
    if isinstance(raw, RawTrajectoryData):
        return acceleration(raw.trajectory(index), raw.shape, raw.kind) <= COMPLETE
    first, stop = raw.acquired_range
    return bool(raw.slice_mask(index)[:, first:stop].all())


def require_complete(raw: RawKSpace, purpose: str) -> None:
    """Refuse a scan that was undersampled when it was made.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    purpose : str
        What it is needed for, for the message.

    Raises
    ------
    InputFileError
        If a slice is not complete.
    """
    for index in range(raw.n_slices if len(raw.mask) > 1 else 1):
        if not is_complete(raw, index):
            part = raw.slice_mask(index).mean()
            raise InputFileError(
                f"{raw.path}: only {100 * part:.0f} % of the k-space of slice {index} was "
                f"measured, and {purpose} needs a fully sampled scan: give one, or simulated data"
            )
