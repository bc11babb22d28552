"""What `reconstruct` may be given in memory: k-space, masks and maps as arrays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from mri_alps.core.errors import ConfigurationError, DtypeError, ShapeError
from mri_alps.pipeline.selection import open_scan, refuse_selection
from mri_alps.pipeline.trajectories import (
    shots_from_arrays,
    trajectory_options,
    with_chosen_shots,
)
from mri_alps.rawdata import RawKSpace, TrajectoryOptions, raw_from_arrays, settle_scan

if TYPE_CHECKING:
    from mri_alps.pipeline.configuration import ReconstructionConfiguration

_AXES = {
    2: "(readout, phase_encode)",
    3: "(coil, readout, phase_encode)",
    4: "(slice, coil, readout, phase_encode)",
}


def as_array(value: object) -> np.ndarray | None:
    """Return an array of numpy's or torch's, or a list of numbers, as numpy has it, or None.

    Parameters
    ----------
    value : any
        What a user gave.

    Raises
    ------
    DtypeError
        If it is a tensor that numpy has no array for: sparse, without data, of bfloat16.
    """
    if isinstance(value, torch.Tensor):
        try:
            return np.asarray(value.detach().resolve_conj().resolve_neg().cpu().numpy())
        except (TypeError, RuntimeError) as error:  # NotImplementedError is a RuntimeError
            raise DtypeError(
                f"a tensor of {value.dtype} and layout {value.layout} on {value.device} cannot be "
                f"read ({error}): give a dense one of complex64 that holds data"
            ) from error
    if isinstance(value, (list, tuple)):
        try:
            listed = np.asarray(value)
        except ValueError:  # rows of different lengths
            return None
        return listed if listed.size and listed.dtype.kind in "biufc" else None
    return value if isinstance(value, np.ndarray) else None


def open_source(
    source: RawKSpace | np.ndarray | torch.Tensor | str | os.PathLike[str],
    mask: np.ndarray | None,
    configuration: ReconstructionConfiguration,
    trajectory: np.ndarray | None = None,
) -> RawKSpace:
    """Return the scan that a path, a scan or an array stands for.

    Parameters
    ----------
    source : path-like, RawKSpace, numpy.ndarray or torch.Tensor
        An array is complex k-space (slice, coil, readout, phase_encode), without the first axes
        where there is one slice, or one slice of one coil.
    mask : numpy.ndarray or None
        Of an array: bool, which of it was measured, broadcasts to (readout, phase_encode).
    configuration : ReconstructionConfiguration
        Says which part of a file is meant.
    trajectory : numpy.ndarray, optional
        Of an array (slice, coil, shot, sample), with fewer axes as above: real (shot, sample, 2).

    Raises
    ------
    ConfigurationError
        If a part is asked for that there is not, or of something that is no file.
    ShapeError, DtypeError
        If an array is no k-space.
    """
    kspace = None if isinstance(source, RawKSpace) else as_array(source)
    options = trajectory_options(configuration) or TrajectoryOptions()
    if trajectory is not None and kspace is None:
        raise ConfigurationError(
            "a trajectory was given as an array, and k-space as a file: name the trajectory's "
            "file, or give both as arrays"
        )
    if kspace is not None and (trajectory is not None or options.says_something):
        raw = shots_from_arrays(kspace, trajectory, options)
        return with_chosen_shots(raw, configuration)
    if isinstance(source, RawKSpace) or kspace is not None:
        refuse_selection(configuration)
    if isinstance(source, RawKSpace):
        return with_chosen_shots(settle_scan(source), configuration)
    if kspace is None:
        return open_scan(cast("str | Path", source), configuration)
    if kspace.ndim not in _AXES:
        raise ShapeError(
            f"an array of shape {kspace.shape} was given, expected k-space "
            f"{_AXES[4]}, {_AXES[3]} or {_AXES[2]}"
        )
    if not np.iscomplexobj(kspace):
        raise DtypeError(
            f"k-space is complex, and an array of {kspace.dtype} was given: combine real and "
            "imaginary part, or name the file"
        )
    kspace = kspace.reshape((1,) * (4 - kspace.ndim) + kspace.shape).astype(np.complex64)
    return with_chosen_shots(raw_from_arrays(kspace, mask), configuration)


def maps_of_slice(maps: np.ndarray | None, raw: RawKSpace, index: int) -> np.ndarray | None:
    """Return the sensitivity maps of one slice.

    Parameters
    ----------
    maps : numpy.ndarray or None
        Complex (coil, readout, phase_encode), for all slices, or with a slice axis first; of
        several sets (slice, set, coil, readout, phase_encode).
    raw : RawKSpace
        The scan.
    index : int
        Slice.

    Raises
    ------
    ShapeError
        If the maps have another shape.
    """
    if maps is None:
        return None
    shape = (raw.n_coils, *raw.shape)
    has_sets = maps.ndim == 5 and maps.shape[0] == raw.n_slices and maps.shape[2:] == shape
    if not has_sets and maps.shape not in (shape, (raw.n_slices, *shape)):
        raise ShapeError(
            f"sensitivity maps of shape {maps.shape} do not fit {raw.path}: expected {shape}, "
            f"{(raw.n_slices, *shape)}, or with an axis of sets after that of slices"
        )
    return maps if maps.ndim == 3 else maps[index]
