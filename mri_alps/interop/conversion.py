"""Raw k-space from one format to another: what the target holds goes into it, the rest beside it.

Samples are copied as the reader delivers them, readout oversampling included. What the target
has no place for stands in a JSON file beside it, and is named; for fastMRI's layout the JSON is the
dataset `conversion` of the file, since fastMRI's loaders open every file of a folder.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mri_alps.core.crop import center_crop
from mri_alps.core.errors import ConfigurationError
from mri_alps.interop._convert_ismrmrd import scan_as_lines
from mri_alps.interop._convert_shots import refuse_format, trajectory_base, write_shots
from mri_alps.interop._sidecar import describe_rest
from mri_alps.pipeline import root_sum_of_squares
from mri_alps.rawdata import (
    RawKSpace,
    RawTrajectoryData,
    Selection,
    TrajectoryOptions,
    atomic_path,
    kspace_to_cfl,
    notes_of,
    read_raw,
    smallest_mask,
    with_field_of_view,
    write_cfl,
    write_fastmri,
)
from mri_alps.rawdata.ismrmrd import write_acquisitions, write_mrd2

RAW_FORMATS = ("fastmri", "ismrmrd", "mrd2", "bart")
_OF_LINES = ("ismrmrd", "mrd2")


@dataclass(frozen=True)
class Conversion:
    """What a conversion wrote.

    Parameters
    ----------
    files : tuple of Path
        The files, the JSON last if there is one.
    not_held : tuple of str
        What the target format could not hold, in words; the JSON has it.
    notes : tuple of str
        What the reader left out, reordered or guessed; the JSON has it, under provenance.
    """

    files: tuple[Path, ...]
    not_held: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())


def convert(
    source: Path | str,
    target: Path | str,
    to: str,
    overwrite: bool = False,
    *,
    selection: Selection | None = None,
    field_of_view: Sequence[float] | None = None,
    trajectory: TrajectoryOptions | None = None,
) -> Conversion:
    """Convert raw k-space.

    Parameters
    ----------
    source : Path or str
        fastMRI HDF5, ISMRMRD (HDF5, stream) or BART cfl.
    target : Path or str
        The file to write; for BART x, x.cfl or x.hdr.
    to : str
        "fastmri", "ismrmrd", "mrd2" or "bart".
    overwrite : bool
        Replace files that are there.
    selection : Selection, optional
        Which part of the source; the first if left out.
    field_of_view : sequence of float, optional
        Of the final image in mm, where the source does not say it.
    trajectory : TrajectoryOptions, optional
        What a radial or spiral source does not say of its trajectory.

    Returns
    -------
    Conversion
        Files, and what the target format does not hold. The whole scan is in memory while it is
        converted.

    Raises
    ------
    InputFileError
        If the source cannot be read; no file is written then.
    ConfigurationError
        If the format is unknown, or a file is there already.
    """
    if to not in RAW_FORMATS:
        raise ConfigurationError(
            f"k-space can be converted to {', '.join(RAW_FORMATS)}, not to {to!r}"
        )
    source, target = Path(source), Path(target)
    raw = with_field_of_view(_open(source, selection, trajectory), field_of_view)
    if isinstance(raw, RawTrajectoryData):
        return _convert_shots(source, target, to, overwrite, raw)
    files = _files(target, to, raw)
    sidecars = [] if to == "fastmri" else [sidecar_path(target)]
    refuse_existing(source, [*files, *sidecars], overwrite)
    kspace = np.stack([raw.read_slice(index) for index in range(raw.n_slices)])
    calibration = _calibration(raw)
    rest, not_held = describe_rest(raw, kspace, to)
    if calibration is not None and to not in _OF_LINES:
        not_held.append(
            f"separate calibration lines: in the BART array {_calibration_base(target).name}"
        )
        rest["calibration_mask"] = _bits(calibration[1])
    content = {
        "format": "mri_alps conversion 1",
        "source": source.name,
        "target": [file.name for file in files],
        "target_format": to,
        "not_held_by_the_target": not_held,
        **rest,
    }
    text = json.dumps(content, indent=1) + "\n"
    if to == "bart":
        write_cfl(target, kspace_to_cfl(kspace))
    elif to == "fastmri":
        _write_fastmri(target, raw, kspace, text)
    else:
        write = write_acquisitions if to == "ismrmrd" else write_mrd2
        write(target, *scan_as_lines(raw, kspace, calibration))
    if calibration is not None and to not in _OF_LINES:
        write_cfl(_calibration_base(target), kspace_to_cfl(calibration[0]))
    for path in sidecars:
        with atomic_path(path) as temporary:
            temporary.write_text(text)
    return Conversion((*files, *sidecars), tuple(not_held), tuple(notes_of(raw)))


def _convert_shots(
    source: Path, target: Path, to: str, overwrite: bool, raw: RawTrajectoryData
) -> Conversion:
    refuse_format(raw, to)
    base = _base(target)
    files = [*_pair(base), *_pair(trajectory_base(base))] if to == "bart" else [target]
    sidecar = sidecar_path(target)
    refuse_existing(source, [*files, sidecar], overwrite)
    rest = write_shots(target, base, raw, to)
    not_held = ["the matrix and the crop"] if to == "bart" else []
    if raw.noise_covariance is not None:
        not_held.append("the noise covariance")
    content = {
        "format": "mri_alps conversion 1",
        "source": source.name,
        "target": [file.name for file in files],
        "target_format": to,
        "not_held_by_the_target": not_held,
        **rest,
    }
    with atomic_path(sidecar) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=str) + "\n")
    return Conversion((*files, sidecar), tuple(not_held), tuple(notes_of(raw)))


def _open(
    source: Path, selection: Selection | None, trajectory: TrajectoryOptions | None
) -> RawKSpace:
    raw = read_raw(source, selection=selection, trajectory=trajectory)
    if isinstance(raw, RawTrajectoryData):
        return raw
    if raw.format in ("ismrmrd", "mrd2", "twix"):  # its oversampling is part of what was measured
        whole = dataclasses.replace(selection or Selection(), keep_oversampling=True)
        return read_raw(source, selection=whole)
    return raw


def _bits(mask: np.ndarray) -> dict[str, Any]:
    from mri_alps.interop._sidecar import pack_mask

    return pack_mask(mask)


def _calibration(raw: RawKSpace) -> tuple[np.ndarray, np.ndarray] | None:
    if not raw.has_calibration:
        return None
    parts = [raw.read_calibration(index) for index in range(raw.n_slices)]
    empty = np.zeros((raw.n_coils, *raw.shape), np.complex64), np.zeros(raw.shape, bool)
    found = [empty if part is None else part for part in parts]
    return np.stack([part[0] for part in found]), np.stack([part[1] for part in found])


def _write_fastmri(target: Path, raw: RawKSpace, kspace: np.ndarray, text: str) -> None:
    first, stop = raw.acquired_range
    inside = np.zeros(raw.shape[1], bool)
    inside[first:stop] = True
    mask = smallest_mask(raw.slice_mask(0)) if len(raw.mask) == 1 else raw.mask
    is_full = mask.ndim == 1 and bool((mask == inside).all())
    truths = [raw.read_ground_truth(index) for index in range(raw.n_slices)]
    spacing = raw.pixel_spacing
    kept = {k: v for k, v in raw.attributes.items() if isinstance(v, (str, int, float))}
    write_fastmri(
        target,
        kspace[:, 0] if raw.n_coils == 1 else kspace,
        mask=None if is_full else np.broadcast_to(mask, _mask_shape(mask, raw)),
        recon_matrix=raw.crop,
        padding=(first, raw.shape[1] - stop),
        field_of_view=(spacing[0] * raw.crop[0], spacing[1] * raw.crop[1], raw.slice_thickness),
        reconstruction=_reference(raw, kspace, is_full),
        ground_truth=None if truths[0] is None else np.stack(truths),  # type: ignore[arg-type]
        attributes={"acquisition": raw.acquisition or "UNKNOWN", **kept},
        notes=text,
    )


def _reference(raw: RawKSpace, kspace: np.ndarray, is_full: bool) -> np.ndarray | None:
    """The file's own reference, or fastMRI's of a scan that was measured in full.

    fastMRI's loaders train on `reconstruction_rss` and scale by its `max`; half of a k-space
    (partial Fourier) has none.
    """
    given = [raw.read_reference(index) for index in range(raw.n_slices)]
    if given[0] is not None:
        return np.stack(given)  # type: ignore[arg-type]
    first, stop = raw.acquired_range
    if not is_full or abs(first - (raw.shape[1] - stop)) > 1:
        return None
    return np.stack([center_crop(root_sum_of_squares(part), raw.crop) for part in kspace])


def _mask_shape(mask: np.ndarray, raw: RawKSpace) -> tuple[int, ...]:
    return mask.shape if mask.ndim < 3 else (raw.n_slices, *raw.shape)


def _base(target: Path) -> Path:
    known = (".cfl", ".hdr", ".h5", ".hdf5", ".mrd", ".mrd2")
    return target.with_suffix("") if target.suffix in known else target


def sidecar_path(target: Path) -> Path:
    """Return where the JSON beside a converted file goes.

    Parameters
    ----------
    target : Path
        The converted file.
    """
    return _base(target).with_name(_base(target).name + ".json")


def _calibration_base(target: Path) -> Path:
    return _base(target).with_name(_base(target).name + "_calibration")


def _pair(base: Path) -> list[Path]:
    return [base.with_name(base.name + suffix) for suffix in (".hdr", ".cfl")]


def _files(target: Path, to: str, raw: RawKSpace) -> list[Path]:
    files = _pair(_base(target)) if to == "bart" else [target]
    if raw.has_calibration and to not in _OF_LINES:
        files += _pair(_calibration_base(target))
    return files


def refuse_existing(source: Path, files: list[Path], overwrite: bool) -> None:
    """Refuse to write over the source, or over anything unless that was asked for.

    Folders that are missing are made.

    Parameters
    ----------
    source : Path
        What is converted.
    files : list of Path
        What would be written.
    overwrite : bool
        Whether existing files may be replaced.

    Raises
    ------
    ConfigurationError
        If a file is there, or its folder cannot be made.
    """
    sources = [source, *_pair(_base(source))]
    for file in files:
        if not file.exists():
            continue
        if any(path.exists() and file.samefile(path) for path in sources):
            raise ConfigurationError(
                f"{file} is the file that is to be converted: give the result another name"
            )
        if not overwrite:
            raise ConfigurationError(
                f"{file} exists: move it away, or convert with --overwrite (overwrite=True)"
            )
    for folder in {file.parent for file in files}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"{folder} is no folder and cannot be made ({error.strerror}): name another"
            ) from error
