"""Scans along trajectories as BART's ksp and traj, and as ISMRMRD acquisitions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import ConfigurationError
from mri_alps.rawdata import Limit, make_header, write_cfl
from mri_alps.rawdata.ismrmrd import make_acquisition, write_acquisitions, write_mrd2

if TYPE_CHECKING:
    import ismrmrd

    from mri_alps.rawdata import RawTrajectoryData

SHOT_FORMATS = ("ismrmrd", "mrd2", "bart")
_SLICE_AXES = 9  # of BART, between coils and slices


def trajectory_base(base: Path) -> Path:
    """Return where the trajectory of a BART array of shots goes.

    Parameters
    ----------
    base : Path
        The array's name without suffix.
    """
    return base.with_name(base.name + "_traj")


def refuse_format(raw: RawTrajectoryData, to: str) -> None:
    """Refuse formats that do not hold shots.

    Parameters
    ----------
    raw : RawTrajectoryData
        The scan.
    to : str
        The format.

    Raises
    ------
    ConfigurationError
        If it is one.
    """
    if to not in SHOT_FORMATS:
        raise ConfigurationError(
            f"{raw.path} is a {raw.kind} scan along a trajectory, which {to} files do not hold: "
            f"convert it to {', '.join(SHOT_FORMATS[:-1])} or {SHOT_FORMATS[-1]}"
        )


def write_shots(target: Path, base: Path, raw: RawTrajectoryData, to: str) -> dict[str, object]:
    """Write a scan along a trajectory, k in cycles per field of view.

    Parameters
    ----------
    target, base : Path
        The file, and its name without suffix.
    raw : RawTrajectoryData
        The scan.
    to : str
        "ismrmrd", "mrd2" or "bart".

    Returns
    -------
    dict
        What the format does not hold, as JSON has it.
    """
    samples = np.stack([raw.read_samples(index) for index in range(raw.n_slices)])
    places = np.stack([raw.trajectory(index) for index in range(raw.n_slices)])
    if to == "bart":
        array = np.transpose(samples, (3, 2, 1, 0))  # (samples, shots, coils, slices)
        write_cfl(base, array.reshape(1, *array.shape[:3], *(1,) * _SLICE_AXES, raw.n_slices))
        if (places == places[:1]).all():
            places = places[:1]
        third = np.concatenate([places, np.zeros_like(places[..., :1])], -1)
        path = np.transpose(third, (3, 2, 1, 0))
        write_cfl(
            trajectory_base(base),
            path.reshape(*path.shape[:3], *(1,) * (_SLICE_AXES + 1), len(places)),
        )
    else:
        write = write_mrd2 if to == "mrd2" else write_acquisitions
        write(target, _header(raw), list(_acquisitions(raw, samples, places)))
    noise = raw.noise_covariance
    return {
        "trajectory": {"kind": raw.kind, "unit": raw.units},
        "matrix": list(raw.shape),
        "crop": list(raw.crop),
        "noise_covariance": None
        if noise is None
        else {"real": noise.real.tolist(), "imag": noise.imag.tolist()},
        "provenance": raw.provenance,
    }


def _header(raw: RawTrajectoryData) -> bytes:
    (height, width), spacing, thickness = raw.shape, raw.pixel_spacing, raw.slice_thickness
    return make_header(
        (height, width, 1),
        (*raw.crop, 1),
        (spacing[0] * height, spacing[1] * width, thickness),
        (spacing[0] * raw.crop[0], spacing[1] * raw.crop[1], thickness),
        limits={"slice": Limit(0, raw.n_slices - 1, 0)},
        n_coils=raw.n_coils,
        trajectory=raw.kind,
        protocol=raw.acquisition or None,
    )


def _acquisitions(
    raw: RawTrajectoryData, samples: np.ndarray, places: np.ndarray
) -> list[ismrmrd.Acquisition]:
    geometry, made = raw.geometry, []
    for index in range(raw.n_slices):
        where = {
            "position": geometry.slice_positions[index],
            "read_dir": geometry.readout_direction[index],
            "phase_dir": geometry.phase_direction[index],
            "slice_dir": geometry.slice_direction[index],
        }
        for shot in range(samples.shape[2]):
            values = samples[index, :, shot]
            one = make_acquisition(values, kspace_encode_step_1=shot, slice=index, **where)
            one.resize(values.shape[1], len(values), 2)
            one.data[:], one.traj[:] = values, places[index, shot]
            made.append(one)
    return made
