"""A reader for napari: a reconstruction as the layers mean, deviation and samples.

napari finds it by the manifest `napari.yaml`; neither napari nor torch is imported here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.core.hdf5 import is_hdf5, open_hdf5
from mri_alps.interop.image_geometry import ImageGeometry
from mri_alps.pipeline import RECONSTRUCTION_FORMAT, load_reconstruction

if TYPE_CHECKING:
    from mri_alps.pipeline import Reconstruction

Layer = tuple[np.ndarray, dict[str, Any], str]
Reader = Callable[[str | list[str]], list[Layer]]


def get_reader(path: str | list[str]) -> Reader | None:
    """Return a reader if all files are reconstructions, None otherwise, as npe2 asks for it.

    Parameters
    ----------
    path : str or list of str
        What napari was asked to open. HDF5 files of others have readers of their own.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return read_layers if paths and all(_is_reconstruction(Path(p)) for p in paths) else None


def read_layers(path: str | list[str]) -> list[Layer]:
    """Return mean, deviation and, where they were kept, samples of reconstructions.

    Parameters
    ----------
    path : str or list of str
        Files of `mri-alps reconstruct`.

    Returns
    -------
    list of tuple
        (array, arguments of napari's layer, "image"): the magnitude of the posterior mean and
        the posterior standard deviation, (slice, readout, phase_encode), and the magnitude of
        the samples, (sample, slice, readout, phase_encode), hidden at first. All are in the
        units of the mean, with pixels as large as they are, in mm.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return [layer for one in paths for layer in _layers(load_reconstruction(one), Path(one).stem)]


def _is_reconstruction(path: Path) -> bool:
    try:
        if not is_hdf5(path):
            return False
        with open_hdf5(path) as file:
            return file.attrs.get("format") == RECONSTRUCTION_FORMAT
    except (InputFileError, OSError):
        return False


def _layers(reconstruction: Reconstruction, name: str) -> list[Layer]:
    scale = _scale(reconstruction)
    mean, std = reconstruction.reconstruction, reconstruction.reconstruction_std
    common = {"scale": scale, "metadata": {"mri_alps": dict(reconstruction.attributes)}}
    layers: list[Layer] = [
        (mean, {**common, "name": f"{name} mean", "contrast_limits": _limits(mean)}, "image"),
        (
            std,
            {
                **common,
                "name": f"{name} deviation",
                "contrast_limits": _limits(std),
                "colormap": "inferno",
                "visible": False,
            },
            "image",
        ),
    ]
    if reconstruction.samples is not None:
        samples = np.abs(np.moveaxis(reconstruction.samples_in_image_units(), 1, 0))
        arguments = {
            **common,
            "name": f"{name} samples",
            "scale": (1.0, *scale),
            "contrast_limits": _limits(mean),
            "visible": False,
        }
        layers.append((samples, arguments, "image"))
    return layers


def _limits(images: np.ndarray) -> tuple[float, float]:
    """From zero to the largest value but the brightest thousandth; never empty."""
    finite = images[np.isfinite(images)]
    top = float(np.percentile(finite, 99.9)) if finite.size else 0.0
    return 0.0, top if top > 0 else 1.0


def _scale(reconstruction: Reconstruction) -> tuple[float, float, float]:
    """Millimetres along (slice, readout, phase_encode); 1 where the file does not say."""
    try:
        geometry = ImageGeometry.of(reconstruction)
    except ConfigurationError:
        return 1.0, 1.0, 1.0
    try:
        step = float(np.linalg.norm(geometry.slice_step()))
    except ConfigurationError:  # no regular stack
        step = geometry.thickness
    return step, *geometry.spacing
