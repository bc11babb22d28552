"""Writing a reconstruction slice by slice, so that it is there whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from mri_alps.core.atomic import check_name_length, create_hdf5
from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.core.hdf5 import open_hdf5
from mri_alps.core.plain import plain
from mri_alps.core.values import as_utf8
from mri_alps.pipeline.reached import describe_reached, reached_as_attributes
from mri_alps.pipeline.result import SCALARS_GROUP, UNEXPLAINED, forced_as_attributes

if TYPE_CHECKING:
    from mri_alps.pipeline.result import Reconstruction, SliceReconstruction

RECONSTRUCTION_FORMAT = "mri_alps reconstruction 1"
_IMAGE_UNITS = "root sum of squares of the scan's coils"
_INTERPOLATED = ("posterior_mean", "samples")
_COMPLEX_UNITS = "coil-combined image; sensitivity_maps times it are the raw coil images"


def output_path(source: Path, directory: Path, part: str = "") -> Path:
    """Return where the reconstruction of `source` goes: the same name, always HDF5.

    Parameters
    ----------
    source : pathlib.Path
        The raw file.
    directory : pathlib.Path
        The output folder.
    part : str
        Added to the name, where a part of the file was chosen.
    """
    suffix = source.suffix if source.suffix.lower() in (".h5", ".hdf5") else ".h5"
    return directory / f"{source.stem}{part}{suffix}"


def prepare_directory(directory: Path) -> None:
    """Create the output folder and make sure that it can be written.

    Parameters
    ----------
    directory : pathlib.Path
        The output folder.

    Raises
    ------
    ConfigurationError
        If it is a file, or cannot be created, read or written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".mri_alps_probe_{os.getpid()}"
        probe.touch()
        probe.unlink()
        list(directory.iterdir())
    except OSError as error:
        raise ConfigurationError(
            f"the output folder {directory} cannot be used ({error.strerror or error}): give "
            "--output a folder that you may read and write"
        ) from error


@contextlib.contextmanager
def output_folder(directory: Path) -> Iterator[Path]:
    """Create the output folder, and remove it afterwards if it is new and still empty.

    Parameters
    ----------
    directory : pathlib.Path
        The output folder.

    Raises
    ------
    ConfigurationError
        As `prepare_directory` does.
    """
    existed = directory.exists()
    prepare_directory(directory)
    try:
        yield directory
    finally:
        if not existed:
            with contextlib.suppress(OSError):
                directory.rmdir()  # succeeds only if nothing was written


def check_target(source: Path, target: Path) -> None:
    """Refuse a name that is too long, and to overwrite anything but an older reconstruction.

    Parameters
    ----------
    source : pathlib.Path
        The raw file.
    target : pathlib.Path
        Where the reconstruction would go.

    Raises
    ------
    ConfigurationError
        If `target` is the raw file itself or a file that this package did not write, or the
        names of the results are too long for their folder.
    """
    for suffix in (target.suffix, ".png", ".html"):
        check_name_length(target.with_suffix(suffix))
    if not target.exists():
        return
    if source.exists() and target.samefile(source):
        raise ConfigurationError(
            f"the reconstruction of {source} would overwrite the scan itself: give --output "
            "another folder"
        )
    try:
        with open_hdf5(target) as file:
            ours = file.attrs.get("format") == RECONSTRUCTION_FORMAT
    except InputFileError:
        ours = False
    if not ours:
        raise ConfigurationError(
            f"{target} exists and is not a reconstruction of mri_alps: move it away or give "
            "--output another folder"
        )


def read_attributes(target: Path) -> dict[str, Any] | None:
    """Return the attributes of a reconstruction, or None if it is damaged.

    Parameters
    ----------
    target : pathlib.Path
        A file of this package.
    """
    try:
        with open_hdf5(target) as file:
            whole = len(file["slices"]) == len(file["reconstruction"][()])
            found = dict(file.attrs)
            if isinstance(found.get("settings"), str):
                found["settings"] = json.loads(found["settings"])
    except InputFileError:
        return None
    return found if whole else None


class ReconstructionWriter:
    """Writes one reconstruction file; memory does not depend on the number of slices.

    Use as a context manager; the file appears under its name on leaving without an exception.

    Parameters
    ----------
    target : pathlib.Path
        The file to write.
    slices : tuple of int
        Slices of the scan that will be written, in this order.
    """

    def __init__(self, target: Path, slices: tuple[int, ...]):
        self._slices = slices
        self._written = 0
        self._forced: list[int] = []
        self._scalars: list[dict[str, Any]] = []
        self._placing = create_hdf5(target)

    def __enter__(self) -> ReconstructionWriter:
        """Open the temporary file."""
        self._file = self._placing.__enter__()
        self._file.create_dataset("slices", data=np.array(self._slices, dtype=np.int64))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Close, and put the file in place unless something went wrong."""
        complete = self._written == len(self._slices)
        if kind is None and not complete:
            missing = RuntimeError(f"{self._written} of {len(self._slices)} slices were written")
            self._placing.__exit__(RuntimeError, missing, None)
            raise missing
        return self._placing.__exit__(kind, error, traceback)

    def write_slice(self, result: SliceReconstruction) -> None:
        """Write the next slice.

        Parameters
        ----------
        result : SliceReconstruction
            The slice; shapes must not change from slice to slice.
        """
        for name, array in result.arrays().items():
            self._dataset(name, array)[self._written] = array
        for name, value in result.scalars.items():
            self._dataset(f"{SCALARS_GROUP}/{name}", np.asarray(value))[self._written] = value
        if "diagnostics" not in self._file:
            text = h5py.string_dtype()
            self._file.create_dataset("diagnostics", (len(self._slices),), dtype=text)
        self._file["diagnostics"][self._written] = _without_nan(plain(result.diagnostics))
        self._written += 1
        self._scalars.append(result.scalars)
        self._file.attrs.update(reached_as_attributes(self._scalars))
        if UNEXPLAINED in result.diagnostics:
            self._forced.append(result.index)
            self._file.attrs.update(forced_as_attributes(self._forced))

    def write_attributes(self, attributes: dict[str, Any]) -> None:
        """Write the provenance; dictionaries become JSON.

        Parameters
        ----------
        attributes : dict
            Strings, numbers and dictionaries.
        """
        self._file.attrs["format"] = RECONSTRUCTION_FORMAT
        # HDF5 limits an attribute to 64 kB, which a long header may exceed.
        self._file["provenance"] = json.dumps(attributes.get("provenance", {}), sort_keys=True)
        for key, value in attributes.items():
            if key == "provenance":
                continue
            value = json.dumps(value, sort_keys=True) if isinstance(value, dict) else value
            self._file.attrs[key] = as_utf8(value) if isinstance(value, str) else value

    def reached(self) -> str | None:
        """Say what was reached of the tolerance so far; None where none was asked."""
        found = reached_as_attributes(self._scalars)
        return describe_reached(found) if found else None

    def _dataset(self, name: str, array: np.ndarray) -> h5py.Dataset:
        if name not in self._file:
            shape = (len(self._slices), *array.shape)
            chunks = (1, *array.shape) if array.ndim else None
            # The checksum makes damage an error where the file is read.
            dataset = self._file.create_dataset(
                name, shape, array.dtype, chunks=chunks, fletcher32=chunks is not None
            )
            if array.dtype.kind in "fc" and array.ndim:
                is_image = array.ndim == 2 and not np.iscomplexobj(array)
                is_finer = "interpolation" in self._file.attrs and name in _INTERPOLATED
                dataset.attrs["units"] = _IMAGE_UNITS if is_image or is_finer else _COMPLEX_UNITS
        return self._file[name]


def write_reconstruction(result: Reconstruction, target: Path) -> Path:
    """Write a reconstruction that is in memory.

    Parameters
    ----------
    result : Reconstruction
        What to write.
    target : pathlib.Path
        HDF5, replaced in one step.

    Returns
    -------
    pathlib.Path
        `target`.

    Raises
    ------
    ConfigurationError
        If `target` is a file that this package did not write.
    """
    check_target(target.parent / "", target)
    with ReconstructionWriter(target, tuple(result.slices.tolist())) as writer:
        writer.write_attributes(result.attributes)
        for each in result.by_slice():
            writer.write_slice(each)
    return target


def _without_nan(value: object) -> str:
    """Return a plain value as JSON with null for what is not finite, which JSON has no word for."""
    return json.dumps(json.loads(json.dumps(value), parse_constant=lambda _: None))
