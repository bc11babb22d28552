"""Reconstructions as ISMRMRD images: geometry, series, windows, meta attributes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ismrmrd
import numpy as np
from ismrmrd.hdf5 import acquisition_header_dtype

import mri_alps

if TYPE_CHECKING:
    from mri_alps.rawdata import Encoding
    from mri_alps.scanner._units import Unit
    from mri_alps.scanner._work import JobResult
    from mri_alps.scanner.configuration import OnlineConfiguration

MEAN_SERIES, STD_SERIES, FIRST_SAMPLE_SERIES = 1, 2, 10
_WINDOW_PERCENTILE = 99.5
_UINT16_PERCENTILE, _UINT16_LEVEL = 99.9, 4095.0


@dataclass(frozen=True)
class _ImageSeries:
    number: int
    name: str
    title: str
    comment: str


_MEAN = _ImageSeries(MEAN_SERIES, "POSTERIOR_MEAN", "ALPS_mean", "magnitude of the posterior mean")
_STD = _ImageSeries(
    STD_SERIES, "POSTERIOR_STD", "ALPS_std", "posterior standard deviation of the magnitude"
)


class ImageMaker:
    """Makes the images of one scan.

    Parameters
    ----------
    encoding : Encoding
        For matrix and field of view.
    configuration : OnlineConfiguration
        For the data type, and for the provenance.
    """

    def __init__(self, encoding: Encoding, configuration: OnlineConfiguration):
        self._encoding, self._configuration = encoding, configuration
        self._slope: float | None = None
        self.n_clipped = 0

    def images(self, result: JobResult, unit: Unit, reference: np.void) -> list[ismrmrd.Image]:
        """Return mean, standard deviation and, if there are any, samples of one unit.

        Parameters
        ----------
        result : JobResult
            The arrays.
        unit : Unit
            Its counters.
        reference : numpy.void
            Header of an acquisition of the unit: position, directions, time stamps.
        """
        if self._slope is None:  # the first image decides for all, the deviation's included
            self._slope = self._choose_slope(np.abs(result.mean))
        made = [
            self._image(_MEAN, result.mean, result, unit, reference),
            self._image(_STD, result.std, result, unit, reference),
        ]
        for number, sample in enumerate(() if result.samples is None else result.samples):
            series = _ImageSeries(
                FIRST_SAMPLE_SERIES + number,
                f"POSTERIOR_SAMPLE_{number}",
                f"ALPS_sample_{number}",
                f"posterior sample {number}",
            )
            made.append(self._image(series, sample, result, unit, reference))
        return made

    def _image(
        self, series: _ImageSeries, array: np.ndarray, result: JobResult, unit: Unit, head: np.void
    ) -> ismrmrd.Image:
        pixels = self._pixels(_as_zyx(array, result.is_3d))
        acquisition = ismrmrd.Acquisition(_without_samples(head))
        image = ismrmrd.Image.from_array(pixels, acquisition=acquisition, transpose=False)
        image.image_series_index = series.number
        image.image_index = unit.slice + 1
        image.image_type = (
            ismrmrd.IMTYPE_COMPLEX if np.iscomplexobj(pixels) else ismrmrd.IMTYPE_MAGNITUDE
        )
        for name, value in unit._asdict().items():
            setattr(image, name, value)
        image.field_of_view = _field_of_view(self._encoding, pixels.shape, result.is_3d)
        image.attribute_string = self._meta(series, pixels, result, head).serialize()
        return image

    def _choose_slope(self, mean: np.ndarray) -> float:
        """Return what values that are sent have to be multiplied by."""
        if self._configuration.sending.data_type == "float32":
            return 1.0
        top = float(np.percentile(mean, _UINT16_PERCENTILE)) or float(mean.max())
        return (top or 1.0) / _UINT16_LEVEL

    def _pixels(self, array: np.ndarray) -> np.ndarray:
        if self._configuration.sending.data_type == "float32":
            return np.ascontiguousarray(array[np.newaxis])
        assert self._slope is not None
        scaled, most = np.rint(np.abs(array) / self._slope), np.iinfo(np.uint16).max
        self.n_clipped += int((scaled > most).sum())
        return np.ascontiguousarray(np.minimum(scaled, most).astype(np.uint16)[np.newaxis])

    def _meta(
        self, series: _ImageSeries, pixels: np.ndarray, result: JobResult, head: np.void
    ) -> ismrmrd.Meta:
        settings = self._configuration.reconstruction
        center, width = _window(pixels)
        meta = ismrmrd.Meta()
        meta["DataRole"] = "Image"
        meta["ImageProcessingHistory"] = ["MRI_ALPS", series.name]
        meta["WindowCenter"], meta["WindowWidth"] = center, width
        meta["Keep_image_geometry"] = "1"
        meta["ImageRowDir"] = [f"{value:.18f}" for value in head["read_dir"]]
        meta["ImageColumnDir"] = [f"{value:.18f}" for value in head["phase_dir"]]
        meta["SequenceDescriptionAdditional"] = series.title
        meta["ImageComment"] = series.comment
        entries: dict[str, Any] = {
            "version": mri_alps.__version__,
            "slope": f"{self._slope:.9g}",
            "units": "value * slope: root sum of squares of the scan's coils",
            "method": settings.method,
            "n_samples": settings.n_samples,
            "seed": settings.sampler_seed,
            **result.scalars,
        }
        for name, value in entries.items():
            meta[f"mri_alps_{name}"] = str(value)
        return meta


def _window(pixels: np.ndarray) -> tuple[str, str]:
    """Return centre and width: whole numbers for whole pixels, of which a width has at least 2."""
    top = float(np.percentile(np.abs(pixels), _WINDOW_PERCENTILE))
    if pixels.dtype.kind == "u":
        half = max(math.ceil(top / 2), 1)
        return str(half), str(2 * half)
    top = max(top, 1e-30)
    return f"{top / 2:.6g}", f"{top:.6g}"


def _as_zyx(array: np.ndarray, is_3d: bool) -> np.ndarray:
    """Return (z, y, x) with x along the readout and y along the phase encode."""
    return array.transpose(2, 1, 0) if is_3d else array.transpose(0, 2, 1)


def _field_of_view(
    encoding: Encoding, shape: tuple[int, ...], is_3d: bool
) -> tuple[float, float, float]:
    """Return the header's reconstructed view, or that of the pixels where the matrix differs."""
    found = []
    for axis, size in enumerate(shape[:0:-1]):  # x, y, z
        if size == encoding.recon_matrix[axis] or (axis == 2 and size == 1 and not is_3d):
            found.append(encoding.recon_field_of_view[axis])
        else:
            pixel = encoding.encoded_field_of_view[axis] / encoding.encoded_matrix[axis]
            found.append(pixel * size)
    return (found[0], found[1], found[2])


def _without_samples(head: np.void) -> bytes:
    """Return the header of an empty acquisition: the ismrmrd package allocates what it claims."""
    copy = np.array(head, acquisition_header_dtype)
    for name in ("number_of_samples", "active_channels", "trajectory_dimensions"):
        copy[name] = 0
    return copy.tobytes()
