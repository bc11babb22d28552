"""Readout oversampling of 2-D slices: removed in image space, once the scan is settled."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.crop import center_range
from mri_alps.rawdata.decoupling import remove_oversampling

if TYPE_CHECKING:
    from mri_alps.rawdata.raw import RawKSpace, SliceSource


def without_oversampling(raw: RawKSpace, n_readout: int) -> RawKSpace:
    """Return a scan whose readout is cropped in image space, which is exact.

    Parameters
    ----------
    raw : RawKSpace
        Of whole lines.
    n_readout : int
        Samples of the readout to keep.
    """
    source = CroppedReadout(raw.source, raw.shape[0], n_readout)
    zeros = None if raw.zeros is None else raw.zeros[:1]  # whole lines of them
    shape = (n_readout, raw.shape[1])
    return dataclasses.replace(raw, shape=shape, source=source, zeros=zeros)


@dataclass(frozen=True)
class CroppedReadout:
    """Slices whose readout is cropped in image space.

    Parameters
    ----------
    source : SliceSource
        Of whole lines.
    n_measured, n_readout : int
        Samples of the readout before and after.
    """

    source: SliceSource
    n_measured: int
    n_readout: int

    def read_kspace(self, index: int) -> np.ndarray:
        """Return complex64 (coil, readout, phase_encode)."""
        return remove_oversampling(self.source.read_kspace(index), self.n_readout)

    def read_calibration(self, index: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return calibration lines and the columns whose place in k-space was measured."""
        found = self.source.read_calibration(index)
        if found is None:
            return None
        kspace, mask = found
        position = (np.arange(self.n_readout) - self.n_readout // 2) * (
            self.n_measured / self.n_readout
        ) + self.n_measured // 2
        below = np.clip(np.floor(position).astype(int), 0, self.n_measured - 1)
        above = np.clip(np.ceil(position).astype(int), 0, self.n_measured - 1)
        return remove_oversampling(kspace, self.n_readout), mask[below] & mask[above]

    def read_reference(self, index: int) -> np.ndarray | None:
        """Return the file's own image, which is cropped already."""
        return self.source.read_reference(index)

    def read_ground_truth(self, index: int) -> np.ndarray | None:
        """Return the image behind simulated data, cropped alike."""
        truth = self.source.read_ground_truth(index)
        if truth is None:
            return None
        kept = center_range(self.n_measured, self.n_readout)
        return truth[kept.start : kept.stop]
