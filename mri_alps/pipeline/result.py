"""The reconstruction of one scan, in memory and on disk."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.core.crop import center_crop_or_pad
from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.core.hdf5 import Dataset, File, open_hdf5, read_text
from mri_alps.core.values import as_path, as_utf8

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGE_DATASETS = (
    "reconstruction",
    "reconstruction_std",
    "reconstruction_lower",
    "reconstruction_upper",
    "zero_filled",
)


FAILED = "failed"
"""Key of the diagnostics under which a slice that failed has its reason."""
CALIBRATION = "calibration"
"""Key of the diagnostics under which a slice has its `CalibrationPortrait`, as plain values."""
UNEXPLAINED = "unexplained"
"""Key of the diagnostics under which a slice says why it would be refused if it were not forced."""
SELF_CALIBRATION = "self_calibration"
"""Key of the diagnostics under which a slice has its `UncertaintyFactors`, as plain values."""
NOT_CALIBRATED, NOT_POSSIBLE = "off", "not possible"
"""The attribute of that name where nothing was left out, and where too little could be."""
SCALARS_GROUP = "facts"
"""What files call `scalars`."""


@dataclasses.dataclass(frozen=True)
class SliceReconstruction:
    """The reconstruction of one slice.

    All images in the units of the scan's own root-sum-of-squares image are float32 and cropped
    as the header says; complex arrays are complex64 and uncropped.

    Parameters
    ----------
    index : int
        Slice of the scan.
    reconstruction : numpy.ndarray
        Magnitude of the posterior mean, (H, W).
    reconstruction_std : numpy.ndarray
        Posterior standard deviation of the magnitude, (H, W).
    reconstruction_lower, reconstruction_upper : numpy.ndarray
        90 % predictive interval of the magnitude, (H, W).
    zero_filled : numpy.ndarray
        Root sum of squares of the zero-filled coil images, (H, W).
    posterior_mean : numpy.ndarray
        Coil-combined image in raw units, (readout, phase_encode): `sensitivity_maps` times it
        are the coil images whose k-space the scanner measured. Of several sets of maps it has the
        magnitude of all sets together and the phase of the first one's image, as samples have.
    samples : numpy.ndarray or None
        Posterior samples in the units of `posterior_mean`, (n_samples, readout, phase_encode);
        NaN where a chain was lost.
    sensitivity_maps : numpy.ndarray or None
        (coils, readout, phase_encode), of the raw coils; (sets, coils, readout, phase_encode) where
        several sets were asked for.
    scalars : dict
        Numbers about the slice: scale, noise_std, n_evaluations, n_samples (those that the
        statistics are made of), degrees_of_freedom (of the interval), seconds, ...
    mask : numpy.ndarray or None
        Bool, which points of k-space were used, (readout or 1, phase_encode).
    reference : numpy.ndarray or None
        The scan's own reference image where it holds one of this shape, (H, W).
    diagnostics : dict
        What the sampler said about its run, such as one entry per noise level; JSON can hold it.
    """

    index: int
    reconstruction: np.ndarray
    reconstruction_std: np.ndarray
    reconstruction_lower: np.ndarray
    reconstruction_upper: np.ndarray
    zero_filled: np.ndarray
    posterior_mean: np.ndarray
    samples: np.ndarray | None
    sensitivity_maps: np.ndarray | None
    scalars: dict[str, Any]
    mask: np.ndarray | None = None
    reference: np.ndarray | None = None
    diagnostics: dict[str, Any] = dataclasses.field(default_factory=dict)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that there are, by name."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    def failed(self, index: int, reason: str) -> SliceReconstruction:
        """Return a slice that stands for one that failed: NaN in the shapes of this one.

        Parameters
        ----------
        index : int
            Slice of the scan.
        reason : str
            Why it failed, kept as ``diagnostics["failed"]``.
        """
        arrays = {name: _nothing(array) for name, array in self.arrays().items()}
        scalars = {name: _nothing(np.asarray(value)).item() for name, value in self.scalars.items()}
        return dataclasses.replace(
            self, index=index, scalars=scalars, diagnostics={FAILED: reason}, **arrays
        )


def _nothing(like: np.ndarray) -> np.ndarray:
    """NaN, or zero where the type has no NaN."""
    return np.full_like(like, np.nan if like.dtype.kind in "fc" else 0)


@dataclasses.dataclass(frozen=True, repr=False)
class Reconstruction:
    """The reconstruction of a scan: the arrays of `SliceReconstruction` with a slice axis.

    Parameters
    ----------
    slices : numpy.ndarray
        Int, (n_slices,): which slices of the scan these are.
    reconstruction, reconstruction_std, reconstruction_lower, reconstruction_upper, zero_filled :
        float32, (n_slices, H, W), in the units of the scan's root-sum-of-squares image.
    posterior_mean : numpy.ndarray
        complex64, (n_slices, readout, phase_encode), uncropped, raw units.
    samples : numpy.ndarray or None
        complex64, (n_slices, n_samples, readout, phase_encode).
    sensitivity_maps : numpy.ndarray or None
        complex64, (n_slices, coils, readout, phase_encode).
    attributes : dict
        Configuration, seed, versions, evaluations, provenance.
    scalars : dict
        Per-slice numbers, each an array (n_slices,).
    path : pathlib.Path or None
        The file it was read from.
    mask : numpy.ndarray or None
        Bool, (n_slices, readout or 1, phase_encode): the points of k-space that were used.
    reference : numpy.ndarray or None
        float32, (n_slices, H, W): the scan's own reference images, where it holds them.
    diagnostics : tuple of dict
        One for each slice: what the sampler said about its run.
    """

    slices: np.ndarray
    reconstruction: np.ndarray
    reconstruction_std: np.ndarray
    reconstruction_lower: np.ndarray
    reconstruction_upper: np.ndarray
    zero_filled: np.ndarray
    posterior_mean: np.ndarray
    samples: np.ndarray | None
    sensitivity_maps: np.ndarray | None
    attributes: dict[str, Any]
    scalars: dict[str, np.ndarray]
    path: Path | None = None
    mask: np.ndarray | None = None
    reference: np.ndarray | None = None
    diagnostics: tuple[dict[str, Any], ...] = ()

    def __repr__(self) -> str:
        """Return one line: what it is, and how uncertain."""
        shape, spread = self.reconstruction.shape, float(np.nanmean(self.reconstruction_std))
        mean = float(np.nanmean(self.reconstruction))
        samples = self.attributes.get("n_samples", "?")
        return (
            f"Reconstruction({shape[0]} slices of {shape[1]}x{shape[2]}, {samples} samples, prior "
            f"{self.attributes.get('prior', '?')}, mean {mean:.3g} +/- {spread:.2g})"
        )

    def save(self, path: str | Path) -> Path:
        """Write the file that `reconstruct_to_file` writes and `load_reconstruction` reads.

        Parameters
        ----------
        path : str or pathlib.Path
            HDF5, replaced in one step if it is a reconstruction of this package.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        ConfigurationError
            If there is a file that this package did not write.
        """
        from mri_alps.pipeline.output import write_reconstruction

        return write_reconstruction(self, as_path("save", path))

    def plot(self, index: int | None = None, n_samples: int = 2) -> Figure:
        """Draw mean, standard deviation, width of the interval and samples of one slice.

        Parameters
        ----------
        index : int, optional
            Slice of the scan; the middle one if left out.
        n_samples : int
            Samples to draw, if they were kept.

        Returns
        -------
        matplotlib.figure.Figure
            One row of images.
        """
        from mri_alps.pipeline._plot import plot_slice

        return plot_slice(self, index, n_samples)

    def by_slice(self) -> Iterator[SliceReconstruction]:
        """Return the slices one after the other, those that failed included."""
        names = (*IMAGE_DATASETS, "posterior_mean", *OPTIONAL_DATASETS)
        for row, index in enumerate(self.slices.tolist()):
            arrays: dict[str, Any] = {name: getattr(self, name) for name in names}
            yield SliceReconstruction(
                index=index,
                scalars={name: values[row].item() for name, values in self.scalars.items()},
                diagnostics=self.diagnostics[row] if self.diagnostics else {},
                **{name: None if a is None else a[row] for name, a in arrays.items()},  # type: ignore[arg-type]
            )

    def samples_in_image_units(self) -> np.ndarray:
        """Return the samples in the units and the crop of `reconstruction`.

        Returns
        -------
        numpy.ndarray
            complex64, (n_slices, n_samples, H, W); their mean's magnitude is `reconstruction`.

        Raises
        ------
        ConfigurationError
            If the samples were not kept.
        """
        if self.samples is None:
            raise ConfigurationError(
                "this reconstruction holds no samples: reconstruct with save_samples=True"
            )
        # reconstruction = |posterior_mean| * weight, cropped, in each pixel of each slice
        crop = self.reconstruction.shape[-2:]
        magnitude = center_crop_or_pad(np.abs(self.posterior_mean), crop)
        weight = np.divide(
            self.reconstruction, magnitude, out=np.zeros_like(magnitude), where=magnitude > 0
        )
        samples = center_crop_or_pad(self.samples, crop) * weight[:, None]
        return np.asarray(samples, dtype=np.complex64)

    @property
    def failed_slices(self) -> dict[int, str]:
        """Slices of the scan that failed, whose images are NaN, with their reasons."""
        found = zip(self.slices.tolist(), self.diagnostics, strict=False)
        return {index: str(each[FAILED]) for index, each in found if FAILED in each}


OPTIONAL_DATASETS = ("samples", "sensitivity_maps", "mask", "reference")


def representative(slices: Iterable[SliceReconstruction]) -> SliceReconstruction:
    """Return the first slice that was sampled; the first of all if all of them are empty.

    Parameters
    ----------
    slices : iterable of SliceReconstruction
        At least one.
    """
    first = None
    for result in slices:
        first = first or result
        if result.scalars["n_evaluations"]:
            return result
    assert first is not None
    return first


def forced_as_attributes(indices: list[int]) -> dict[str, Any]:
    """Return what a file's attributes say of slices that were kept by force; nothing of none.

    Parameters
    ----------
    indices : list of int
        Of these slices.
    """
    return {"unexplained_slices": ", ".join(map(str, indices))} if indices else {}


def stack_slices(slices: list[SliceReconstruction], attributes: dict[str, Any]) -> Reconstruction:
    """Put slices together to the reconstruction of a scan.

    Parameters
    ----------
    slices : list of SliceReconstruction
        At least one, all with the same arrays.
    attributes : dict
        Provenance, as it would stand in a file.
    """
    arrays: dict[str, Any] = dict.fromkeys(OPTIONAL_DATASETS)
    for name in slices[0].arrays():
        arrays[name] = np.stack([s.arrays()[name] for s in slices])
    scalars = {key: np.array([s.scalars[key] for s in slices]) for key in slices[0].scalars}
    indices = np.array([s.index for s in slices])
    forced = [s.index for s in slices if UNEXPLAINED in s.diagnostics]
    return Reconstruction(
        slices=indices,
        attributes=attributes | forced_as_attributes(forced),
        scalars=scalars,
        diagnostics=tuple(s.diagnostics for s in slices),
        **arrays,
    )


def load_reconstruction(path: str | Path, large: bool = True) -> Reconstruction:
    """Read a file that `reconstruct` wrote.

    Parameters
    ----------
    path : str or pathlib.Path
        An HDF5 file of this package.
    large : bool
        Whether samples and sensitivity maps are read as well, if the file holds them.

    Raises
    ------
    InputFileError
        If the file cannot be read or was not written by this package.
    """
    path = as_path("load_reconstruction", path)
    with open_hdf5(path) as file:
        missing = [name for name in (*IMAGE_DATASETS, "posterior_mean") if name not in file]
        if missing:
            raise InputFileError(
                f"{path} has no dataset {', '.join(missing)}: it is not a reconstruction "
                "of mri_alps; make one with mri-alps reconstruct"
            )
        _check_layout(file, path)
        names = (*IMAGE_DATASETS, "posterior_mean", *OPTIONAL_DATASETS)
        left_out = () if large else ("samples", "sensitivity_maps")
        arrays: dict[str, Any] = {
            name: file[name][()] if name in file and name not in left_out else None
            for name in names
        }
        return Reconstruction(
            slices=file["slices"][()],
            attributes=_attributes(file),
            scalars={name: data[()] for name, data in file[SCALARS_GROUP].items()},
            path=path,
            diagnostics=_diagnostics(file),
            **arrays,
        )


def _check_layout(file: File, path: Path) -> None:
    """Raise unless images and slices are numbers of shapes that fit together."""
    slices, shape = file["slices"], file["reconstruction"].shape
    expected = {"slices": ("iu", shape[:1]), "posterior_mean": ("c", None)}
    expected |= dict.fromkeys(IMAGE_DATASETS, ("f", shape))
    for name, (kinds, wanted) in expected.items():
        found = file[name]
        fits = found.shape == wanted if wanted else found.shape[:1] == slices.shape
        if (
            found.dtype.kind not in kinds
            or not fits
            or found.ndim != (1 if name == "slices" else 3)
        ):
            raise InputFileError(
                f"{path}: `{name}` is {found.dtype} of shape {found.shape}, which does not fit "
                f"`reconstruction` of shape {shape}: the file is damaged, reconstruct it again"
            )


def read_slices(path: Path) -> Iterator[SliceReconstruction]:
    """Read back slice by slice what did not fail, as it was before it was written.

    Parameters
    ----------
    path : pathlib.Path
        A whole file of this package.
    """
    with open_hdf5(path) as file:
        names = [
            name for name in (*IMAGE_DATASETS, "posterior_mean", *OPTIONAL_DATASETS) if name in file
        ]
        for row, index in enumerate(file["slices"][()].tolist()):
            diagnostics = json.loads(file["diagnostics"].asstr()[row])
            if FAILED in diagnostics:
                continue
            arrays: dict[str, Any] = dict.fromkeys(OPTIONAL_DATASETS)
            yield SliceReconstruction(
                index=index,
                scalars={name: data[row].item() for name, data in file[SCALARS_GROUP].items()},
                diagnostics=diagnostics,
                **(arrays | {name: file[name][row] for name in names}),
            )


def _attributes(file: File) -> dict[str, Any]:
    plain = {
        as_utf8(key): value.item() if hasattr(value, "item") else value
        for key, value in file.attrs.items()
    }
    plain |= {key: as_utf8(value) for key, value in plain.items() if isinstance(value, str)}
    for key in ("configuration", "execution", SELF_CALIBRATION, "versions", "failed_slices"):
        if key in plain and plain[key] not in (NOT_CALIBRATED, NOT_POSSIBLE):
            plain[key] = _object(plain[key])
    return plain | {"provenance": _object(_text(file["provenance"]))}


def _object(text: bytes | str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"expected an object of JSON, found {type(found).__name__}")
    return found


def _text(dataset: Dataset) -> bytes | str:
    return read_text(dataset) or ""  # no JSON


def _diagnostics(file: File) -> tuple[dict[str, Any], ...]:
    if "diagnostics" not in file:
        return ()
    return tuple(_object(text) for text in file["diagnostics"].asstr()[()])
