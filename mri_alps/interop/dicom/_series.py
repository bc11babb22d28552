"""Mean and deviation as numbers that DICOM's pixels, windows and maps hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import ConfigurationError
from mri_alps.interop.dicom._values import code, decimal, item

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from mri_alps.pipeline import Reconstruction

_PERCENTILE = 99.5
_LEAST_MEAN, _LEAST_STD = 100.0, 10.0
_MOST = 65535
UNITS = ("[arb'U]", "UCUM", "arbitrary unit")


@dataclass(frozen=True)
class DicomSeries:
    """One of the two images of a reconstruction.

    Parameters
    ----------
    number : int
        1 for the mean, 2 for the deviation.
    name, description : str
        Of its files, and what it is.
    contrast : str
        DICOM's derived pixel contrast.
    values : numpy.ndarray
        float64, (n_slices, H, W), in the units of the reconstruction.
    exponent : int
        Rescaled values are `values` times ten to this.
    """

    number: int
    name: str
    description: str
    contrast: str
    values: np.ndarray
    exponent: int

    @property
    def rescaled(self) -> np.ndarray:
        """The values as a viewer shows them."""
        return self.values * 10.0**self.exponent

    @property
    def slope(self) -> float:
        """Of the rescaling, as a decimal string holds it."""
        return float(f"{float(self.rescaled.max()) / _MOST or 1.0:.9e}")

    @property
    def pixels(self) -> np.ndarray:
        """uint16, (n_slices, H, W)."""
        return np.clip(np.rint(self.rescaled / self.slope), 0, _MOST).astype(np.uint16)

    @property
    def slope_text(self) -> str:
        """The slope as a decimal string."""
        return f"{self.slope:.9e}"

    def window(self) -> tuple[str, str]:
        """Centre and width in rescaled values; DICOM forbids a width below 1."""
        top = max(float(np.percentile(self.rescaled, _PERCENTILE)), 1.0)
        return decimal(round(top / 2, 3)), decimal(round(top, 3))

    def real_world_mapping(self) -> Dataset:
        """From stored values to the units of the reconstruction."""
        return item(
            RealWorldValueFirstValueMapped=0,
            RealWorldValueLastValueMapped=_MOST,
            RealWorldValueIntercept=0.0,
            RealWorldValueSlope=self.slope * 10.0**-self.exponent,
            LUTExplanation="root sum of squares of the coils",
            LUTLabel="ALPS",
            MeasurementUnitsCodeSequence=[code(*UNITS)],
        )


def series_of(reconstruction: Reconstruction) -> list[DicomSeries]:
    """Return mean and deviation, with one power of ten that makes both fit for windows.

    Parameters
    ----------
    reconstruction : Reconstruction
        A result.

    Raises
    ------
    ConfigurationError
        If it holds values that are not finite.
    """
    mean, std = (
        _finite(images, description)
        for images, description in (
            (reconstruction.reconstruction, "posterior mean"),
            (reconstruction.reconstruction_std, "posterior standard deviation"),
        )
    )
    least = min(_top(mean) / _LEAST_MEAN, _top(std) / _LEAST_STD)
    exponent = max(0, math.ceil(-math.log10(least)))
    return [
        DicomSeries(1, "mean", "posterior mean", "MEAN", mean, exponent),
        DicomSeries(2, "std", "posterior standard deviation", "STD_DEVIATION", std, exponent),
    ]


def _finite(images: np.ndarray, description: str) -> np.ndarray:
    if not np.isfinite(images).all():
        raise ConfigurationError(
            f"the {description} holds NaN or Inf, which DICOM cannot: reconstruct the scan again"
        )
    return np.asarray(images, np.float64)


def _top(images: np.ndarray) -> float:
    """A bright pixel; of an empty image, any number."""
    return float(np.percentile(images, _PERCENTILE)) or float(images.max()) or math.inf
